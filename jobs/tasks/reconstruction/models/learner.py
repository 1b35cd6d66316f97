"""What the networks of the task share: how they learn, how their threshold is chosen, how they are kept."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lesionforge.generators.types import stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning import loop
from lesionforge.jobs.learning.checkpoint import filled, fingerprint, opened, write
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.reconstruction.measures import SIDES
from lesionforge.jobs.tasks.reconstruction.metrics import dice
from lesionforge.jobs.tasks.reconstruction.pairs import Item, Pair
from lesionforge.jobs.tasks.reconstruction.settings import NetSettings, learner_class

KEPT = 2 << 30  # bytes of prepared pairs that a training keeps: 5,000 of the sparse network's, 1,000 dense ones
THRESHOLDS = np.round(np.arange(0.1, 0.95, 0.05), 2)

S = TypeVar("S", bound=NetSettings)


class NetLearner(ABC, Generic[S]):
    """A network that learns from pairs with their truth and reconstructs others; see ``Learner``.

    A subclass says what the network is (``network``), what it learns (``task``), from what (``prepared``) and how a
    pair is reconstructed (``volume``).

    Args:
        settings: of the network.
        views: of a pair, until ``fit`` sees the pairs.
        device: torch device string.

    Attributes:
        options: of the task, that it was trained under; kept with it.
        sides: of the trees that it learnt from; kept with it.
    """

    Settings: ClassVar[Callable[..., Any]]

    def __init__(self, settings: S, views: int = 2, device: str = "cpu") -> None:
        self.settings, self.views, self.device = settings, views, torch.device(device)
        self.options: Mapping[str, Any] = {}
        self.sides: tuple[str, ...] = SIDES
        self.threshold = 0.5
        self._net: nn.Module | None = None

    @abstractmethod
    def network(self) -> nn.Module:
        """A new one, by torch's random numbers."""

    @abstractmethod
    def task(self, net: nn.Module) -> loop.Task:
        """What the loop trains."""

    @abstractmethod
    def prepared(self, pair: Pair) -> Any:
        """What the network takes of a pair, its truth with it: a row of ``task``'s batch."""

    @abstractmethod
    def volume(self, net: nn.Module, pair: Pair) -> NDArray[np.float32]:
        """How likely each cell of the grid is the tree's, 0 to 1."""

    def fit(
        self,
        real: Sequence[Item],
        synthetic: Sequence[Item],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See ``Learner.fit``; real and synthetic pairs count alike.

        Pairs are read and prepared when their turn comes, ahead and by other processes where ``settings.loaders`` says
        so; ``KEPT`` bytes of them stay for the next rounds.
        """
        s = self.settings
        pairs = [*real, *synthetic]
        self.views, self.sides = views_of(pairs), sides_of(pairs)
        held = held_subjects(pairs, s.held, seed)
        own = [pair for pair in pairs if pair.subject not in held]
        record: dict[str, Any] = {**asdict(s), "views": self.views, "seed": seed, "pairs": len(pairs)}
        if folder is not None:
            record["silhouettes and trees (hash)"] = fingerprint(part for pair in pairs for part in pair.learnt_from)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = self.network()
            rows = _Rows(own, s.steps * s.batch, seed, self.prepared, KEPT // max(1, s.loaders))
            training = loop.Training(s.steps, s.batch, str(self.device), folder, loaders=s.loaders)
            loop.run(training, self.task(net), rows, settings=record, free=("loaders",), progress=progress)
        self._net = net.eval()
        self.threshold = best_threshold([pair for pair in pairs if pair.subject in held], self.predict)

    def predict(self, pair: Pair) -> NDArray[np.float32]:
        """How likely each cell of the grid is the tree's, 0 to 1; those from ``threshold`` on are.

        Raises:
            UsageError: for a pair of another number of views than it was trained on.
        """
        if self._net is None:
            raise ValueError("this network has learnt nothing yet: fit or load it first")
        if pair.view_count != self.views:
            raise UsageError(
                f"the model was trained on {self.views} views, the pair has {pair.view_count}: give data of "
                f"{self.views} views, or train a model on such pairs"
            )
        if not pair.hull.any():
            return np.zeros(pair.grid.shape, np.float32)
        with torch.inference_mode():
            return self.volume(self._net, pair)

    def varied(self, **changes: Any) -> Self:
        """The same network under other settings of how it samples; its threshold stays."""
        made = copy(self)
        made.settings = replace(self.settings, **changes)
        return made

    def save(self, path: Path) -> None:
        """One safetensors file: the weights, and in its metadata all that ``load`` needs."""
        if self._net is None:
            raise ValueError("this network has learnt nothing yet: fit it first")
        told = {"views": self.views, "threshold": self.threshold, "settings": asdict(self.settings)}
        told |= {"sides": self.sides, "options": dict(self.options)}
        weights = {name: value.contiguous().cpu() for name, value in self._net.state_dict().items()}
        write(weights, path, {"reconstruction": json.dumps(told)})

    @classmethod
    def load(cls, told: Mapping[str, Any], weights: Mapping[str, Tensor], device: str = "cpu") -> Self:
        """From what a file that ``save`` wrote tells and holds, see ``opened_learner``."""
        made = cls(cls.Settings(**told["settings"]), told["views"], device)
        made.threshold, made.options = float(told["threshold"]), told["options"]
        made.sides = tuple(told.get("sides", SIDES))
        made._net = filled(made.network, weights).to(made.device).eval()
        return made


def best_threshold(pairs: Sequence[Item], predict: Callable[[Pair], NDArray[np.float32]]) -> float:
    """Of ``THRESHOLDS`` the one with the highest mean DSC."""
    scores = []
    for pair in (item.read() for item in pairs):
        volume = predict(pair)
        scores.append([dice(pair.target, volume >= t) for t in THRESHOLDS])
    return float(THRESHOLDS[int(np.argmax(np.mean(scores, axis=0)))])


def views_of(pairs: Sequence[Item]) -> int:
    """How many every pair has.

    Raises:
        UsageError: where they differ.
    """
    counts = sorted({pair.view_count for pair in pairs})
    if len(counts) != 1:
        raise UsageError(f"pairs of {' and of '.join(map(str, counts)) or 'no'} views: one network takes one number")
    return counts[0]


def sides_of(pairs: Sequence[Item]) -> tuple[str, ...]:
    """Those that there are trees of."""
    return tuple(side for side in SIDES if any(pair.side == side for pair in pairs))


def unlearnt_sides(learner: Any, asked: Iterable[str]) -> list[str]:
    """A line for each side of the trees asked for that a learner did not learn from."""
    known = " and ".join(learner.sides)
    return [
        f"the model learnt from {known} trees alone: what it makes of {side} ones is not to be trusted"
        for side in SIDES
        if side in set(asked) - set(learner.sides)
    ]


def held_subjects(pairs: Sequence[Item], share: float, seed: int) -> set[str]:
    """Subjects that are not learnt from: they choose the threshold.

    Raises:
        UsageError: for fewer than two subjects.
    """
    subjects = sorted({pair.subject for pair in pairs})
    if len(subjects) < 2:
        raise UsageError(f"{len(subjects)} subjects to learn from: one chooses the threshold, give two or more")
    order = stream(f"reconstruction/{seed}".encode(), "held").permutation(len(subjects))
    return {subjects[i] for i in order[: max(1, round(share * len(subjects)))]}


class _Rows:
    """Pairs in shuffled rounds. What the network takes of each is kept, as long as it is ``kept`` bytes in all."""

    def __init__(
        self, pairs: Sequence[Item], count: int, seed: int, prepared: Callable[[Pair], Any], kept: int = KEPT
    ) -> None:
        rng = stream(f"reconstruction/{seed}".encode(), "order")
        rounds = [rng.permutation(len(pairs)) for _ in range(math.ceil(count / len(pairs)))]
        self._pairs, self._order, self._prepared, self._room = pairs, np.concatenate(rounds), prepared, kept
        self._known: dict[int, Any] = {}

    def __getitem__(self, number: int) -> Any:
        at = int(self._order[number])
        if at in self._known:
            return self._known[at]
        row = self._prepared(self._pairs[at].read())
        if self._room > 0:
            self._room -= _bytes(row)
            self._known[at] = row
        return row


def _bytes(row: Any) -> int:
    """Of the arrays that a row holds."""
    if isinstance(row, Mapping):
        return sum(map(_bytes, row.values()))
    if isinstance(row, (tuple, list)):
        return sum(map(_bytes, row))
    return int(getattr(row, "nbytes", 0))


class Annealed(loop.Task):
    """AdamW, a warm-up and a cosine, a moving average of the network's weights.

    Args:
        settings: of the network.
        net: what is averaged and kept.
        learning: ``forward(batch)`` gives the loss; holds the network.
    """

    def __init__(self, settings: NetSettings, net: nn.Module, learning: nn.Module) -> None:
        self._settings, self._net, self.network = settings, net, learning

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW(self._net.parameters(), lr=self._settings.rate, weight_decay=self._settings.decay)]

    def schedule(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        s = self._settings
        rise = min(1.0, step / s.warmup)
        fall = 0.5 * (1 + math.cos(math.pi * step / s.steps))
        for group in optimizer.param_groups:
            group["lr"] = s.rate * rise * fall

    def averaged(self) -> Mapping[str, Tensor]:
        return dict(self._net.state_dict())

    def decay(self, step: int) -> float:
        return min(self._settings.average, step / (9 + step))


def opened_learner(path: Path, device: str) -> Any:
    """A learner that can be kept (``NetLearner``, ``ViterbiLearner``), from its file.

    Raises:
        UsageError: where it is none.
    """
    with opened(path, "reconstruction", "lesionforge train reconstruction") as (told, weights):
        return learner_class(told["settings"]["network"]).load(told, weights, device)
