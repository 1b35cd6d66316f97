"""Stenoses by the diffusion backend beside those by ``attenuation``, at the same places, asked for the same %DS.

``python -m tests.benchmarks.inpainted --data ARCADE --labels DIGDA --weights FOLDER [--device cuda] [--sheet FILE]``.
Places, shapes and requests are drawn before either backend is asked, one a frame, and nothing is drawn elsewhere where
it fails: ``accepted`` is the share that the generator would keep. Against the request stand the loop's own meter and
one that no lesion was drawn by (``tests.generators.stenosis.half_depth``), on the scale that real lesions taught. A
judge (``lesionforge score realism``) tells each backend's lesions from real crops of frames that it never saw.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesionforge.engine.sources.pictures.arcade import Arcade, ArcadeOptions
from lesionforge.generators.stenosis.drawing import StenosisDrawing, draw_all
from lesionforge.generators.stenosis.editor import Editor
from lesionforge.generators.stenosis.generator import StenosisGenerator
from lesionforge.generators.stenosis.params import StenosisParams
from lesionforge.generators.types import Angiogram, BadCase, Rejected, SampleSpec, severity_class
from tests.benchmarks.common import Row, table
from tests.benchmarks.graded import CALLED
from tests.benchmarks.residue import residue
from tests.generators.stenosis import half_depth

TARGETS = ("mild", "moderate", "severe")
TRIES = 12  # places of a frame looked for
WIDE = 9.0  # px; below, edges hardly tell a moderate lesion from a severe one
TOLERANCE = 5.0
CROP, ZOOM, COLUMNS = 64, 3, 10  # of the sheet


@dataclass(frozen=True)
class Place:
    """Where a lesion goes and which; ``blank`` is a drawing that nothing was drawn into."""

    frame: Angiogram
    blank: StenosisDrawing
    spec: SampleSpec

    def drawing(self, backend: str) -> StenosisDrawing:
        """A new one for a backend; only ``attenuation`` is told a section's depth."""
        d = self.blank
        shape = d.shape if backend == "attenuation" else replace(d.shape, depth=0.0)
        noise = self.spec.rng("noise0")
        return StenosisDrawing(self.frame, d.anatomy, d.site, shape, d.severity, d.requested, noise)


def places(frames: Sequence[Angiogram], count: int, seed: int) -> list[Place]:
    """One of each frame by turns, ``count`` in all; fewer where frames have no healthy stretch."""
    generator = StenosisGenerator(StenosisParams(severe_ds=(70, 90), occlusion=0))
    out: list[Place] = []
    for n in range(2 * count):
        if len(out) == count:
            break
        frame = generator._vessels.of(frames[n % len(frames)])
        key = seed.to_bytes(8, "little") + n.to_bytes(8, "little")
        for attempt in range(TRIES):
            spec = SampleSpec(f"s{n}", "test", 0, 0, n, TARGETS[n % 3], key, attempt)
            try:
                out.append(Place(frame, generator._draw(frame, spec)[0], spec))
                break
            except Rejected:
                continue
            except BadCase:
                break
    return out


def measure(frames: Sequence[Angiogram], editors: Mapping[str, Editor], count: int, seed: int = 1) -> dict[str, Any]:
    """All figures, and what was drawn, by the editors' names; editors are prepared."""
    where = places(frames, count, seed)
    drawn: dict[str, list[StenosisDrawing]] = {}
    rows: list[Row] = []
    for name, editor in editors.items():
        begun = time.process_time(), time.perf_counter()
        drawn[name] = [place.drawing(name) for place in where]
        draw_all(editor, drawn[name], TOLERANCE)
        spent = (time.process_time() - begun[0]) / len(where), (time.perf_counter() - begun[1]) / len(where)
        figures = [_figures(d) for d in drawn[name]]
        kept = np.array([f["kept"] for f in figures])
        for meter in ("own", "stranger", f"stranger, {WIDE:g} px or more"):
            rows.append({"backend": name, "meter": meter, **_against(figures, meter)})
        rows[-3] |= {"accepted": float(kept.mean()), "cpu_s": spent[0], "wall_s": spent[1]}
        for key, q in (("level", 90), ("line", 90), ("noise", 50)):
            values = np.array([f[key] for f in figures])
            rows[-3][key] = float(np.nanpercentile(values, q)) if np.isfinite(values).any() else None
    return {"places": len(where), "rows": rows, "drawn": drawn, "frames": [place.frame for place in where]}


def _figures(d: StenosisDrawing) -> Row:
    read, _ = half_depth.at_place(d.after, half_depth.vessels(d.mask_before), _narrowest(d))
    level, line, noise = residue(d.narrowing(d.drawn_ds), d.before, d.after)
    try:
        d.check(TOLERANCE)
        kept = severity_class(d.measured.percent_ds) == d.severity
    except Rejected:
        kept = False
    return {
        "requested": d.requested,
        "own": d.measured.percent_ds,
        "stranger": float(np.interp(read, *CALLED)) if np.isfinite(read) else np.nan,
        "width": d.site.before.d_ref_px,
        "kept": kept,
        **{"level": level, "line": line, "noise": noise},
    }


def _against(figures: Sequence[Row], meter: str) -> Row:
    """A meter against the request, where it reads anything."""
    name, _, wide = meter.partition(",")
    pairs = np.array([(f["requested"], f[name]) for f in figures if not wide or f["width"] >= WIDE]).reshape(-1, 2)
    asked, read = pairs[np.isfinite(pairs[:, 1])].T
    if len(asked) < 3:
        return {"n": len(asked)}
    r = float(np.corrcoef(asked, read)[0, 1]) if read.std() > 0 else 0.0
    alike = float(((asked >= 70) == (read >= 70)).mean())
    error = read - asked
    return {"n": len(asked), "r": r, "error": float(np.abs(error).mean()), "bias": float(error.mean()), "at70": alike}


def judged(drawn: Mapping[str, Sequence[StenosisDrawing]], seeds: int, steps: int) -> list[Row]:
    """AUC of each backend's lesions against real lesions and healthy vessel; ``undrawn``: of the same places before.

    Frames that show no real lesion are left out, see ``jobs.tasks.realism.crops``.
    """
    from lesionforge.jobs.tasks.realism.crops import collect
    from lesionforge.jobs.tasks.realism.judge import PLAIN, REAL, VIEWS, _held_out, _row

    rows: list[Row] = []
    for name, drawings in drawn.items():
        crops = collect([_sample(d) for d in drawings])
        counts = {kind: len(c.frames) for kind, c in crops.items()}
        for told in ("generated", "before") if not rows else ("generated",):
            found = []
            for seed in range(seeds):
                scores = _held_out(crops, told, REAL, VIEWS[PLAIN], seed, steps, None)
                found.append(_row(told, PLAIN, scores[told], scores))
            keys = ("auc", "auc_lesion", "auc_healthy")
            means = {key: float(np.mean([row[key] for row in found])) for key in keys}
            spread = float(np.std([row["auc"] for row in found]))
            rows.append({"told": name if told == "generated" else "undrawn", **means, "sd": spread, **counts})
    return rows


def _sample(d: StenosisDrawing) -> dict[str, Any]:
    """As a sample of the generator, with what a judge looks at."""
    boxes = [{"synthetic": True, "mld_xy": _narrowest(d), "measured_ds": d.measured.percent_ds, "box": d.edit_box}]
    boxes += [{"synthetic": False, "box": lesion.box} for lesion in d.frame.lesions]
    meta = {"lesions": boxes, "source_id": d.frame.source_id}
    return {"json": meta, "image.png": d.after, "source.png": d.before, "source_mask.png": d.mask_before}


def _narrowest(d: StenosisDrawing) -> tuple[float, float]:
    lesion = d.narrowing(d.drawn_ds)
    x, y = lesion.points[lesion.at] + lesion.shift[lesion.at] * lesion.normals[lesion.at] + 0.5
    return float(x), float(y)


def sheet(result: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Columns: a place undrawn, then by each backend; below, a real lesion of the same frame, or nothing."""
    drawn = list(result["drawn"].values())
    bands = []
    for first in range(0, len(drawn[0]), COLUMNS):
        lines: list[list[NDArray[np.uint8]]] = [[] for _ in range(len(drawn) + 2)]
        for n in range(first, min(first + COLUMNS, len(drawn[0]))):
            frame, at = result["frames"][n], _narrowest(drawn[0][n])
            pictures = [frame.image, *(one[n].after for one in drawn)]
            for line, picture in zip(lines, pictures, strict=False):
                line.append(_crop(picture, at))
            box = frame.lesions[0].box if frame.lesions else None
            lines[-1].append(_crop(frame.image, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)) if box else _NOTHING)
        if len(lines[0]) == COLUMNS:
            bands.append(np.concatenate([np.concatenate(line, axis=1) for line in lines]))
    out: NDArray[np.uint8] = np.concatenate(bands) if bands else _NOTHING
    return out


_NOTHING = np.zeros((CROP * ZOOM + 4, CROP * ZOOM + 4), np.uint8)


def _crop(image: NDArray[np.uint8], xy: Sequence[float]) -> NDArray[np.uint8]:
    x, y = (min(max(round(v) - CROP // 2, 0), side - CROP) for v, side in zip(xy, image.shape[::-1], strict=True))
    cut: NDArray[np.uint8] = image[y : y + CROP, x : x + CROP].repeat(ZOOM, 0).repeat(ZOOM, 1)
    return np.pad(cut, 2)


COLUMNS_OF = {
    "backend": "", "meter": "meter", "n": "n", "r": "r", "error": "|read-asked|", "bias": "bias", "at70": "class at 70",
    "accepted": "accepted", "level": "old wall p90", "line": "line p90", "noise": "noise in/out", "cpu_s": "CPU s",
}  # fmt: skip
VERDICT = {
    "told": "", "auc": "AUC", "sd": "sd", "auc_lesion": "from lesions", "auc_healthy": "from healthy",
    "generated": "drawn", "lesion": "real", "healthy": "healthy",
}  # fmt: skip


def text(result: Mapping[str, Any]) -> str:
    """The tables for people."""
    out = table(f"{result['places']} places, both backends at each", COLUMNS_OF, result["rows"])
    return out + (table("told by a judge", VERDICT, result["judge"]) if "judge" in result else "")


def editors(weights: Path, device: str, steps: int | None = None) -> dict[str, Editor]:
    """Both backends, prepared; ``steps`` of the sampler, the model's own without."""
    from lesionforge.generators.stenosis.attenuation import AttenuationEditor
    from lesionforge.generators.stenosis.diffusion import DiffusionEditor

    out: dict[str, Editor] = {"attenuation": AttenuationEditor(), "diffusion": DiffusionEditor(weights, steps=steps)}
    for editor in out.values():
        editor.prepare(device)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.inpainted", description=__doc__)
    parser.add_argument("--data", required=True, metavar="FOLDER", help="ARCADE's folder")
    parser.add_argument("--labels", required=True, metavar="FOLDER", help="DiGDA's labels: the real lesions")
    parser.add_argument("--weights", required=True, type=Path, metavar="FOLDER", help="`model` of lesionforge fit")
    parser.add_argument("--part", choices=("train", "val"), default="val", help="ARCADE's own part")
    parser.add_argument("--count", type=int, default=180, help="lesions")
    parser.add_argument("--seeds", type=int, default=1, help="of the judge")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="picture of them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    asked = parser.parse_args()
    source = Arcade(asked.data, ArcadeOptions(part=asked.part, require="lesions", labels=asked.labels))
    frames = [frame for frame in map(source.read, range(source.cases)) if frame.lesions][: asked.count]
    result = measure(frames, editors(asked.weights, asked.device), asked.count)
    if asked.sheet:
        Image.fromarray(sheet(result)).save(asked.sheet)
    if asked.seeds:
        result["judge"] = judged(result["drawn"], asked.seeds, steps=200)
    from tests.benchmarks.__main__ import say

    say(text(result))
    if asked.json:
        asked.json.write_text(json.dumps({k: v for k, v in result.items() if k not in ("drawn", "frames")}, indent=1))


if __name__ == "__main__":
    main()
