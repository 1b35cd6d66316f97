"""Do inserted lesions measure what their class says? ``python -m tests.benchmarks.lesion_truth``.

Lesions of every class on phantoms (CT angiography at 0.5 mm, abdomen at 2 mm), read by a second meter that shares no
code with the generator's: voxels are counted, the core is what one erosion leaves, and the lumen's area is the count of
its voxels per millimetre of vessel. The generator draws again what its own meter finds out of tolerance; how often is
told as well.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from lesionforge.generators.lesion.classes import PLAQUE_HU, PLAQUES, TUMOURS, VALUE, home
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.phase import contrast_range
from lesionforge.generators.phantom.ct.abdomen import phantom_abdomen
from lesionforge.generators.phantom.ct.ccta import phantom_ccta
from lesionforge.generators.types import Rejected, Sample, SampleSpec, Volume
from tests.benchmarks.common import Row, goal, goals, table

LESIONS = 200
SUBJECTS = 6
REDRAWS = 20
SLACK_HU = (15.0, 0.1)  # between two meters' cores: HU, or share of dense plaque's, which is no even thing
SLACK_DS = 8.0  # points, as the generator's own tolerance; this meter counts voxels, on vessels of 4 to 8 of them
CLASSES = (*PLAQUES, *TUMOURS)
GOALS = {
    "in_class": "HU in the class's range by the second meter",
    "hu_within": "HU within tolerance of the request",
    "volume_within": "volume within 15 % of the request by the second meter",
    "ds_within": f"%DS within {SLACK_DS:g} points of the request by the second meter",
}
BIN_MM = 0.75  # of vessel, whose lumen's voxels are counted
SHARE = 0.95
PARAMS = LesionParams(ds_by="label", size=96, early=(1, 1), plaques=(1, 1), liver_mm=(10.5, 25), keep_source=True)


def volumes(subjects: int, kinds: Collection[str]) -> dict[str, list[Volume]]:
    """Backgrounds of each kind."""
    keys = [hashlib.sha256(f"truth {n}".encode()).digest() for n in range(subjects)]
    out: dict[str, list[Volume]] = {}
    if "plaque" in kinds:
        shape, spacing = (112, 112, 112), (0.5, 0.5, 0.5)
        out["plaque"] = [
            phantom_ccta(key, f"c{n}", shape=shape, spacing_mm=spacing, about=("left", "right")[n % 2])
            for n, key in enumerate(keys)
        ]
    if "tumour" in kinds:
        shape, wide = (160, 120, 100), (2.0, 2.0, 2.0)
        out["tumour"] = [phantom_abdomen(key, f"a{n}", shape=shape, spacing_mm=wide) for n, key in enumerate(keys)]
    return out


Read = tuple[dict[str, Any], dict[str, float]]  # a lesion's label and what the second meter reads


def lesions(lesion_class: str, backgrounds: Sequence[Volume], count: int) -> tuple[list[Read], Counter[str]]:
    """The first lesions of accepted samples of a class, and how many draws ended how."""
    generator, out, draws = LesionGenerator(PARAMS), [], Counter[str]()
    for n in range(count):
        key = hashlib.sha256(f"{lesion_class} {n}".encode()).digest()
        for attempt in range(REDRAWS + 1):
            spec = SampleSpec(f"train-{n:06d}", "train", 0, 0, 0, lesion_class, key, attempt)
            try:
                (sample,) = generator.generate([backgrounds[n % len(backgrounds)]], [spec])
            except Rejected as error:
                draws["".join(c for c in str(error) if not c.isdigit())] += 1
                continue
            draws["accepted"] += 1
            out.append((sample.labels["lesions"][0], own_meter(sample)))
            break
    return out, draws


def own_meter(sample: Sample) -> dict[str, float]:
    """Volume, mean HU, contrast and %DS of a sample's first lesion, read from its fields alone."""
    lesion, spacing = sample.labels["lesions"][0], np.array(sample.labels["spacing_mm"])
    label, hu = sample.fields["label.npy.zst"], sample.fields["ct.delta.npy.zst"]
    own = label == lesion["label"]
    core = ndimage.binary_erosion(own, border_value=1)
    if core.sum() < 8:
        core = own
    organ = ndimage.binary_erosion(label == VALUE[home(lesion["class"])])
    out = {"volume": float(own.sum() * spacing.prod()), "hu": float(hu[core].mean())}
    out["contrast"] = out["hu"] - float(np.median(hu[organ])) if organ.any() else 0.0
    if lesion["class"] in PLAQUES:
        out["ds"] = _by_counting(label == VALUE["coronary"], lesion, sample, spacing)
    return out


def _by_counting(
    lumen: NDArray[np.bool_], lesion: dict[str, Any], sample: Sample, spacing: NDArray[np.float64]
) -> float:
    coarse = np.array(lesion["centreline_lps_mm"]) - np.array(sample.labels["origin_lps_mm"])
    line = np.stack([ndimage.zoom(coarse[:, a], 4, order=1) for a in range(3)], axis=1)
    length = np.concatenate([[0.0], np.cumsum(np.sqrt((np.diff(line, axis=0) ** 2).sum(axis=1)))])
    at = np.argwhere(lumen) * spacing
    gap, row = cKDTree(line).query(at, distance_upper_bound=1.1 * lesion["reference_mm"])
    bins = np.arange(0, length[-1], BIN_MM)
    counts, _ = np.histogram(length[row[np.isfinite(gap)]], bins)
    diameters = 2 * np.sqrt(counts * spacing.prod() / BIN_MM / np.pi)
    middle = np.array(lesion["centre_voxel"]) * spacing
    centre = length[int(((line - middle) ** 2).sum(axis=1).argmin())]
    half = lesion["length_mm"] / 2
    places = bins[:-1] + BIN_MM / 2
    inside = np.abs(places - centre) <= half
    beside = (np.abs(places - centre) > half) & (np.abs(places - centre) <= half + 3)
    if not inside.any() or not beside.any():
        return float("nan")
    return float(100 * (1 - diameters[inside].min() / np.median(diameters[beside])))


def row(lesion_class: str, found: Sequence[Read], draws: Counter[str]) -> Row:
    """A class's figures; ``in class``: HU by the second meter, in the range that its class has."""
    first, read = [label for label, _ in found], [figures for _, figures in found]
    plaque = lesion_class in PLAQUES
    if plaque:
        low, high = PLAQUE_HU[lesion_class].low, PLAQUE_HU[lesion_class].high
        slack = max(SLACK_HU[0], SLACK_HU[1] * PLAQUE_HU[lesion_class].mean)
    else:
        (low, high), slack = contrast_range(home(lesion_class), first[0]["phase"]), SLACK_HU[0]
        low = min(low, -150) if lesion_class.endswith("late") else low  # necrosis
    within = [low - slack <= r["hu" if plaque else "contrast"] <= high + slack for r in read]
    hu = [m["requested_hu"] - m["measured_hu"] for m in first]
    asked = [m["requested_volume_mm3"] for m in first]
    out: Row = {
        "class": lesion_class,
        "lesions": len(found),
        "draws": sum(draws.values()),
        "in_class": float(np.mean(within)),
        "mean_hu": float(np.mean([r["hu"] for r in read])),
        "hu_miss": float(np.mean(np.abs(hu))),
        "hu_within": float(np.mean(np.abs(hu) <= PARAMS.hu_tolerance)),
        "median_mm3": float(np.median([r["volume"] for r in read])),
    }
    if plaque:
        misses = [abs(m["requested_ds"] - r["ds"]) for m, r in zip(first, read, strict=True) if np.isfinite(r["ds"])]
        meter = [abs(m["requested_ds"] - m["measured_ds"]) for m in first]
        out |= {"ds_miss": float(np.mean(meter)), "ds_second": float(np.mean(misses))}
        out["ds_within"] = float(np.mean(np.array(misses) <= SLACK_DS))
    else:
        ratios = [abs(r["volume"] / a - 1) for r, a in zip(read, asked, strict=True)]
        out["volume_within"] = float(np.mean(np.array(ratios) <= PARAMS.volume_tolerance))
    return out


def separability(hard: Sequence[Read], soft: Sequence[Read]) -> float:
    """Area under the ROC of calcified against non-calcified plaque by the second meter's HU."""
    a, b = (np.array([figures["hu"] for _, figures in group]) for group in (hard, soft))
    return float((a[:, None] > b).mean() + 0.5 * (a[:, None] == b).mean())


def measure(
    quick: bool = False, count: int | None = None, subjects: int | None = None, only: Sequence[str] = CLASSES
) -> dict[str, Any]:
    """All classes; ``quick``: six lesions of each on one subject."""
    wanted = count or (6 if quick else LESIONS)
    kinds = {"plaque" if name in PLAQUES else "tumour" for name in only}
    backgrounds = volumes(subjects or (1 if quick else SUBJECTS), kinds)
    rows, kept, reasons = [], {}, {}
    for lesion_class in only:
        kind = "plaque" if lesion_class in PLAQUES else "tumour"
        found, draws = lesions(lesion_class, backgrounds[kind], wanted)
        rows.append(row(lesion_class, found, draws))
        sys.stderr.write(f"{rows[-1]}\n")
        reasons[lesion_class] = dict(draws.most_common(4))
        if kind == "plaque":
            kept[lesion_class] = found
    both = {"calcified", "non_calcified"} <= kept.keys()
    area = separability(kept["calcified"], kept["non_calcified"]) if both else None
    met = [goal(f"every class: {wanted} lesions made", all(r["lesions"] == wanted for r in rows))]
    for key, what in GOALS.items():
        if found_in := [r[key] for r in rows if key in r]:
            met.append(goal(f"{what} for >= 95 % (least {min(found_in):.1%})", min(found_in) >= SHARE))
    if area is not None:
        met.append(goal(f"calcified against non-calcified by HU: AUC {area:.4f} (>= 0.99)", area >= 0.99))
    return {"rows": rows, "reasons": reasons, "auc": area, "goals": met}


def text(result: dict[str, Any]) -> str:
    columns = {
        "class": "class", "lesions": "lesions", "draws": "draws", "mean_hu": "mean HU", "in_class": "in class",
        "hu_miss": "HU miss", "hu_within": "HU ok", "median_mm3": "mm3", "volume_within": "volume ok",
        "ds_miss": "DS miss", "ds_second": "2nd meter", "ds_within": "DS ok",
    }  # fmt: skip
    return table("Lesions read by a second meter", columns, result["rows"]) + goals(result["goals"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lesion_truth", description=__doc__)
    parser.add_argument("--lesions", type=int, default=LESIONS, help="of each class")
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--only", nargs="+", choices=CLASSES, default=CLASSES, metavar="CLASS")
    asked = parser.parse_args()
    result = measure(count=asked.lesions, subjects=asked.subjects, only=asked.only)
    sys.stdout.write(text(result))
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
