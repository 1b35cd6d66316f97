"""The study's picture: scores of every arm at every size, each seed a dot."""

from __future__ import annotations

from pathlib import Path

from lesionforge.jobs.tasks.detection.summary import REAL, Summary

PANELS = (
    ("ap50", "AP at IoU .5"),
    ("ap20", "AP at IoU .2"),
    ("recall_1fp_moderate", "moderate lesions found at 1 FP a frame"),
    ("recall_1fp_severe", "severe lesions found at 1 FP a frame"),
)
COLOURS = {REAL: "#555555", "x1": "#9ecae1", "x2": "#4292c6", "x4": "#08519c", "x8": "#08306b"}
VARIANTS = {"natural": "#41ab5d", "placebo": "#d95f0e", "synthetic": "#807dba"}


def draw(summary: Summary, path: Path) -> None:
    """Bars are means with their 95 % interval over test subjects and seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(12, 7.5), constrained_layout=True)
    width = 0.85 / len(summary.arms)
    for ax, (score, title) in zip(axes.flat, PANELS, strict=True):
        for k, arm in enumerate(summary.arms):
            at, means, below, above = [], [], [], []
            dots: tuple[list[float], list[float]] = [], []
            for group, size in enumerate(summary.sizes):
                cell = summary.cell(size, arm, score)
                if cell is not None and cell.mean == cell.mean:
                    at.append(group + (k - (len(summary.arms) - 1) / 2) * width)
                    means.append(cell.mean)
                    dots[0].extend([at[-1]] * len(cell.values))
                    dots[1].extend(cell.values)
                    below.append(max(cell.mean - cell.low, 0))
                    above.append(max(cell.high - cell.mean, 0))
            colour = VARIANTS.get(arm.partition("-")[2]) or COLOURS.get(arm, "#08306b")
            ax.bar(at, means, width * 0.92, color=colour, label=arm)
            ax.plot(dots[0], dots[1], ".", color="black", markersize=3, alpha=0.6)
            ax.errorbar(at, means, [below, above], fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
        ax.set_title(title, fontsize=11, loc="left")
        ax.set_xticks(range(len(summary.sizes)), [f"{size} real frames" for size in summary.sizes])
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_ylim(bottom=0)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
