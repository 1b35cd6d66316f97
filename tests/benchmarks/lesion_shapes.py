"""How real lesions narrow their vessels: ``python -m tests.benchmarks.lesion_shapes --data FOLDER --labels FOLDER``.

The numbers that ``generators.stenosis`` draws by (``shape``: the profile; ``closure``: what a reading means;
``params``: length; ``sites``: forks and widths), read on the lesions of one part of ARCADE that DiGDA's experts graded.
Where a frame has no segments, the vessel finder and the lesions' own polygons say where vessels run.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import skimage
from numpy.typing import NDArray

from lesionforge.engine.sources.pictures.arcade import Arcade, ArcadeOptions
from lesionforge.generators.stenosis.courses import courses
from lesionforge.generators.stenosis.shape import KNOTS
from lesionforge.generators.types import Angiogram
from lesionforge.generators.vessel.densitometry import fit_lumen
from lesionforge.generators.vessel.finder import finder
from lesionforge.generators.vessel.finder.finder import Finder
from lesionforge.generators.vessel.graph import trace
from lesionforge.generators.vessel.qca import read
from lesionforge.generators.vessel.walls import grey_walls
from tests.generators.stenosis import half_depth

SIDE = 50  # rows of the vessel to either side of a lesion
SIGMA = 0.7  # px, as ``sites.PSF_SIGMA``
FORMS = 5
Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Real:
    """One graded lesion: %DS by half depth, density and edges; lumen along it (101,) as sqrt(width x depth); px."""

    severity: str
    half: float
    density: float
    edges: float
    width: float
    fork: float
    lumen: Rows


def lesions(folder: str, part: Any, labels: str, most: int) -> list[Real]:
    """Every graded lesion of a part's first frames that lies on a vessel."""
    source = Arcade(folder, ArcadeOptions(part=part, require="lesions", labels=labels))
    marked = Arcade(folder, ArcadeOptions(part=part, require="lesions"))
    polygons = {f.notes["frame"]: [le.polygon for le in f.lesions] for f in map(marked.read, range(marked.cases))}
    own = Finder.load(finder.SHIPPED)
    out: list[Real] = []
    for frame in map(source.read, range(min(source.cases, most))):
        if not frame.lesions:
            continue
        mask = own.find(frame.image).vessel if frame.mask is None else frame.mask.copy()
        for polygon in polygons.get(frame.notes["frame"], []):
            if polygon is not None:
                mask |= skimage.draw.polygon2mask(mask.shape, np.asarray(polygon)[:, ::-1] - 0.5)
        out += _on(frame, mask)
    return out


def _on(frame: Angiogram, mask: NDArray[np.bool_]) -> list[Real]:
    graph = trace(mask)
    lines = [s for s in courses(graph, [False] * len(graph.segments)) if len(s.points) >= half_depth.SHORT]
    out = []
    for lesion in frame.lesions:
        xy = np.asarray(lesion.box).reshape(2, 2).mean(axis=0)
        place = half_depth.nearest(lines, (float(xy[0]), float(xy[1])))
        if place is None:
            continue
        line, at = place
        rows = slice(max(0, at - half_depth.ABOUT), at + half_depth.ABOUT + 1)
        points, radii = line.points[rows], np.maximum(line.radii[rows], 1.5)
        found = half_depth.profiles(frame.image, points, half_depth.radius_at(line, at))
        half, least, _ = half_depth.narrowing(found, at - rows.start)
        if not np.isfinite(half):
            continue
        try:
            fitted = fit_lumen(frame.image, points, radii, SIGMA)
        except ValueError:
            continue
        near = np.arange(max(1, least - 3), min(len(points) - 1, least + 4))
        least = int(near[np.argmin(fitted.diameter[near])])
        gap = int(np.clip(1.3 * np.median(fitted.diameter), 10, 24))
        density = read(fitted, at=least, lesion=gap)
        edges = read(grey_walls(frame.image, points, radii, SIGMA), at=least, lesion=gap)
        lumen = np.full(2 * SIDE + 1, np.nan)
        seen = np.arange(max(0, least - SIDE), min(len(points), least + SIDE + 1))
        lumen[seen - least + SIDE] = np.sqrt(found.width[seen] * np.maximum(found.depth[seen], 0))
        fork = float(np.hypot(*(graph.forks + 0.5 - xy).T).min()) if len(graph.forks) else np.inf
        by_edges = edges.percent_ds if edges.valid else np.nan
        out.append(Real(lesion.severity_class or "", half, density.percent_ds, by_edges, density.d_ref_px, fork, lumen))
    return out


def shape_of(lumen: Rows) -> tuple[float, Rows] | None:
    """Length at half the narrowing in px, and the share of it at ``KNOTS``; None where little narrows or is seen."""
    seen = np.isfinite(lumen)
    if seen.sum() < 70:
        return None
    whole = np.convolve(
        np.pad(np.interp(np.arange(len(lumen)), np.flatnonzero(seen), lumen[seen]), 2, "edge"), np.ones(5) / 5, "valid"
    )
    before, after = whole[5:38], whole[63:96]
    taper = np.clip((np.median(after) - np.median(before)) / (np.median(after) + np.median(before)), -0.25, 0.25)
    healthy = np.quantile(np.concatenate([before, after]), 0.7) * (1 + np.arange(-SIDE, SIDE + 1) / 60 * taper)
    left = whole / healthy
    least = left[SIDE - 2 : SIDE + 3].min()
    share = (1 - left) / (1 - least)
    ends = [next((j for j in range(1, SIDE) if share[SIDE + side * j] <= 0.5), SIDE) for side in (-1, 1)]
    if least > 0.75 or sum(ends) > 60:
        return None
    at = np.interp(SIDE + KNOTS * sum(ends), np.arange(len(share)), share)
    return float(sum(ends)), np.clip(at, -0.4, 1.1)


def text(found: list[Real]) -> str:
    """The numbers, as the generator holds them."""
    lines = []
    for severity in ("moderate", "severe"):
        own = [r for r in found if r.severity == severity]
        middle = {k: np.nanmedian([getattr(r, k) for r in own]) for k in ("half", "density", "edges", "width")}
        told = ", ".join(f"{k} {v:.1f}" for k, v in middle.items())
        lines.append(f"{severity} {len(own)}: medians {told}; within 15 px of a fork {_near(own):.2f}")
    shapes = [(r.width, s) for r in found if r.width >= 7 and (s := shape_of(r.lumen)) is not None]
    lengths = np.percentile([length / width for width, (length, _) in shapes], (5, 10, 50, 90, 95))
    lines.append(f"{len(shapes)} shapes; length at half the narrowing in diameters, p5 ... p95: {lengths.round(2)}")
    one_way = np.array([share for _, (_, share) in shapes])
    both = np.concatenate([one_way, one_way[:, ::-1]])  # a lesion may be met from either end
    _, _, forms = np.linalg.svd(both - both.mean(axis=0), full_matrices=False)
    forms = forms[:FORMS] * np.sign(forms[:FORMS, :1])
    lines.append(f"MEAN {both.mean(axis=0).round(2).tolist()}")
    lines += [f"FORM {form.round(2).tolist()}" for form in forms]
    lines.append(f"SPREAD {((both - both.mean(axis=0)) @ forms.T).std(axis=0).round(2).tolist()}")
    return "\n".join(lines) + "\n"


def _near(found: list[Real]) -> float:
    return float(np.mean([r.fork < 15 for r in found]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lesion_shapes", description=__doc__)
    parser.add_argument("--data", required=True, metavar="FOLDER", help="ARCADE's folder")
    parser.add_argument("--labels", required=True, metavar="FOLDER", help="DiGDA's labels")
    parser.add_argument("--part", choices=("train", "val"), default="train")
    parser.add_argument("--frames", type=int, default=600, help="of the part, at most")
    asked = parser.parse_args()
    sys.stdout.write(text(lesions(asked.data, asked.part, asked.labels, asked.frames)))


if __name__ == "__main__":
    main()
