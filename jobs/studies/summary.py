"""What the runs of a study say together, by one statistic for every task: paired by subject, seeds averaged.

Every run keeps each measure's value, and its values over ``DRAWS`` bootstrap samples of the test subjects: the same
subjects in draw i of every run. So the difference of two arms in draw i is one of the same subjects, whatever the
measure is: a mean over subjects or, as average precision and best F1, a property of the whole set which no subject has.

- gain: the measure's difference to ``real``, averaged over the seeds that both arms have.
- standard error: standard deviation of that mean difference over the draws, times sqrt(n / (n - 1)), as the bootstrap
  divides by n where the sample's own deviation divides by n - 1; n subjects hold what is measured.
- 95 % interval: gain ± t(.975, n - 1) standard errors, cut where the measure ends (no Dice is below 0); p: two-sided,
  of gain / standard error in the same t.

For a mean over subjects this is the paired t-test of the subjects' differences, up to the draws' noise of 2 %. Why not
the percentiles of the draws: with twelve subjects such an interval held the true gain 91 times of 100 in place of 95,
and disagreed with p. Why not the t-test itself: it has no meaning for average precision. Bootstrap standard errors with
t quantiles: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 6 and 12; the factor against
narrowness: Hesterberg, The American Statistician 69 (2015) 371-386, section 3.2.

- seen from: the smallest gain that four of five studies like this one would tell from 0, at p < .05: (t(.975, n - 1) +
  t(.8, n - 1)) sqrt(standard error^2 + sd^2 / seeds), sd the gain's over seeds (Cohen, Statistical Power Analysis,
  1988). With other numbers of subjects it goes as their root: what real-only and one arm of a pilot spread says
  beforehand what a study can see.

It holds for these trained networks: seeds are averaged, not resampled (``sd`` is the spread over them), and p is not
corrected for the number of comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lesionforge.generators.types import stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import REAL, Measures, Task

DRAWS = 1000
LEVEL = 0.95
POWER = 0.8
Result = Mapping[str, Any]  # of a run, see ``runs``


@dataclass(frozen=True)
class Estimate:
    """A measure, or a gain in it. ``sd``: over seeds, None with one; ``low``, ``high``, ``p``: None with one subject.

    ``p`` is None where nothing varies. ``seen``: the smallest value that would be told from 0, see the module's
    docstring. Both are of no use for a level, which nobody supposes to be 0.
    """

    value: float
    sd: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    seeds: int
    seen: float | None = None


@dataclass(frozen=True)
class Cell:
    """One measure of one model in one arm at one size; ``values``: one per seed."""

    model: str
    size: int | None
    arm: str
    measure: str
    values: tuple[float, ...]
    level: Estimate
    gain: Estimate | None = None


@dataclass(frozen=True)
class Summary:
    """All cells by (model, size, arm, measure)."""

    cells: Mapping[tuple[str, int | None, str, str], Cell]
    models: tuple[str, ...]
    sizes: tuple[int | None, ...]
    arms: tuple[str, ...]

    def cell(self, model: str, size: int | None, arm: str, measure: str) -> Cell | None:
        """One cell, or None where no run has finished."""
        return self.cells.get((model, size, arm, measure))

    def body(self) -> list[dict[str, Any]]:
        """Plain data for JSON; None where a measure has no value (no lesion of its class)."""
        return [plain(asdict(cell)) for cell in self.cells.values()]


def draws(measures: Measures, subjects: int) -> dict[str, list[float]]:
    """Every measure over resampled subjects; the same resampling for every run with as many subjects."""
    times = stream(b"study", "bootstrap").multinomial(subjects, np.full(subjects, 1 / subjects), DRAWS)
    found: dict[str, list[float]] = {}
    for row in times.astype(np.float64):
        for name, value in measures.values(row).items():
            found.setdefault(name, []).append(value)
    return found


def estimate(
    values: Sequence[float],
    draws: Sequence[Sequence[float]],
    n: int,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """See the module's docstring.

    Args:
        values: the measure or its gain, one per seed.
        draws: (seeds, draws) of them.
        n: subjects that hold what is measured.
        bounds: of the value; the interval is cut there.
    """
    value = float(np.mean(values))
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    by_draw = np.array(draws, np.float64).mean(axis=0)
    by_draw = by_draw[np.isfinite(by_draw)]  # a draw may miss every subject with the class
    if n < 2 or len(by_draw) < 2 or not np.isfinite(value):
        return Estimate(value, sd, None, None, None, n, len(values))
    error = float(by_draw.std(ddof=1) * np.sqrt(n / (n - 1)))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(value) / error, n - 1)) if error > 1e-12 else None
    low, high = max(value - reach, bounds[0]), min(value + reach, bounds[1])
    both = float(stats.t.ppf([(1 + LEVEL) / 2, POWER], n - 1).sum())
    seen = both * math.hypot(error, (sd or 0.0) / math.sqrt(len(values)))
    return Estimate(value, sd, low, high, p, n, len(values), seen)


def summarise(results: Sequence[Result], task: Task[Any, Any]) -> Summary:
    """Summary of a study's runs.

    Raises:
        UsageError: where runs were scored on other items than the first.
    """
    first = results[0]
    by: dict[tuple[str, int | None, str], dict[int, Result]] = {}
    for result in results:
        run = result["run"]
        if result["test"]["digest"] != first["test"]["digest"]:
            raise UsageError(f"run {run} was scored on other items than {first['run']}: move its file away")
        by.setdefault((run["model"], run["size"], run["arm"]), {})[run["seed"]] = result
    models = tuple(_as_in({model for model, _, _ in by}, task.models))
    sizes = tuple(sorted({size for _, size, _ in by}, key=lambda size: (size is None, size)))
    arms = tuple(task.order({arm for _, _, arm in by}))
    cells = {}
    for model, size, arm in ((m, s, a) for m in models for s in sizes for a in arms if (m, s, a) in by):
        runs, base = by[model, size, arm], by.get((model, size, REAL), {})
        for measure in next(iter(runs.values()))["scores"]:
            against, bounds = {} if arm == REAL else base, task.bounds(measure)
            cells[model, size, arm, measure] = _cell(model, size, arm, measure, runs, against, bounds)
    return Summary(cells, models, sizes, arms)


def _cell(
    model: str,
    size: int | None,
    arm: str,
    measure: str,
    runs: Mapping[int, Result],
    base: Mapping[int, Result],
    bounds: tuple[float, float],
) -> Cell:
    def of(runs: Mapping[int, Result], seeds: Sequence[int], kind: str) -> NDArray[np.float64]:
        return np.array([runs[seed][kind][measure] for seed in seeds], np.float64)  # None becomes NaN

    seeds = sorted(runs)
    n = int(runs[seeds[0]]["held"][measure])
    values = of(runs, seeds, "scores")
    level = estimate(values.tolist(), of(runs, seeds, "draws").tolist(), n, bounds)
    gain, shared = None, sorted(runs.keys() & base.keys())
    if shared:
        by_seed, by_draw = (of(runs, shared, kind) - of(base, shared, kind) for kind in ("scores", "draws"))
        reach = bounds[1] - bounds[0]
        gain = estimate(by_seed.tolist(), by_draw.tolist(), n, (-reach, reach)) if np.isfinite(by_seed).all() else None
    return Cell(model, size, arm, measure, tuple(values.tolist()), level, gain)


def caution(test: Mapping[str, int]) -> str:
    """What to beware of where no subject has two of the tested ``items``: nobody may have said whose they are."""
    if not 1 < test["items"] == test["subjects"]:
        return ""
    return (
        "Every item counts as a subject of its own: if several are of one patient (frames of one run), intervals are "
        "too narrow and p is too small."
    )


def _as_in(names: set[str], order: Sequence[str]) -> list[str]:
    """In that order, then others by name."""
    return [name for name in order if name in names] + sorted(names.difference(order))


def plain(value: Any, number: Callable[[float], float] = float) -> Any:
    """Data for JSON: tuples as lists, what is no finite number as None, others by ``number`` (to round them)."""
    if isinstance(value, Mapping):
        return {name: plain(item, number) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, number) for item in value]
    if isinstance(value, float):
        return number(value) if np.isfinite(value) else None
    return value
