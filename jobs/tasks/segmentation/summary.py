"""What the runs of a segmentation study say together: means, seed spread, and gains over real samples alone.

A score of a class is averaged over a subject's volumes, then over the subjects, then over the classes (column
``mean``), then over the seeds. Scores that ask how well lesions are segmented are averaged over volumes whose labels
hold the class: the same volumes in every arm, so that arms can be paired. What happens elsewhere is counted apart:

- ``dsc`` ``nsd`` ``lesion_dsc``: see `jobs.tasks.segmentation.metrics`.
- ``found``: share of a volume's lesions that the prediction touches.
- ``false_positives``: predicted components a volume that touch no lesion, in all volumes.
- ``false_alarms``: share of the volumes without the class in which some is predicted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lesionforge.generators.types import stream
from lesionforge.jobs.studies.runs import StudyError
from lesionforge.jobs.tasks.segmentation import paper

REAL = "real"
MEAN = "mean"  # the column over classes
SCORES = ("dsc", "lesion_dsc", "nsd", "found", "false_positives", "false_alarms")
DRAWS = 2000  # of the bootstrap

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gain:
    """An arm against real samples alone: seeds that both have, subject by subject, each a mean over those seeds.

    ``sd``: of the gain over seeds (None with one). ``p``: two-sided paired t-test over subjects, of each one's mean
    over the classes that it holds (weighting up those that few hold would make the test too bold); None where gains do
    not differ. ``low``, ``high``: 95 % percentile bootstrap interval of ``value`` over subjects. Both are None with one
    subject, and hold for these trained networks: seeds are averaged, not resampled. ``subjects``: with a value. The
    interval is short where they are few: of normal gains it holds the true one 91 times of 100 with 12, 86 with 6.
    """

    value: float
    sd: float | None
    p: float | None
    low: float | None
    high: float | None
    subjects: int
    seeds: int


@dataclass(frozen=True)
class Cell:
    """One score of one class, or of all (``MEAN``), by one network in one arm; ``sd`` over seeds, None with one."""

    network: str
    arm: str
    score: str
    column: str
    seeds: int
    subjects: int
    mean: float
    sd: float | None
    values: tuple[float, ...]  # one per seed
    gain: Gain | None = None


@dataclass(frozen=True)
class Summary:
    """All cells by (network, arm, score, column)."""

    cells: Mapping[tuple[str, str, str, str], Cell]
    domain: str
    networks: tuple[str, ...]
    arms: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The classes and their mean."""
        return (*self.classes, MEAN)

    def cell(self, network: str, arm: str, score: str, column: str) -> Cell | None:
        """One cell, or None where no run has finished."""
        return self.cells.get((network, arm, score, column))

    def body(self) -> list[dict[str, Any]]:
        """Plain data for JSON; None where a score has no value (no lesion of its class)."""
        return [_plain(asdict(cell)) for cell in self.cells.values()]


def summarise(results: Sequence[Mapping[str, Any]]) -> Summary:
    """Summary of a study's run files.

    Raises:
        StudyError: where runs were scored on other subjects or classes than the first.
    """
    classes, subjects = tuple(results[0]["classes"]), _subjects(results[0])
    by: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for result in results:
        run = result["run"]
        if tuple(result["classes"]) != classes or _subjects(result) != subjects:
            name = f"{run['network']}-{run['arm']}-s{run['seed']}"
            raise StudyError(f"run {name} was scored on other volumes or classes than the rest: move its file away")
        by.setdefault((run["network"], run["arm"]), {})[run["seed"]] = result
    networks, arms = _as_in({network for network, _ in by}, paper.NETWORKS), _as_in({arm for _, arm in by}, paper.ARMS)
    cells = {}
    for network in networks:
        for score in SCORES:
            tables = {
                arm: {seed: table(result, score) for seed, result in sorted(by.get((network, arm), {}).items())}
                for arm in arms
            }
            for arm, runs in tables.items():
                for column in (*classes, MEAN) if runs else ():
                    which = slice(None) if column == MEAN else [classes.index(column)]
                    mine, base = ({s: t[:, which] for s, t in of.items()} for of in (runs, tables.get(REAL, {})))
                    cell = _cell(network, arm, score, column, mine, base)
                    cells[network, arm, score, column] = cell
    return Summary(cells, str(results[0]["domain"]), tuple(networks), tuple(arms), classes)


def table(result: Mapping[str, Any], score: str) -> Floats:
    """A score of one run by subject and class (subjects, classes), NaN where undefined; subjects by name."""
    rows: dict[str, list[list[float]]] = {}
    for item in sorted(result["subjects"], key=lambda item: (item["subject"], item["sample"])):
        values = [_value(item["scores"][name], score) for name in result["classes"]]
        rows.setdefault(item["subject"], []).append(values)
    return np.array([_mean(np.array(rows[name])) for name in sorted(rows)])


def _value(scores: Mapping[str, Any], score: str) -> float:
    """One class of one volume."""
    if score == "false_positives":
        return float(scores["false_positives"])
    if score == "false_alarms":
        return float("nan") if scores["lesions"] else float(scores["predicted"] > 0)
    if not scores["lesions"]:
        return float("nan")
    return float(scores["found"] / scores["lesions"] if score == "found" else scores[score])


def _mean(table: Floats) -> Floats:
    """Means of the columns over what is there; NaN where nothing is."""
    there = np.isfinite(table)
    return _ratio(np.where(there, table, 0).sum(0), there.sum(0))


def _ratio(total: Floats, count: NDArray[Any]) -> Floats:
    """Quotient, NaN where ``count`` is 0."""
    out = np.full(count.shape, np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out


def over_all(table: Floats, times: Floats | None = None) -> Floats:
    """Mean over the classes of the means over subjects: one value, or one for each row of ``times``.

    Args:
        table: (subjects, classes), NaN where undefined; classes that no subject has are left out.
        times: (draws, subjects): how often each subject counts. A draw without a class is averaged over the others.
    """
    weights = np.ones((1, len(table))) if times is None else times
    there = np.isfinite(table)
    return _mean(_ratio(weights @ np.where(there, table, 0), weights @ there).T)


def gain(mine: Mapping[int, Floats], base: Mapping[int, Floats]) -> Gain | None:
    """An arm's tables by seed against those of ``real``; None without a shared seed or a value."""
    seeds = sorted(mine.keys() & base.keys())
    if not seeds:
        return None
    each = [mine[seed] - base[seed] for seed in seeds]
    by_seed = np.array([over_all(difference)[0] for difference in each])
    together = np.mean(each, axis=0)
    there = _mean(together.T)  # a subject's own mean over its classes
    there = there[np.isfinite(there)]
    if not len(there):
        return None
    p = low = high = None
    if len(there) > 1:
        even = np.full(len(together), 1 / len(together))
        times = stream(b"segmentation", "bootstrap").multinomial(len(together), even, DRAWS)
        low, high = map(float, np.nanquantile(over_all(together, times.astype(np.float64)), [0.025, 0.975]))
    if len(there) > 1 and np.ptp(there) > 1e-12:  # without spread the statistic has no value
        p = float(stats.ttest_1samp(there, 0.0).pvalue)
    return Gain(float(by_seed.mean()), _sd(by_seed), p, low, high, len(there), len(seeds))


def _cell(
    network: str, arm: str, score: str, column: str, mine: Mapping[int, Floats], base: Mapping[int, Floats]
) -> Cell:
    values = np.array([over_all(mine[seed])[0] for seed in sorted(mine)])
    subjects = int(np.isfinite(next(iter(mine.values()))).any(1).sum())
    told = None if arm == REAL else gain(mine, base)
    return Cell(
        network, arm, score, column, len(values), subjects, float(values.mean()), _sd(values), tuple(values), told
    )


def _sd(values: Floats) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _as_in(names: set[str], theirs: Iterable[str]) -> list[str]:
    """In the paper's order, then our own by name."""
    known = [name for name in theirs if name in names]
    return known + sorted(names.difference(known))


def _subjects(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    return sorted((item["subject"], item["sample"]) for item in result["subjects"])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
