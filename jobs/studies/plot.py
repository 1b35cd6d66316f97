"""A study's picture: levels of every arm by measure, each seed a dot, and gains with intervals; or methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lesionforge.jobs.studies.summary import Summary
from lesionforge.jobs.studies.task import REAL, Task

GREY = "#555555"  # real data alone
COLOURS = (
    "#08519c", "#6baed6", "#41ab5d", "#d95f0e", "#807dba", "#fdae6b", "#8c6d31", "#ad494a", "#a55194", "#17becf",
)  # fmt: skip


def draw(summary: Summary, task: Task[Any, Any], path: Path) -> None:
    """A row a model and size. Left: means over seeds; right: gains over real data alone with their 95 % intervals.

    What may be above 1, as counts are, has a scale of its own, below.
    Where nothing is added to real data, methods are compared instead: a panel a measure; over sizes, if several.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    others = [arm for arm in summary.arms if arm != REAL]
    if not others:
        figure = _methods(plt, summary, task)
        figure.savefig(path, dpi=110)
        plt.close(figure)
        return
    colours = {REAL: GREY} | {arm: COLOURS[n % len(COLOURS)] for n, arm in enumerate(others)}
    shares = {measure: words for measure, words in task.shown.items() if task.bounds(measure)[1] <= 1}
    scales = [some for some in (shares, {m: words for m, words in task.shown.items() if m not in shares}) if some]
    groups = [(model, size, some) for model in summary.models for size in summary.sizes for some in scales]
    talls = [max(3.4 if some is scales[0] else 1.2, 0.9 + 0.42 * len(some)) for _, _, some in groups]
    figure, axes = plt.subplots(
        len(groups), 2, figsize=(13, sum(talls) + 0.6), height_ratios=talls, constrained_layout=True, squeeze=False
    )
    for (bars, gains), (model, size, some) in zip(axes, groups, strict=True):
        _levels(bars, summary, some, colours, model, size)
        _gains(gains, summary, some, colours, model, size)
        if some is scales[0]:
            title = f"{model}, {'all' if size is None else size} real"
            bars.set_title(title, fontsize=11, loc="left")
            gains.set_title(f"{title}: gain over real data alone", fontsize=11, loc="left")
        if some is scales[-1]:
            bars.set_xlabel("bars: mean over seeds; dots: seeds")
            gains.set_xlabel("lines: 95 % interval over test subjects")
        for ax in (bars, gains):
            ax.spines[["top", "right"]].set_visible(False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[arm]) for arm in summary.arms]
    figure.legend(handles, summary.arms, loc="outside lower center", ncols=min(8, len(summary.arms)), frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _methods(plt: Any, summary: Summary, task: Task[Any, Any]) -> Any:
    wide = min(4, len(task.shown))
    rows = -(-len(task.shown) // wide)
    tall = 0.9 + 0.32 * max(5, len(summary.models))
    figure, axes = plt.subplots(rows, wide, figsize=(13, tall * rows + 0.4), constrained_layout=True, squeeze=False)
    for ax in axes.flat[len(task.shown) :]:
        ax.set_visible(False)
    for ax, (measure, words) in zip(axes.flat, task.shown.items(), strict=False):
        for row, model in enumerate(summary.models):
            cells = [summary.cell(model, size, REAL, measure) for size in summary.sizes]
            there = [(n, cell) for n, cell in enumerate(cells) if cell is not None]
            colour = COLOURS[row % len(COLOURS)]
            for n, cell in there:
                low, high = cell.level.low, cell.level.high
                span = [low, high] if low is not None else [cell.level.value] * 2
                seeds, count = list(cell.values), len(cell.values)
                if len(cells) == 1:
                    ax.barh(row, cell.level.value, 0.8, color=colour, alpha=0.6)
                    ax.plot(span, [row, row], color="black", linewidth=1)
                    ax.plot(seeds, [row] * count, ".", color="black", markersize=3)
                else:
                    ax.plot([n, n], span, color=colour, linewidth=1)
                    ax.plot([n] * count, seeds, ".", color=colour, markersize=4)
            if len(cells) > 1:
                ax.plot([n for n, _ in there], [cell.level.value for _, cell in there], color=colour, label=model)
        if len(summary.sizes) == 1:
            _rows(ax, list(summary.models))
            ax.set_xlim(left=0)
            ax.set_xlabel("lines: 95 % over test subjects; dots: seeds", fontsize=8)
        else:
            names = ["all" if size is None else str(size) for size in summary.sizes]
            ax.set_xticks(range(len(names)), names)
            ax.set_xlabel("real subjects or items")
        ax.set_title(words, fontsize=11, loc="left")
        ax.spines[["top", "right"]].set_visible(False)
    if len(summary.sizes) > 1:
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=8, frameon=False)
    return figure


def _levels(
    ax: Any, summary: Summary, shown: Mapping[str, str], colours: dict[str, str], model: str, size: int | None
) -> None:
    high = 0.85 / len(summary.arms)
    for group, measure in enumerate(shown):
        for k, arm in enumerate(summary.arms):
            cell = summary.cell(model, size, arm, measure)
            if cell is None or cell.level.value != cell.level.value:
                continue
            at = group + (k - (len(summary.arms) - 1) / 2) * high
            ax.barh(at, cell.level.value, high * 0.92, color=colours[arm])
            ax.plot(cell.values, [at] * len(cell.values), ".", color="black", markersize=3, alpha=0.7)
    _rows(ax, list(shown.values()))
    ax.set_xlim(left=0)


def _gains(
    ax: Any, summary: Summary, shown: Mapping[str, str], colours: dict[str, str], model: str, size: int | None
) -> None:
    others = [arm for arm in summary.arms if arm != REAL]
    ax.axvline(0, color="black", linewidth=0.8)
    for group, measure in enumerate(shown):
        for k, arm in enumerate(others):
            cell = summary.cell(model, size, arm, measure)
            if cell is None or cell.gain is None:
                continue
            at = group + (k - (len(others) - 1) / 2) * 0.8 / len(others)
            ax.plot(cell.gain.value, at, "o", color=colours[arm], markersize=4)
            if cell.gain.low is not None and cell.gain.high is not None:
                ax.plot([cell.gain.low, cell.gain.high], [at, at], color=colours[arm], linewidth=2)
    _rows(ax, list(shown.values()))


def _rows(ax: Any, names: list[str]) -> None:
    for group in range(len(names) - 1):
        ax.axhline(group + 0.5, color="#dddddd", linewidth=0.8)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
