"""The study's picture: Dice of every arm by class, each seed a dot, and the gains with their intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lesionforge.jobs.tasks.segmentation import paper
from lesionforge.jobs.tasks.segmentation.summary import REAL, Summary

COLOURS = {
    REAL: "#555555",
    "texture": "#fdae6b",
    "difftumor": "#74c476",
    "medddpm": "#9e9ac8",
    "promptlesion": "#6baed6",
    "promptlesion-mask": "#08519c",
}
SPARE = ("#8c6d31", "#ad494a", "#a55194", "#17becf", "#bcbd22", "#7f7f7f")


def draw(summary: Summary, path: Path) -> None:
    """One row a network. Left: means over subjects and seeds; right: gains over real, 95 % over subjects."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    spare = [arm for arm in summary.arms if arm not in COLOURS]
    colours = {**COLOURS, **{arm: SPARE[n % len(SPARE)] for n, arm in enumerate(spare)}}
    rows, names = len(summary.networks), [column.replace("_", " ") for column in summary.columns]
    figure, axes = plt.subplots(rows, 2, figsize=(13, 3.9 * rows + 0.6), constrained_layout=True, squeeze=False)
    width = 0.85 / len(summary.arms)
    others = [arm for arm in summary.arms if arm != REAL]
    for (bars, gains), network in zip(axes, summary.networks, strict=True):
        gains.axvline(0, color="black", linewidth=0.8)
        for group, column in enumerate(summary.columns):
            gains.axhline(group + 0.5, color="#dddddd", linewidth=0.8)
            for k, arm in enumerate(summary.arms):
                cell = summary.cell(network, arm, "dsc", column)
                if cell is None or cell.mean != cell.mean:
                    continue
                at = group + (k - (len(summary.arms) - 1) / 2) * width
                bars.bar(at, cell.mean, width * 0.92, color=colours[arm], label=arm if group == 0 else None)
                bars.plot([at] * len(cell.values), cell.values, ".", color="black", markersize=4, alpha=0.7)
                if cell.gain is None:
                    continue
                at = group + (others.index(arm) - (len(others) - 1) / 2) * 0.8 / len(others)
                gains.plot(cell.gain.value, at, "o", color=colours[arm], markersize=5)
                if cell.gain.low is not None and cell.gain.high is not None:
                    gains.plot([cell.gain.low, cell.gain.high], [at, at], color=colours[arm], linewidth=2)
        title = paper.NETWORKS.get(network, network)
        bars.set_title(f"{title}: Dice", fontsize=11, loc="left")
        bars.set_xticks(range(len(names)), names)
        bars.set_ylim(bottom=0)
        gains.set_title(f"{title}: gain in Dice over real samples alone", fontsize=11, loc="left")
        gains.set_yticks(range(len(names)), names)
        gains.set_ylim(len(names) - 0.5, -0.5)
        gains.set_xlabel("lines: 95 % interval over test subjects")
        for ax in (bars, gains):
            ax.spines[["top", "right"]].set_visible(False)
    handles: dict[str, Any] = {}
    for ax in axes[:, 0]:
        handles |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    shown = [arm for arm in summary.arms if arm in handles]
    figure.legend(
        [handles[arm] for arm in shown], shown, loc="outside lower center", ncols=min(8, len(shown)), frameon=False
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)
