"""Does an angiogram of a plaque read what the plaque is in space? ``python -m tests.benchmarks.cross_modality``.

Plaques on phantom CT angiograms at 0.5 mm, every one in two views drawn from the bi-plane ranges. The percent diameter
stenosis measured in 3-D is the truth; it is read again from the noiseless line integrals (along the known centreline,
other vessels included) and, by the quantitative coronary angiography of ``generators.vessel``, from the grey frames.
Views are told apart by how well they show the plaque. The QCA is given the centreline and the lesion's extent, not the
severity; readings that it calls invalid are counted, not averaged.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lesionforge.generators.angio_ct.generator import AngioCt
from lesionforge.generators.angio_ct.params import AngioCtParams
from lesionforge.generators.angio_ct.shadow import PlaqueSegment
from lesionforge.generators.carm.view import View
from lesionforge.generators.lesion.classes import PLAQUES
from lesionforge.generators.phantom.ct.ccta import phantom_ccta
from lesionforge.generators.types import Rejected, Sample, SampleSpec
from lesionforge.generators.vessel import densitometry, qca
from tests.benchmarks.common import Row, goal, goals, table

SUBJECTS, PLAQUES_EACH, REDRAWS = 4, 16, 20
SHAPE, SPACING = (232, 216, 184), (0.5, 0.5, 0.5)
ALONG_MM = 22.0  # of vessel to either side that the QCA is given
OVERLAP, FORESHORTENING = 0.05, (0.2, 0.4)  # a clear view has less of both
CLEAR, BETTER = f"clear, foreshortened under {FORESHORTENING[0]:.0%}", "the better view of each plaque"
CLEAR_MAE = 5.0  # points: the tolerance that clinical QCA is held to


def samples(subjects: int, each: int) -> list[Sample]:
    """Plaques of every class in turn; draws that fail are drawn again."""
    generator, out = AngioCt(AngioCtParams(size=96, plaques=(1, 1), percent_ds=(20, 80))), []
    for n in range(subjects):
        key = hashlib.sha256(f"cross {n}".encode()).digest()
        volume = phantom_ccta(key, f"c{n}", shape=SHAPE, spacing_mm=SPACING)
        for k in range(each):
            for attempt in range(REDRAWS):
                name = f"{n}/{k}"
                own = hashlib.sha256(name.encode()).digest()
                try:
                    spec = SampleSpec(name, "train", 0, 0, 0, PLAQUES[k % len(PLAQUES)], own, attempt)
                    out += generator.generate([volume], [spec])
                    break
                except Rejected:
                    continue
    return out


def readings(sample: Sample) -> list[Row]:
    """One row per view."""
    rows = []
    for lesion in sample.labels["lesions"]:
        hidden = [shown["overlap"] + shown["foreshortening"] for shown in lesion["projections"]]
        for number, shown in enumerate(lesion["projections"]):
            rows.append(
                {
                    "kind": kind(shown),
                    "better": hidden[number] == min(hidden),
                    "truth": lesion["measured_ds"],
                    "integral": shown["densitometric_ds"],
                    "qca": by_qca(sample, lesion, number),
                }
            )
    return rows


def kind(shown: dict[str, Any]) -> str:
    """How well a view shows a plaque."""
    if shown["overlap"] >= OVERLAP:
        return f"overlap {OVERLAP:.0%} or more"
    few, many = FORESHORTENING
    if shown["foreshortening"] < few:
        return CLEAR
    return (
        f"foreshortened {few:.0%} to {many:.0%}"
        if shown["foreshortening"] < many
        else f"foreshortened {many:.0%} or more"
    )


def by_qca(sample: Sample, lesion: dict[str, Any], number: int) -> float | None:
    """Percent diameter stenosis of the grey frame; None where the meter does not believe itself."""
    view = View.from_json({key: value for key, value in sample.labels["views"][number].items() if key != "name"})
    isocentre = np.array(sample.labels["isocentre_lps_mm"])
    segment = PlaqueSegment.of(lesion, isocentre)
    line = np.array(lesion["centreline_lps_mm"]) - isocentre
    line = line[np.sqrt(((line - segment.mld) ** 2).sum(axis=1)) < ALONG_MM]
    points = _every_pixel(view.project(line)[:, ::-1])
    ends = view.project(segment.points[segment.inner][[0, -1]])[:, ::-1]
    start, stop = (int(np.argmin(((points - end) ** 2).sum(axis=1))) for end in ends)
    at = int(np.argmin(((points - view.project(segment.mld[None])[0, ::-1]) ** 2).sum(axis=1)))
    width = segment.radius_mm * view.magnification / view.pixel_mm[0]
    try:
        lumen = densitometry.fit_lumen(sample.fields[f"view{number}.png"], points, np.full(len(points), width))
        reading = qca.read(lumen, at=at, lesion=abs(stop - start) // 2 + 1)
    except ValueError:  # hardly longer than wide in this view
        return None
    return reading.percent_ds if reading.valid else None


def _every_pixel(line: np.ndarray) -> np.ndarray:
    along = np.concatenate([[0.0], np.cumsum(np.sqrt((np.diff(line, axis=0) ** 2).sum(axis=1)))])
    steps = np.arange(0, along[-1])
    return np.stack([np.interp(steps, along, line[:, axis]) for axis in (0, 1)], axis=1)


def measure(quick: bool = False, subjects: int = SUBJECTS, each: int = PLAQUES_EACH) -> dict[str, Any]:
    """All figures; ``quick``: eight plaques of one subject."""
    made = samples(1, 8) if quick else samples(subjects, each)
    found = [row for sample in made for row in readings(sample)]
    rows = []
    for name in [BETTER, *sorted({row["kind"] for row in found})]:
        views = [row for row in found if (row["better"] if name == BETTER else row["kind"] == name)]
        rows.append({"kind": name, "views": len(views)})
        for meter in ("integral", "qca"):
            miss = np.array([row[meter] - row["truth"] for row in views if row[meter] is not None])
            if len(miss):
                rows[-1] |= {f"{meter}_mae": float(np.abs(miss).mean()), f"{meter}_bias": float(miss.mean())}
            rows[-1][f"{meter}_read"] = len(miss)
    clear = next(row for row in rows if row["kind"] == CLEAR)
    met = [
        goal(f"{len(made)} plaques made (all that were asked)", len(made) == (8 if quick else subjects * each)),
        goal(f"clear views read within {CLEAR_MAE:g} points (MAE {clear['integral_mae']:.1f})",
             clear["integral_mae"] <= CLEAR_MAE),
    ]  # fmt: skip
    return {"plaques": len(made), "rows": rows, "views": found, "goals": met}


def text(result: dict[str, Any]) -> str:
    columns = {
        "kind": "view", "views": "views", "integral_read": "read", "integral_mae": "MAE", "integral_bias": "bias",
        "qca_read": "QCA read", "qca_mae": "QCA MAE", "qca_bias": "QCA bias",
    }  # fmt: skip
    title = f"%DS of {result['plaques']} plaques: angiogram against 3-D, points"
    return table(title, columns, result["rows"]) + goals(result["goals"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cross_modality", description=__doc__)
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    parser.add_argument("--plaques", type=int, default=PLAQUES_EACH, help="of each subject")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    result = measure(subjects=asked.subjects, each=asked.plaques)
    sys.stdout.write(text(result))
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
