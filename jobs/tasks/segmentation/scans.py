"""Labelled CT volumes, what a network learns from and is scored on, and where they come from.

All scans of a job are held in memory, 3 bytes a voxel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.privacy import subject_key, unnamed
from lesionforge.engine.recipe import SourceRecipe
from lesionforge.engine.sources.base import open_source
from lesionforge.generators.lesion.learned.filler import SPACING_TOLERANCE
from lesionforge.generators.types import BadCase, Volume
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.segmentation.targets import classes_of, target
from lesionforge.sinks.reader import Samples

CANDIDATES = 4096  # voxels remembered of a class, spread evenly over it


@dataclass(frozen=True)
class Scan:
    """One labelled volume.

    ``hu`` int16 (i, j, k) along LPS. ``target`` uint8 (i, j, k), see ``targets.target``. ``subject``: a hash.
    ``source_id``: of the volume it is, or was made from. ``sample``: its id, empty for a volume of a source.
    """

    hu: NDArray[np.int16]
    target: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    subject: str
    source_id: str
    sample: str = ""

    @cached_property
    def voxels(self) -> dict[int, NDArray[np.int64]]:
        """Indices (n, 3) of voxels of each class in it, by the target's value: ``CANDIDATES`` at most."""
        out = {}
        for value in np.unique(self.target[self.target > 0]).tolist():
            flat = np.flatnonzero(self.target == value)
            step = -(-len(flat) // CANDIDATES)
            out[value] = np.stack(np.unravel_index(flat[::step], self.target.shape), axis=1)
        return out


def read(place: str, split: str, domain: str, options: Mapping[str, Any] | None = None) -> list[Scan]:
    """The scans of a place.

    Args:
        place: dataset made by the ``lesion`` generator (a folder or URL), or a CT source with lesion labels such as
            ``ct:FOLDER`` in the layout of LiTS, KiTS or the Decathlon.
        split: of the dataset; a source has none, all of it is taken.
        domain: whose lesions are the target.
        options: of the source.

    Raises:
        UsageError: where there is no sample, a member is missing, or no source takes these options.
        SourceError: where the source's folder is not there or not understood.
    """
    source = ":" in place and "://" not in place
    if options and not source:
        raise UsageError(f"options {', '.join(options)} are for a source such as ct:FOLDER; {place} is a dataset")
    return list(_from_source(place, domain, options or {}) if source else _from_dataset(place, split, domain))


def matches(spacing_mm: Sequence[float], wanted_mm: Sequence[float]) -> bool:
    """Whether voxels are of a size, up to ``SPACING_TOLERANCE`` of each edge: a network knows voxels, no mm."""
    return all(abs(a / b - 1) <= SPACING_TOLERANCE for a, b in zip(spacing_mm, wanted_mm, strict=True))


def same_spacing(scans: Sequence[Scan]) -> tuple[float, float, float]:
    """The spacing that all have, mm.

    Raises:
        UsageError: where they differ.
    """
    table = np.array([scan.spacing_mm for scan in scans], float)
    x, y, z = np.median(table, axis=0).tolist()
    if not all(matches(row, (x, y, z)) for row in table):
        low, high = table.min(0).round(2).tolist(), table.max(0).round(2).tolist()
        raise UsageError(f"voxels are {low} to {high} mm: resample the sources (one spacing for one network)")
    return x, y, z


def require_lesions(scans: Sequence[Scan], domain: str, what: str) -> None:
    """Refuse scans without a single lesion of the domain.

    Raises:
        UsageError: naming ``what`` they are.
    """
    if not any(scan.voxels for scan in scans):
        raise UsageError(f"{what} shows no {' or '.join(classes_of(domain))}: is --domain {domain} right?")


def _from_dataset(place: str, split: str, domain: str) -> Iterator[Scan]:
    try:
        names = Samples(place, split=split).members
        ct = next((name for name in ("ct.npy", "ct.npy.gz") if name in names), "ct.npy")
        samples = Samples(place, split=split, members=(ct, "label.npy.gz", "json"))
    except ValueError as error:
        raise UsageError(f"{error}: give a dataset of the lesion generator") from None
    for sample in samples.read(range(len(samples))):
        told = sample["json"]
        legend = {int(value): name for value, name in told["legend"].items()}
        x, y, z = told["spacing_mm"]
        yield Scan(
            sample[ct],
            target(sample["label.npy.gz"], legend, domain),
            (x, y, z),
            told["subject"],
            told["source_id"],
            told["sample_id"],
        )


def _from_source(uri: str, domain: str, options: Mapping[str, Any]) -> Iterator[Scan]:
    source = open_source(SourceRecipe(uri=uri, options=dict(options)))
    key = subject_key(0, [source])
    for number in range(source.subjects * source.cases_per_subject):
        try:
            case = source.read(number)
        except BadCase:
            continue  # the source's own report names it
        if not isinstance(case, Volume) or case.labels is None:
            raise UsageError(f"source {uri.split(':', 1)[0]} yields no labelled CT volumes")
        seen = unnamed(case, key)
        labels = target(case.labels, case.legend, domain)
        yield Scan(case.hu, labels, case.spacing_mm, seen.subject, case.source_id)
