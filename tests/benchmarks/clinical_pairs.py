"""Real view pairs reconstructed: ``python -m tests.benchmarks.clinical_pairs [--model FILE] [--to FOLDER] [--only N]``.

XRA-Diff's clinical pair (geometry known), and all pairs of views of one patient among XACV's hand-drawn masks. Of these
only the angles are known: distances and pixels are assumed (``clinical.inputs``), frames are the ones that show most
vessel, so heart phases may differ, and all trees are left ones (looked at). Views less than 25 degrees apart are left
out. There is no truth: only the re-projection, which cannot rank methods, with the hull's beside, and pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lesionforge.generators.carm.view import View, angles_of
from lesionforge.generators.types import UserError
from lesionforge.jobs.tasks.reconstruction.clinical import inputs
from lesionforge.jobs.tasks.reconstruction.clinical.work import reconstructed
from tests.benchmarks.common import table

DATA = Path(os.environ.get("LESIONFORGE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
APART_DEG = 25.0
VESSEL = 127
COLUMNS = {
    "pair": "pair", "apart": "deg apart", "agreement": "agreement", "pieces": "pieces", "branches": "branches",
    "lost": "lost", "dsc": "DSC", "hull_dsc": "hull", "chamfer": "Chamfer px", "hull_chamfer": "hull ",
    "covered": "covered", "hull_covered": "hull  ", "seconds": "CPU s",
}  # fmt: skip


def pairs(data: Path) -> Iterator[tuple[str, str, list[Path], list[str], tuple[int, ...] | None]]:
    """Name, side, masks, geometry and vessel values of every pair."""
    one = data / "coronary_tree_3d" / "xradiff_clinical"
    geometry = [str(one / f"params{n}.json") for n in (0, 1)]
    yield "XRA-Diff", "right", [one / "xray0.png", one / "xray1.png"], geometry, None
    views: dict[str, list[tuple[str, Path]]] = {}
    for folder in sorted((data / "xacv" / "masks").iterdir()):
        name = re.fullmatch(r"CVAI-(\d+)(LAO|RAO)(\d+)_(CRA|CAU)(\d+)", folder.name)
        if name:
            fullest = max(sorted(folder.glob("*.png")), key=_vessel)
            views.setdefault(name[1], []).append((f"{name[2]} {name[3]} {name[4]} {name[5]}", fullest))
    for patient, found in views.items():
        if len(found) == 2 and apart(*(name for name, _ in found)) >= APART_DEG:
            yield f"XACV {patient}", "left", [path for _, path in found], [name for name, _ in found], (VESSEL,)


def apart(first: str, second: str) -> float:
    """Degrees between the central rays of two views."""
    d = [View(1050, 750, *angles_of(name)).direction for name in (first, second)]
    return float(np.degrees(np.arccos(np.clip(d[0] @ d[1], -1, 1))))


def measure(name: str, given: tuple[Any, ...], model: Path | None, out: Path) -> dict[str, Any]:
    """One pair's row."""
    side, masks, geometry, values = given
    start = time.process_time()
    angles = inputs.read(masks, geometry, values)
    body = reconstructed(angles, side, out, model, "cpu")
    row: dict[str, Any] = {"pair": f"{name} {angles[0].view.name} / {angles[1].view.name}", "side": side}
    row["apart"] = apart(*(one.view.name for one in angles))
    row |= {"agreement": body["views"][1]["alignment"]["agreement"], "pieces": body["cells"]["pieces"]}
    row |= {key: body["tree"][key] for key in ("branches", "lost")}
    for key in ("dsc", "chamfer", "covered"):
        for prefix, what in (("", "tree"), ("hull_", "hull")):
            row[prefix + key] = statistics.mean(one[key] for one in body[what]["reprojection"])
    return row | {"seconds": time.process_time() - start, "summary": body}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.clinical_pairs", description=__doc__)
    parser.add_argument("--model", type=Path, metavar="FILE", help="of `lesionforge train reconstruction`")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where the trees' files and pictures go")
    parser.add_argument("--only", type=int, metavar="N", help="the first N pairs")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        to, rows = asked.to or Path(scratch), []
        for name, *given in [*pairs(DATA)][: asked.only]:
            try:
                rows.append(measure(name, tuple(given), asked.model, to / name.replace(" ", "_")))
            except UserError as error:
                rows.append({"pair": name, "error": str(error)})
        done = [row for row in rows if "error" not in row]
        for row in rows:
            if "error" in row:
                print(f"{row['pair']}: {row['error']}")  # noqa: T201
        means = {key: statistics.mean(row[key] for row in done) for key in COLUMNS if key != "pair"}
        print(table("means over both views of a pair", COLUMNS, [*done, {"pair": "mean", **means}]))  # noqa: T201
        if asked.to:
            (to / "rows.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _vessel(path: Path) -> int:
    return int((np.asarray(Image.open(path).convert("L")) == VESSEL).sum())


if __name__ == "__main__":
    main()
