"""PromptLesion's experiment on somebody's own CT with lesion labels: whose CT it is (``arms`` makes the rest).

The source's subjects are dealt to those that are learnt from and those that are scored on; one who is in two files is
one where the engine can tell (``engine.links``). Lesions are drawn into what is free of the training subjects' organs
or vessels, beside the lesions that they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import DataPlace, chosen
from lesionforge.jobs.tasks.segmentation.arms import DOMAINS, Cohort, domain_of
from lesionforge.jobs.tasks.segmentation.scans import matches
from lesionforge.sinks.card import counted


def cohort(uri: str, options: Mapping[str, Any], domain: str, test_share: float, device: str) -> Cohort:
    """The subjects of a source of CT with lesion labels.

    Args:
        uri: the source, as ``ct:FOLDER``.
        options: its own.
        domain: one of ``arms.DOMAINS``.
        test_share: of the subjects, to score on.
        device: torch's.

    Raises:
        UsageError: for an unknown domain, what is no source, or too few subjects.
        SourceError: where the source's folder is not there or not understood.
    """
    domain_of(domain)
    place = DataPlace(uri, options=options)
    if not place.is_source:
        raise UsageError(f"{uri} is no source: give your own CT with lesion labels with its scheme, as ct:FOLDER")
    subjects = place.source.subjects
    learnt = round(subjects * (1 - test_share))
    if not 0 < learnt < subjects:
        raise UsageError(
            f"{uri} has {counted(subjects, 'subject')}, of which --test-share {test_share:g} leaves {learnt} to learn "
            f"from and {subjects - learnt} to score on: give CT of more, or a share that leaves some to each"
        )
    split = {"train": 1 - test_share, "val": 0.0, "test": test_share}
    source = {"uri": uri, "options": dict(options), "split": split}
    return Cohort(domain, source, source, source, lambda real, test: marked(real, test, domain), device=device)


def marked(real: DataPlace, test: DataPlace, domain: str) -> dict[str, float]:
    """Equal shares of the domain's classes that the subjects to learn from have.

    Args:
        real, test: datasets of whole volumes, of those to learn from and of those to score on.

    Raises:
        UsageError: where either has no lesion of the domain, or their voxels differ.
    """
    from lesionforge.jobs.fit.volumes import Volumes

    one_spacing(real, test)
    learnt, scored = (Volumes((place.uri,), place.split) for place in (real, test))
    there = [learnt.learnable, scored.classes]
    if learnt.alone and not learnt.learnable:
        raise UsageError(
            "the scans to learn from have lesions, but near none of them is a voxel of its organ or vessel labelled: "
            "label it, and name it in the legend, as --option 'legend={1: liver, 2: liver_tumour}'"
        )
    for classes, what in zip(there, ("to learn from", "to score on"), strict=True):
        if classes.isdisjoint(DOMAINS[domain].classes):
            found = ", ".join(sorted(classes)) or "none at all"
            raise UsageError(
                f"the scans {what} mark no {domain}, but {found}: give another --domain and --out, say which "
                "label is a lesion, as --option 'legend={1: liver, 2: liver_tumour}', or give more CT"
            )
    return {name: 1.0 for name in DOMAINS[domain].classes if name in there[0]}


def one_spacing(*places: DataPlace) -> None:
    """Refuse scans of different voxels: a network, and a model of lesions, know voxels, no mm.

    Raises:
        UsageError: with the voxels that would do.
    """
    rows = [row for place in places for row in chosen(place.uri, place.split).column("labels.spacing_mm")]
    table = np.array(rows, float)
    middle = np.median(table, axis=0).round(2).tolist()
    if not all(matches(row, middle) for row in table):
        low, high = table.min(0).round(2).tolist(), table.max(0).round(2).tolist()
        raise UsageError(
            f"the scans' voxels are {low} to {high} mm, and all need the same: give --option spacing_mm={middle} with "
            "another --out, or other voxels"
        )
