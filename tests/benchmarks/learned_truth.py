"""Do learned lesions measure what lesions of their class do? ``python -m tests.benchmarks.learned_truth``.

Lesions of every class on phantoms that no model was fitted on, drawn by a model of voxels (default: the shipped one)
and, at the same places, by the law whose lesions it was fitted on (``texture``), which stand for real ones. First
unchecked; with ``--checked`` as a recipe would have them, drawn again until they are in tolerance.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.generators.lesion.classes import PLAQUE_HU, PLAQUES, TUMOURS, WATER_HU, calcium_scale, home
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.grain import finer, voxel_grain_mm
from lesionforge.generators.lesion.measure import core
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.phase import NECROSIS_HU, contrast_range
from lesionforge.generators.types import Rejected, Sample, SampleSpec, Volume
from tests.benchmarks.common import Row, goal, goals, table
from tests.benchmarks.lesion_truth import volumes

LESIONS, SUBJECTS, SEEDS = 50, 6, 3
REDRAWS = 20
SLACK_HU = 15.0  # of tumours
CLOSE_HU = {"calcified": 60.0, "mixed": 60.0}  # core mean to that of real ones; of other classes:
SOFT_HU = 20.0
SHARE, GRAIN, SECONDS, LOST = 0.8, 1.3, 0.5, 0.1
CLASSES = (*PLAQUES, *TUMOURS)
REAL = LesionParams(size=96, early=(1, 1), plaques=(1, 1), liver_mm=(10.5, 25), keep_source=True, spotty=0.2)
COLUMNS = {
    "class": "class",
    "n": "n",
    "in_class": "in class",
    "hu": "core HU",
    "real_hu": "real",
    "sd": "sd",
    "real_sd": "real",
    "grain": "grain HU",
    "real_grain": "real",
    "redraws": "redraws",
    "lost": "lost",
    "seconds": "CPU s",
}


def drawn(generator: LesionGenerator, volume: Volume, kind: str, name: str, draws: int) -> tuple[Sample | None, int]:
    """The first accepted sample, None where there is none, and how many were refused."""
    key = hashlib.sha256(name.encode()).digest()
    for attempt in range(draws):
        try:
            (sample,) = generator.generate([volume], [SampleSpec("train-000000", "train", 0, 0, 0, kind, key, attempt)])
            return sample, attempt
        except Rejected:
            continue
    return None, draws


def read(sample: Sample) -> dict[str, float]:
    """Of a sample's first lesion: HU of its core (of tumours less their organ's), its grain there, in class or not."""
    told = sample.labels["lesions"][0]
    ends = zip(told["box"][:3], told["box"][3:], strict=True)
    box = tuple(slice(max(0, a - 12), b + 12) for a, b in ends)
    hu: NDArray[np.float32] = sample.fields["ct.delta.npy.zst"][box].astype(np.float32)
    spacing: tuple[float, float, float] = tuple(sample.labels["spacing_mm"])
    parts, _ = ndimage.label(sample.fields["label.npy.zst"][box] == told["label"])
    own = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    fine = finer(hu, spacing, voxel_grain_mm(spacing))[core(own, spacing)]
    level = told["measured_hu"] if told["class"] in PLAQUES else told["contrast_hu"]
    return {"hu": level, "grain": float(fine.std()), "in_class": float(in_class(told, sample.labels["phase"]))}


def in_class(told: dict[str, Any], phase: Any) -> bool:
    """Whether a lesion's core measures what the tables of HU say of its class; late tumours may be necrotic."""
    kind, level = told["class"], told["measured_hu"] - told["contrast_hu"]
    if kind in PLAQUES:
        bounds, scale = PLAQUE_HU[kind], calcium_scale(level) if kind == "calcified" else 1.0
        return bool(scale * bounds.low <= told["measured_hu"] <= scale * bounds.high)
    low, high = contrast_range(home(kind), phase)
    low = min(low, NECROSIS_HU[0] - level) if kind.endswith("late") else low
    return bool(low - SLACK_HU <= told["contrast_hu"] <= max(high, WATER_HU - level) + SLACK_HU)


def timed(generator: LesionGenerator, clock: Callable[[], float]) -> list[float]:
    """Seconds of every call of its filler, as they come."""
    filler, seconds = generator._filler, [0.0]
    assert filler is not None
    fill = filler.fill

    def measured(*given: Any) -> Any:
        began = clock()
        out = fill(*given)
        seconds.append(clock() - began)
        return out

    filler.fill = measured  # type: ignore[method-assign]
    return seconds


def compared(
    kind: str, backgrounds: Sequence[Volume], params: LesionParams, lesions: int, seeds: Sequence[int]
) -> tuple[Row, list[tuple[Sample, Sample]]]:
    """The figures of a class, and pairs to look at: real, made."""
    law, model = LesionGenerator(REAL), LesionGenerator(params)
    model.prepare("cpu")
    spent = timed(model, time.process_time)
    real, made, pairs, redraws, lost = [], [], [], 0, 0
    for seed in seeds:
        for n in range(lesions):
            volume = backgrounds[n % len(backgrounds)]
            other, refused = drawn(model, volume, kind, f"{kind} {seed} {n}", REDRAWS)
            one, _ = drawn(law, volume, kind, f"{kind} {seed} {n}", REDRAWS)
            redraws += refused if other else 0
            lost += other is None
            real += [read(one)] if one else []
            made += [read(other)] if other else []
            pairs += [(one, other)] if one and other else []
    row: Row = {
        "class": kind,
        "n": len(made),
        "in_class": _mean(made, "in_class"),
        "seconds": float(np.mean(spent[1:])),
    }
    row |= {"lost": lost / (lesions * len(seeds)), "redraws": redraws / max(1, len(made))}
    for name, some in (("", made), ("real_", real)):
        row |= {f"{name}hu": _mean(some, "hu"), f"{name}sd": float(np.std([one["hu"] for one in some]))}
        row[f"{name}grain"] = float(np.median([one["grain"] for one in some]))
    return row, pairs


def _mean(some: Sequence[dict[str, float]], name: str) -> float:
    return float(np.mean([one[name] for one in some]))


def reached(rows: Sequence[Row], checked: bool) -> list[Row]:
    """What is to be shown, and whether it is."""
    least = 1.0 if checked else SHARE
    out = [
        goal(f"{100 * least:g} % of each class in class", min(r["in_class"] for r in rows) >= least),
        goal(f"{SECONDS:g} CPU s a lesion", float(np.mean([r["seconds"] for r in rows])) <= SECONDS),
    ]
    if checked:
        return [*out, goal(f"{100 * LOST:g} % lost at most", max(r["lost"] for r in rows) <= LOST)]
    close = all(abs(r["hu"] - r["real_hu"]) <= CLOSE_HU.get(str(r["class"]), SOFT_HU) for r in rows)
    grains = [r["grain"] / r["real_grain"] for r in rows]
    out.append(goal(f"core within 60 HU (calcium), {SOFT_HU:g} HU (others) of real ones", close))
    return [*out, goal(f"grain within {GRAIN:g} x of theirs", max(grains) <= GRAIN and min(grains) >= 1 / GRAIN)]


def write_pairs(file: Path, pairs: Sequence[tuple[Sample, Sample]]) -> None:
    """A sheet: background, real, made; axial and sagittal."""
    from PIL import Image

    rows = []
    for real, made in pairs:
        told = real.labels["lesions"][0]
        low, high = (-200, 1000) if told["class"] in PLAQUES else (-80, 220)
        parts = []
        for sample, name in ((real, "source_ct"), (real, "ct"), (made, "ct")):
            hu = np.pad(sample.fields[f"{name}.delta.npy.zst"], 24, mode="edge")
            at = [round(c) for c in told["centre_voxel"]]
            for axis in (2, 0):
                cut = [slice(c, c + 48) for c in at]
                cut[axis] = slice(at[axis] + 24, at[axis] + 25)
                grey = np.clip((hu[tuple(cut)].squeeze(axis).T[::-1] - float(low)) / (high - low), 0, 1)
                parts.append(np.kron((255 * grey).astype(np.uint8), np.ones((3, 3), np.uint8)))
        rows.append(np.hstack(parts))
    Image.fromarray(np.vstack(rows)).save(file)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", help="folder of a fitted model; default: the shipped one")
    parser.add_argument("--backend", default="promptlesion")
    parser.add_argument("--classes", nargs="+", default=CLASSES)
    parser.add_argument("--lesions", type=int, default=LESIONS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--checked", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheets", type=Path, help="folder for pictures")
    given = parser.parse_args(argv)
    params = replace(REAL, backend=given.backend, weights=given.weights, check_hu=given.checked)
    kinds = {"plaque" if kind in PLAQUES else "tumour" for kind in given.classes}
    backgrounds, rows = volumes(SUBJECTS, kinds), []
    for kind in given.classes:
        some = backgrounds["plaque" if kind in PLAQUES else "tumour"]
        row, pairs = compared(kind, some, params, given.lesions, range(given.seeds))
        rows.append(row)
        sys.stdout.write(table("", COLUMNS, [row]))
        sys.stdout.flush()
        if given.sheets:
            given.sheets.mkdir(parents=True, exist_ok=True)
            write_pairs(given.sheets / f"{kind}.png", pairs[:6])
    found = reached(rows, given.checked)
    sys.stdout.write(table("checked" if given.checked else "unchecked", COLUMNS, rows) + goals(found))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))
    return 0 if all(row["met"] for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
