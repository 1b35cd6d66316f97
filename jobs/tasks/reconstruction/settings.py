"""The learners by name: where each is, and its settings as they are unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from lesionforge.jobs.errors import UsageError

_MODELS = "lesionforge.jobs.tasks.reconstruction.models"


@dataclass(frozen=True)
class NetSettings:
    """What all networks have.

    Attributes:
        network: its name.
        steps, batch: of the optimizer, and trees of each.
        rate, decay, warmup: the learning rate at its highest, weight decay, steps over which the rate rises; then it
            falls as a cosine.
        average: how much of the weights' moving average, which predicts, a step keeps.
        held: share of the subjects that are not learnt from: they choose the threshold.
        loaders: processes that read and prepare pairs ahead; 0 does so between the steps.
    """

    network: str
    steps: int = 1500
    batch: int = 1
    rate: float = 3e-3
    decay: float = 0.01
    warmup: int = 50
    average: float = 0.99
    held: float = 0.1
    loaders: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "rate", "warmup"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}: give more than 0")
        if self.loaders < 0:
            raise UsageError(f"loaders is {self.loaders}: give 0 or more")
        if not 0 < self.held < 1:
            raise UsageError(f"held is {self.held}: give a share between 0 and 1")


@dataclass(frozen=True)
class SparseSettings(NetSettings):
    """The sparse network; ``channels``: of its levels, the finest first."""

    network: str = "sparse"
    channels: tuple[int, ...] = (32, 48, 64)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "channels", tuple(self.channels))


@dataclass(frozen=True)
class FlowSettings(SparseSettings):
    """The sparse network refined by flow matching.

    Attributes:
        direct: share of the steps in which the direct network learns; then the second one on top of it.
        levels, samples: steps from noise to tree, and trees whose mean is taken.
    """

    network: str = "flow"
    direct: float = 0.5
    levels: int = 4
    samples: int = 3

    @property
    def first(self) -> int:
        """Steps in which the direct network learns."""
        return round(self.direct * self.steps)


@dataclass(frozen=True)
class NothingSettings:
    """Of a method that learns nothing."""

    network: str


# Name: module:class of ``models``, and its settings.
LEARNERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "sparse": ("sparse_learner:SparseLearner", SparseSettings),
    "flow": ("flow:FlowLearner", FlowSettings),
    "hull": ("hull:HullLearner", lambda: NothingSettings("hull")),
}


def settings(model: str) -> Any:
    """A learner's settings.

    Raises:
        UsageError: for an unknown model.
    """
    if model not in LEARNERS:
        raise UsageError(f"model {model!r} is unknown; give {', '.join(LEARNERS)}")
    return LEARNERS[model][1]()


def learner_class(model: str) -> Any:
    """A learner's class, made as ``(settings, views, device)``."""
    module, name = LEARNERS[model][0].split(":")
    return getattr(import_module(f"{_MODELS}.{module}"), name)
