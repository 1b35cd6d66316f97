"""What a learner makes of a pair: the volume, what it cost, its scores with the hull's beside."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.tasks.reconstruction.metrics import psnr, volume_scores
from lesionforge.jobs.tasks.reconstruction.pairs import Item, Pair
from lesionforge.jobs.tasks.reconstruction.paper import SWEEPS
from lesionforge.jobs.tasks.reconstruction.reprojection import reprojection_scores
from lesionforge.jobs.tasks.reconstruction.tree.score import tree_scores

Volume = NDArray[np.float32]
HULL = "@hull"  # ends the names of the hull's scores


@dataclass(frozen=True)
class Found:
    """A reconstruction.

    Attributes:
        pair: of what.
        volume: how likely each cell of the grid is the tree's, 0 to 1.
        threshold: from which on it is.
        seconds: that it took: of the processor; on a GPU, of the clock.
        memory_mb: the most that the process held meanwhile, what it is made of included (on a GPU: of the GPU's); NaN
            where the system does not tell.
        varied: volumes under other settings, by ``name=value``.
    """

    pair: Pair
    volume: Volume
    threshold: float
    seconds: float
    memory_mb: float
    varied: Mapping[str, Volume] = field(default_factory=dict)

    @property
    def cells(self) -> NDArray[np.bool_]:
        """Those that count as the tree's."""
        return self.volume >= self.threshold

    def scores(self) -> dict[str, float]:
        """Every score by its name, see ``metrics``, ``tree.score`` and ``reprojection``; ``NAME@hull`` is the hull's,
        ``NAME@a=b`` that of another setting. Of a pair without truth those of its re-projection alone.
        """
        pair = self.pair
        out = _scores(pair, self.cells) | {"seconds": self.seconds, "memory_mb": self.memory_mb}
        out |= {f"{name}{HULL}": value for name, value in _scores(pair, pair.hull).items()}
        if not pair.known:
            return out
        out |= tree_scores(pair, self.volume, self.threshold)
        out["psnr"] = psnr(pair.target.astype(np.float32), self.volume)
        for setting, volume in self.varied.items():
            found = volume_scores(pair.target, volume >= self.threshold, pair.grid.spacing_mm)
            out |= {f"{name}@{setting}": value for name, value in found.items()}
        return out


def reconstructed(learner: Any, items: Sequence[Item], sweep: str = "") -> Iterator[Found]:
    """Every pair, read as its turn comes.

    Args:
        learner: has ``predict`` and ``threshold``; where its settings have ``sweep``, also ``varied``.
        items: pairs.
        sweep: a setting that is tried at the paper's values as well.
    """
    others = {}
    if sweep and hasattr(getattr(learner, "settings", None), sweep):
        others = {f"{sweep}={value:g}": learner.varied(**{sweep: value}) for value in SWEEPS[sweep]}
    on_gpu = str(getattr(learner, "device", "cpu")).startswith("cuda")
    for number, item in enumerate(items):
        pair = item.read()
        if not number:
            learner.predict(replace(pair))  # a copy: kernels are loaded, and nothing of the pair is known yet
        _forget_peak(on_gpu)
        begun = time.monotonic() if on_gpu else time.process_time()
        volume = learner.predict(pair)
        seconds = (time.monotonic() if on_gpu else time.process_time()) - begun
        memory = _peak_mb(on_gpu)
        varied = {setting: other.predict(pair) for setting, other in others.items()}
        yield Found(pair, volume, learner.threshold, seconds, memory, varied)


def _scores(pair: Pair, cells: NDArray[np.bool_]) -> dict[str, float]:
    volume = volume_scores(pair.target, cells, pair.grid.spacing_mm) if pair.known else {}
    return volume | reprojection_scores(pair, cells)


def _forget_peak(on_gpu: bool) -> None:
    if on_gpu:
        import torch

        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):  # Linux alone can; elsewhere the figure is missing
            Path("/proc/self/clear_refs").write_text("5")


def _peak_mb(on_gpu: bool) -> float:
    if on_gpu:
        import torch

        return float(torch.cuda.max_memory_allocated() / 1e6)
    with suppress(OSError):
        if told := re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            return int(told[1]) * 1024 / 1e6
    return math.nan
