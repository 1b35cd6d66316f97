"""What the runs of a study say together: means, seed spread, and differences to the real frames alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import stream
from lesionforge.jobs.tasks.detection.metrics import interval

REAL = "real"


@dataclass(frozen=True)
class Cell:
    """One score of one arm at one size.

    ``sd``: over seeds, each with its own real frames and samples (None with one seed). ``low``, ``high``: 95 %
    bootstrap interval of ``mean`` over test subjects and seeds. ``gain``: paired by seed against ``real``, with its
    standard error over seeds ``gain_se``, the standard error ``gain_total_se`` and interval over subjects and seeds
    together, and ``gain_seeds``, the seeds it is from.
    """

    size: int
    arm: str
    score: str
    seeds: int
    mean: float
    sd: float | None
    low: float
    high: float
    values: tuple[float, ...]  # one per seed
    gain: float | None = None
    gain_se: float | None = None
    gain_total_se: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    gain_seeds: int = 0


@dataclass(frozen=True)
class Summary:
    """All cells by (size, arm, score)."""

    cells: Mapping[tuple[int, str, str], Cell]
    sizes: tuple[int, ...]
    arms: tuple[str, ...]
    scores: tuple[str, ...]

    def cell(self, size: int, arm: str, score: str) -> Cell | None:
        """One cell, or None where no run has finished."""
        return self.cells.get((size, arm, score))

    def body(self) -> list[dict[str, Any]]:
        """Plain data for JSON; None where a score has no value (no lesion of its class)."""
        return [{name: _plain(value) for name, value in asdict(cell).items()} for cell in self.cells.values()]


def summarise(results: Sequence[Mapping[str, Any]]) -> Summary:
    """Summary of ``study.results``."""
    by: dict[tuple[int, str], dict[int, Mapping[str, Any]]] = {}
    for result in results:
        run = result["run"]
        by.setdefault((run["size"], run["arm"]), {})[run["seed"]] = result
    scores = tuple(results[0]["scores"])
    cells = {}
    for (size, arm), runs in sorted(by.items(), key=lambda item: (item[0][0], order(item[0][1]))):
        base = by.get((size, REAL), {})
        for score in scores:
            cells[size, arm, score] = _cell(size, arm, score, runs, base)
    sizes = tuple(sorted({size for size, _ in by}))
    arms = tuple(sorted({arm for _, arm in by}, key=order))
    return Summary(cells, sizes, arms, scores)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def order(arm: str) -> tuple[bool, int, str]:
    """Arms as a table shows them: real, x1, x2, x4, then the variants."""
    times, _, kind = arm.partition("-")
    return (bool(kind), 0 if arm == REAL else int(times[1:]), kind)


def _cell(
    size: int, arm: str, score: str, runs: Mapping[int, Mapping[str, Any]], base: Mapping[int, Mapping[str, Any]]
) -> Cell:
    values = np.array([runs[seed]["scores"][score] for seed in sorted(runs)])
    draws = _both([runs[seed]["draws"][score] for seed in sorted(runs)])
    low, high = interval(draws.tolist())
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    cell = Cell(size, arm, score, len(values), float(values.mean()), sd, low, high, tuple(values.tolist()))
    shared = sorted(runs.keys() & base.keys())
    if arm == REAL or not shared:
        return cell
    gains = np.array([runs[seed]["scores"][score] - base[seed]["scores"][score] for seed in shared])
    pairs = [np.subtract(runs[seed]["draws"][score], base[seed]["draws"][score]).tolist() for seed in shared]
    draws = _both(pairs)
    low, high = interval(draws.tolist())
    told = asdict(cell) | {"gain": float(gains.mean()), "gain_low": low, "gain_high": high, "gain_seeds": len(shared)}
    if len(shared) > 1:
        se = float(gains.std(ddof=1) / np.sqrt(len(shared)))
        # Variance over subjects with the seeds as they are, plus the variance over seeds.
        told |= {"gain_se": se, "gain_total_se": float(np.hypot(se, np.nanstd(np.mean(pairs, axis=0))))}
    return Cell(**told)


def _both(draws: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Means over resampled seeds of draws over resampled subjects, which are the same in every run: (seeds, draws)."""
    table = np.array(draws, np.float64)
    seeds, count = table.shape
    times = stream(b"detection", "seeds").integers(0, seeds, (seeds, count))
    return np.asarray(np.take_along_axis(table, times, axis=0).mean(0))
