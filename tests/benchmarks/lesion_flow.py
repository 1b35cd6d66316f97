"""Does contrast dim beyond a tight lesion? ``python -m tests.benchmarks.lesion_flow --data FOLDER --labels FOLDER``.

On the lesions of one part of ARCADE that DiGDA's experts graded, and on healthy places of the same frames: attenuation
per width of the vessel beyond the place against before it, by the half-depth meter. Beyond is where the vessel is
thinner; that the choice of the thinner side alone moves the ratio shows at the healthy places.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from typing import Any

import numpy as np

from lesionforge.engine.sources.pictures.arcade import Arcade, ArcadeOptions
from lesionforge.generators.types import Angiogram
from lesionforge.generators.vessel.finder.finder import Finder
from lesionforge.generators.vessel.graph import Segment
from tests.generators.stenosis import half_depth

BESIDE = slice(12, 42)  # rows from the place, on either side
LEAST = 15  # rows of them that must be told
FAR = 60.0  # px between a healthy place and every lesion
EVERY = 40  # rows between healthy places
DRAWS = 2000  # of the bootstrap


def ratios(frame: Angiogram, line: Segment, at: int) -> tuple[float, float] | None:
    """Beyond against before: log ratios of width, and of attenuation per width; None where too little is seen."""
    first = max(0, at - half_depth.ABOUT)
    points = line.points[first : at + half_depth.ABOUT + 1]
    found = half_depth.profiles(frame.image, points, half_depth.radius_at(line, at))
    sides = []
    for step in (-1, 1):
        rows = at - first + step * np.arange(BESIDE.start, BESIDE.stop)
        rows = rows[(rows >= 0) & (rows < len(points))]
        seen = rows[np.isfinite(found.width[rows]) & np.isfinite(found.depth[rows])]
        if len(seen) < LEAST:
            return None
        sides.append((float(np.median(found.width[seen])), float(np.median(found.depth[seen] / found.width[seen]))))
    (thin, low), (wide, high) = sorted(sides)
    return float(np.log(thin / wide)), float(np.log(low / high))


def measured(folder: str, part: Any, labels: str, most: int) -> dict[str, list[tuple[float, float, int]]]:
    """``ratios`` and number of the frame by class, ``healthy`` among them."""
    source = Arcade(folder, ArcadeOptions(part=part, require="lesions", labels=labels))
    own = Finder.load()
    out: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    step = max(1, source.cases // most)
    for number in range(0, source.cases, step):
        frame = source.read(number)
        if not frame.lesions:
            continue
        lines = half_depth.vessels(own.find(frame.image).vessel if frame.mask is None else frame.mask)
        middles = np.array([np.reshape(lesion.box, (2, 2)).mean(axis=0) for lesion in frame.lesions])
        for lesion, (x, y) in zip(frame.lesions, middles, strict=True):
            place = half_depth.nearest(lines, (float(x), float(y)))
            if lesion.severity_class and place and (told := ratios(frame, *place)):
                out[lesion.severity_class].append((*told, number))
        for line in lines:
            for at in range(BESIDE.stop, len(line.points) - BESIDE.stop, EVERY):
                far = np.hypot(*(middles - line.points[at]).T).min() > FAR
                if far and (told := ratios(frame, line, at)):
                    out["healthy"].append((*told, number))
    return out


def text(found: dict[str, list[tuple[float, float, int]]]) -> str:
    """Medians of attenuation per width, what is left of them beside healthy vessel of the same taper, intervals."""
    healthy = np.array(found["healthy"])
    slope, level = np.polyfit(healthy[:, 0], healthy[:, 1], 1)
    lines = [f"healthy {len(healthy)}: log of attenuation per width = {level:.3f} + {slope:.2f} x log of width"]
    rng = np.random.default_rng(0)
    for name in ("healthy", "moderate", "severe"):
        width, ratio, frames = np.array(found[name]).T
        left = np.exp(ratio - level - slope * width)
        each = [left[frames == f] for f in np.unique(frames)]
        picks = rng.integers(0, len(each), (DRAWS, len(each)))
        drawn = [np.median(np.concatenate([each[i] for i in pick])) for pick in picks]
        low, high = np.percentile(drawn, (2.5, 97.5))
        lines.append(
            f"{name} {len(left)}: width beyond / before {np.exp(np.median(width)):.3f}, attenuation per width "
            f"{np.exp(np.median(ratio)):.3f}; of the expected {np.median(left):.3f} [{low:.3f}, {high:.3f}], quartiles "
            f"{np.quantile(left, 0.25):.2f} {np.quantile(left, 0.75):.2f}"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lesion_flow", description=__doc__)
    parser.add_argument("--data", required=True, metavar="FOLDER", help="ARCADE's folder")
    parser.add_argument("--labels", required=True, metavar="FOLDER", help="DiGDA's labels")
    parser.add_argument("--part", choices=("train", "val"), default="train")
    parser.add_argument("--frames", type=int, default=1000, help="of the part, about so many at most")
    asked = parser.parse_args()
    sys.stdout.write(text(measured(asked.data, asked.part, asked.labels, asked.frames)))


if __name__ == "__main__":
    main()
