"""The vessel finder against masks drawn by hand: ``python -m tests.benchmarks.finder [MODEL...]``.

Twelve XACV frames with vessels and catheters, and the forty of ``vessel_masks_300``: Dice, recall, precision,
centreline F1 (a skeleton pixel counts within 3 px of the other skeleton, 2 in pictures of 300), the share of the
catheter's pixels called vessel, of the vessels' called catheter, and frames where most of what is found of the
catheter is called so. Beside it Sato's filter. Nothing here tunes anything.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scipy
import skimage
from numpy.typing import NDArray
from PIL import Image

from lesionforge.generators.stenosis.vessels import ridges
from lesionforge.generators.vessel.finder.components import Found
from lesionforge.generators.vessel.finder.finder import SHIPPED, Finder

Grey = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Case = tuple[str, Grey, Flags, Flags | None]
Method = Callable[[Grey], Found]
TOLERANCE = {"xacv": 3, "300": 2}  # px of the centreline
COLUMNS = ("dice", "recall", "precision", "line", "worst", "catheter", "vessel", "apart", "seconds")


def cases(data: Path, name: str) -> Iterator[Case]:
    """Name, frame, vessels and catheter, where it was drawn."""
    folder = data / ("xacv/frames" if name == "xacv" else "vessel_masks_300")
    for mask in sorted(folder.glob("*_gt.png")):
        stem = mask.name.removesuffix("_gt.png")
        drawn = folder / f"{stem}_catheter.png"
        yield stem, _grey(folder / f"{stem}.png"), _grey(mask) > 127, _grey(drawn) > 127 if drawn.exists() else None


def _grey(file: Path) -> Grey:
    with Image.open(file, formats=["PNG"]) as opened:
        return np.asarray(opened.convert("L"))


def centreline_f1(found: Flags, true: Flags, tolerance: float) -> float:
    """Of the two skeletons: how much of each lies near the other."""
    a, b = (skimage.morphology.skeletonize(flags) for flags in (found, true))
    if not a.any() or not b.any():
        return 0.0
    near = [scipy.ndimage.distance_transform_edt(~line) <= tolerance for line in (a, b)]
    precision, recall = float(near[1][a].mean()), float(near[0][b].mean())
    return 2 * precision * recall / max(precision + recall, 1e-9)


def score(name: str, some: list[Case], method: Method) -> dict[str, float]:
    """Means over frames; shares of pixels are of all frames together."""
    rows, took, apart = [], 0.0, 0
    wrong = np.zeros(4)  # catheter called vessel, of; vessel called catheter, of
    method(some[0][1])
    for _, image, vessel, catheter in some:
        start = time.process_time()
        found = method(image)
        took += time.process_time() - start
        both = int((found.vessel & vessel).sum())
        recall, precision = both / vessel.sum(), both / max(1, int(found.vessel.sum()))
        dice = 2 * both / (found.vessel.sum() + vessel.sum())
        rows.append((dice, recall, precision, centreline_f1(found.vessel, vessel, TOLERANCE[name])))
        if catheter is not None:
            only = catheter & ~vessel
            as_vessel, as_catheter = int((found.vessel & only).sum()), int((found.catheter & only).sum())
            wrong += as_vessel, only.sum(), (found.catheter & vessel).sum(), vessel.sum()
            apart += as_catheter > as_vessel
    mean = np.mean(rows, axis=0)
    known = wrong[1] > 0
    return {
        **dict(zip(COLUMNS, map(float, mean), strict=False)),
        "worst": float(min(row[0] for row in rows)),
        "catheter": float(wrong[0] / wrong[1]) if known else float("nan"),
        "vessel": float(wrong[2] / wrong[3]) if known else float("nan"),
        "apart": float(apart) if known else float("nan"),
        "seconds": took / len(some),
    }


def sato(image: Grey) -> Found:
    """Sato's filter as the generator uses it without torch."""
    seen = ridges(image)
    return Found(seen, np.zeros_like(seen))


def main() -> None:
    """Print the table."""
    data = Path(os.environ.get("LESIONFORGE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    folders = [Path(name) for name in sys.argv[1:]] or [SHIPPED]
    methods: dict[str, Method] = {str(folder)[-24:]: Finder.load(folder).find for folder in folders}
    print(f"{'':34}" + "".join(f"{name:>10}" for name in COLUMNS))  # noqa: T201
    for name in TOLERANCE:
        some = list(cases(data, name))
        for label, method in {**methods, "sato": sato}.items():
            figures = score(name, some, method)
            print(f"{name:6}{label:28}" + "".join(f"{figures[c]:10.3f}" for c in COLUMNS), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
