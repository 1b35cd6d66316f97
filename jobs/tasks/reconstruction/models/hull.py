"""The hull of the silhouettes as a learner that learns nothing: the column that every table has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.reconstruction.pairs import Item, Pair
from lesionforge.jobs.tasks.reconstruction.settings import NothingSettings


class HullLearner:
    """See ``Learner``."""

    threshold = 0.5
    options: Mapping[str, Any] = {}

    def __init__(self, settings: NothingSettings, views: int = 2, device: str = "cpu") -> None:
        pass

    def fit(
        self,
        real: Sequence[Item],
        synthetic: Sequence[Item],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Nothing is learnt."""

    def predict(self, pair: Pair) -> NDArray[np.float32]:
        """1 in every cell that the views leave."""
        return pair.hull.astype(np.float32)

    def save(self, path: Path) -> None:
        """There is nothing to save.

        Raises:
            UsageError: always.
        """
        raise UsageError("the hull learns nothing that could be saved: train sparse")
