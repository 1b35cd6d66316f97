"""PromptLesion's experiment on phantoms that a CPU can carry: whose CT it is (``arms`` makes the rest).

"Real" are phantoms that are ill by a law of their own (``generators.phantom.ct.disease``), which no backend knows. All
that is added is drawn on the healthy CT of the same training subjects. Fewer subjects are the first ones of more, and
each number has fits of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lesionforge.jobs.tasks.segmentation.arms import EACH, Cohort, domain_of

SERIES: Final = {"train": 0, "test": 1, "fresh": 2}  # of the phantoms: other numbers, other subjects


@dataclass(frozen=True)
class Phantoms:
    """A kind of phantom.

    ``source`` and ``options``: of the subjects. ``params``: of the generator ``lesion``, beside the domain's.
    ``balance``: classes it draws.
    """

    source: str
    options: Mapping[str, Any]
    params: Mapping[str, Any]
    balance: Mapping[str, float]


PHANTOMS: Final[Mapping[str, Phantoms]] = {
    "plaques": Phantoms(
        "phantom:ccta",
        {"about": "left", "shape": [80, 80, 80], "spacing_mm": [0.6, 0.6, 0.6]},
        {},
        {"calcified": 1, "non_calcified": 1},
    ),
    "tumours": Phantoms(
        "phantom:abdomen",
        {"shape": [112, 80, 64], "spacing_mm": [2.5, 2.5, 2.5]},
        {"early_mm": [5, 9.5], "others": [0, 2]},
        {f"{organ}_{stage}": 1 for organ in ("liver", "kidney", "pancreas") for stage in ("early", "late")},
    ),
}


def cohort(domain: str, subjects: int, test: int) -> Cohort:
    """Phantoms of a domain: ``subjects`` to learn from, ``test`` to score on.

    Raises:
        UsageError: for an unknown domain.
    """
    domain_of(domain)
    own = PHANTOMS[domain]

    def source(series: str, count: int, disease: bool = True) -> dict[str, Any]:
        options = {**own.options, "count": count, "series": SERIES[series], "disease": disease}
        split = "test" if series == "test" else "train"
        return {"uri": own.source, "options": options, "split": {"train": 0, "val": 0, "test": 0, split: 1}}

    return Cohort(
        domain,
        real=source("train", subjects),
        test=source("test", test),
        drawn_on=source("train", subjects, disease=False),
        fresh=source("fresh", EACH * subjects),  # as many as samples are drawn
        params=own.params,
        balance=lambda real, test: own.balance,
    )
