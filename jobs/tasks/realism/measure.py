"""``lesionforge score realism``: the judge's verdict on a dataset, and a sheet of what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesionforge.jobs import console
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import samples
from lesionforge.jobs.tasks.realism.crops import MEMBERS, Crops, collect
from lesionforge.jobs.tasks.realism.judge import Verdict, judge

LEAST = 40  # crops of each kind, below which an AUC means nothing
COLUMNS = 16  # of the sheet
ADVICE = "realism needs a stenosis dataset made with generator.params.keep_source: true"


def measure(place: str, seeds: int, sheet: Path | None) -> dict[str, Any]:
    """AUCs averaged over judges with different seeds, and their spread.

    Raises:
        UsageError: for a dataset with too few crops of a kind, or without its source frames.
    """
    crops = collect(samples(place, None, MEMBERS, (), ADVICE))
    counts = {kind: len(c.frames) for kind, c in crops.items()}
    if short := [f"{n} {kind}" for kind, n in counts.items() if n < LEAST]:
        raise UsageError(f"{place} gives only {', '.join(short)} crops; an AUC needs {LEAST} of each kind")
    verdicts = [judge(crops, seed) for seed in range(seeds)]
    rows = []
    for same in zip(*(v.rows for v in verdicts), strict=True):
        row = {key: same[0][key] for key in ("told", "seen")}
        for key in ("auc", "auc_lesion", "auc_healthy"):
            values = [r[key] for r in same if r[key] is not None]
            row[key] = float(np.mean(values)) if values else None
            row[f"{key}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        rows.append(row)
    if sheet:
        Image.fromarray(_sheet(crops, verdicts[0])).save(sheet)
    frames = len(np.unique(np.concatenate([c.frames for c in crops.values()])))
    return {"out": place, "crops": counts, "frames": frames, "seeds": seeds, "rows": rows}


def show(body: Mapping[str, Any]) -> None:
    """For people."""
    crops = ", ".join(f"{n} {kind}" for kind, n in body["crops"].items())
    console.out.print(f"{crops} crops of {body['frames']} frames; AUC on frames the judge never saw (.5: cannot tell)")
    names = {"generated": "drawn lesions", "before": "same places, undrawn", "lesion": "real lesions"}
    rows = [
        [
            f"{names.get(r['told'], '  ' + r['told'])}, {r['seen']}",
            *(_figure(r, key) for key in ("auc", "auc_lesion", "auc_healthy")),
        ]
        for r in body["rows"]
    ]
    console.table("Realism", ["told from real crops", "AUC", "from real lesions", "from healthy vessel"], rows)


def _figure(row: Mapping[str, Any], key: str) -> str:
    spread = row[f"{key}_sd"]
    if row[key] is None:
        return "-"
    return f"{row[key]:.2f}" if spread is None else f"{row[key]:.2f} ({spread:.2f})"


def _sheet(crops: Mapping[str, Crops], verdict: Verdict) -> NDArray[np.uint8]:
    """Rows: the most and the least betrayed drawn lesions, real lesions, healthy vessel."""
    drawn = crops["generated"].pixels
    rows = [drawn[verdict.telling[:COLUMNS]], drawn[verdict.telling[::-1][:COLUMNS]]]
    rows += [crops[kind].pixels[:COLUMNS] for kind in ("lesion", "healthy")]
    lines = [np.concatenate([np.pad(c, 2) for c in line], axis=1) for line in rows]
    sheet: NDArray[np.uint8] = np.concatenate(lines)
    return np.kron(sheet, np.ones((2, 2), np.uint8))
