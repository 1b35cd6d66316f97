"""What the learned lesion backends draw after minutes on a CPU: balls of two classes, 200 and -120 HU, in tissue.

    python -m tests.benchmarks.learned_lesions --steps 1000 --out FOLDER

Every backend is fitted at the size ``tiny`` and then asked for both classes, at the same places with the same noise.
The table says the mean HU in 24 balls of each class, and the share of pairs in which the bright class came out
brighter by at least half of the true difference. ``healthy`` is asked for as well: how far it is from the background.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from lesionforge.generators.lesion.learned import LearnedFiller
from lesionforge.generators.lesion.learned.settings import BACKENDS, PRESETS
from lesionforge.generators.types import stream
from lesionforge.jobs.fit.lesion import LesionFit, fit_lesion, new_model
from tests.jobs.fit.balls import CLASSES, HU, SPACING, Balls, patch

SIDE = PRESETS["tiny"].side
PLACES = 24
LEVELS = {"difftumor": 4, "medddpm": 20, "promptlesion": 20, "promptlesion-mask": 20}


def fitted(kind: str, out: Path, steps: int) -> Path:
    """A model of the size ``tiny``, or the rest of its fit."""
    config = LesionFit(
        kind=kind, data=(), out=str(out / kind), preset="tiny", batch=4, rate=1e-3, warmup=20, ema=0.98,
        precision="float32", loaders=0, every=100_000, steps=steps, adversarial=100_000, classes=CLASSES[1:],
        vqgan=str(out / "vqgan" / "model"), levels=LEVELS.get(kind),
    )  # fmt: skip
    model = new_model(config, set(), SPACING)
    noise = (model.shape(), model.settings.levels) if model.settings.levels else None
    healthy = 0.15 if model.settings.prompted or noise is None else 0.0
    return fit_lesion(
        config, model, (Balls(SIDE, noise, healthy=healthy), Balls(SIDE, noise, b"held", healthy=healthy))
    )


def drawn(folder: Path, kind: str, lesion: str) -> tuple[np.ndarray, float, float]:
    """Mean HU in each ball, their mean absolute distance from the background there, and seconds a ball."""
    filler = LearnedFiller(folder, kind)
    filler.prepare("cpu")
    patches = [patch(lesion, stream(b"place", str(n))) for n in range(PLACES)]
    began = time.perf_counter()
    made = filler.fill(patches, [stream(b"noise", str(n)) for n in range(PLACES)])
    seconds = (time.perf_counter() - began) / PLACES
    pairs = list(zip(made, patches, strict=True))
    away = float(np.mean([abs(hu - one.hu)[one.mask].mean() for hu, one in pairs]))
    return np.array([hu[one.mask].mean() for hu, one in pairs]), away, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--autoencoder", type=int, default=600, help="its steps")
    parser.add_argument("--steps", type=int, default=1000, help="of each backend")
    given = parser.parse_args()
    fitted("vqgan", given.out, given.autoencoder)
    table = Table(
        "backend", *(f"{name}, HU" for name in CLASSES[1:]), "told apart", "healthy, HU off", "fit s", "s/ball"
    )
    rows = []
    for kind in BACKENDS:
        began = time.perf_counter()
        folder = fitted(kind, given.out, given.steps)
        spent = time.perf_counter() - began
        bright, _, seconds = drawn(folder, kind, "calcified")
        dark, _, _ = drawn(folder, kind, "non_calcified")
        _, off, _ = drawn(folder, kind, "healthy")
        apart = float(np.mean(bright - dark > (HU["calcified"] - HU["non_calcified"]) / 2))
        told = [f"{a.mean():.0f} ± {a.std():.0f}" for a in (bright, dark)]
        table.add_row(kind, *told, f"{apart:.2f}", f"{off:.1f}", f"{spent:.0f}", f"{seconds:.2f}")
        rows.append({"backend": kind, "calcified": told[0], "non_calcified": told[1], "apart": apart, "healthy": off})
    Console(width=120).print(table)
    (given.out / "learned_lesions.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
