"""Angiographic runs of a dataset as they are exported: frames, geometry, and what the sample says of itself."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.sinks import dataset
from lesionforge.sinks.encode import decode
from lesionforge.sinks.reader import Reader, Samples
from lesionforge.sinks.store import Store

FRAME = re.compile(r"frame\d+\.png")  # the members of a run; a still has one picture
STILL = "image.png"


@dataclass(frozen=True)
class ExportedRun:
    """A sample of the cine generator.

    ``frames`` uint8 (n, rows, cols). ``record``: its decoded ``json``, ``text`` the same as it is stored. ``fps``:
    frames a second, None for a still. ``view``: ``primary_deg``, ``secondary_deg``, ``sid_mm``, ``sod_mm`` and the
    detector's ``row_mm``, ``col_mm``. ``full``: first and last frame of full contrast from 0, None where there is none.
    """

    key: str
    frames: NDArray[np.uint8]
    record: Mapping[str, Any]
    text: bytes
    view: Mapping[str, float]
    fps: float | None
    full: tuple[int, int] | None


class Runs:
    """The runs of a dataset by split, with counts of what was met on the way.

    Args:
        place: where the dataset lies.
        splits: only of these.
    """

    def __init__(self, place: str | Path | Store, splits: Sequence[str] | None) -> None:
        self._store = place if isinstance(place, Store) else Store(str(place))
        self.splits = dataset.splits(self._store, splits)
        self.images: Counter[str] = Counter()
        self.frames: Counter[str] = Counter()

    def read(self, split: str) -> Iterator[ExportedRun]:
        """The runs of a split, in the order of its shards.

        Raises:
            ValueError: for a sample that is no run of angiograms.
        """
        # Runs differ in length, so that not all have all members: all is read, and what is no frame stays packed.
        samples = Samples(self._store, split, decoded=False)
        if not any(name == STILL or FRAME.fullmatch(name) for name in samples.members):
            raise ValueError(f"{self._store.url()} has no frame000.png or {STILL}: only angiograms become XA DICOM")
        for sample in Reader(samples, shuffle=False):
            run = self._run(sample)
            self.images[split] += 1
            self.frames[split] += len(run.frames)
            yield run

    def summary(self) -> dict[str, Any]:
        """The counts, as plain data."""
        return {"images": dict(self.images), "frames": dict(self.frames)}

    def _run(self, sample: Mapping[str, Any]) -> ExportedRun:
        key = sample["__key__"]
        names = sorted(name for name in sample if FRAME.fullmatch(name)) or [
            name for name in (STILL,) if name in sample
        ]
        try:
            record = decode("json", sample["json"])
            pictures = [decode(name, sample[name]) for name in names]
        except (KeyError, ValueError) as error:
            raise ValueError(f"sample {key} of {self._store.url()}: {error}; see lesionforge verify") from None
        if not pictures or any(p.dtype != np.uint8 or p.shape != pictures[0].shape or p.ndim != 2 for p in pictures):
            raise ValueError(f"sample {key} has no grey frames of 8 bits and one size: no angiographic run")
        try:
            told = record["view"]
            row_mm, col_mm = told["pixel_mm"]
            view = {name: told[name] for name in ("primary_deg", "secondary_deg", "sid_mm", "sod_mm")}
            view = {name: float(value) for name, value in (view | {"row_mm": row_mm, "col_mm": col_mm}).items()}
            fps = float(record["fps"]) if len(pictures) > 1 else None
            ends = record.get("begin"), record.get("end")
            full = None if None in ends else (int(ends[0]), int(ends[1]))
            _ = str(record["subject"]), str(record["recipe"]), str(record["sample_id"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"sample {key} of {self._store.url()}: its json needs view (angles, sid_mm, sod_mm, pixel_mm) and fps, "
                f"as the cine generator writes them ({type(error).__name__}: {error})"
            ) from None
        lengths = [view[name] for name in ("sid_mm", "sod_mm", "row_mm", "col_mm")] + ([] if fps is None else [fps])
        if not all(map(math.isfinite, view.values())) or not all(0 < one < math.inf for one in lengths):
            raise ValueError(f"sample {key}: view {dict(view)} at {fps} frames a second is no C-arm's")
        return ExportedRun(key, np.stack(pictures), record, bytes(sample["json"]), view, fps, full)
