"""The networks, and how they learn."""

from __future__ import annotations

from dataclasses import dataclass

from lesionforge.jobs.errors import UsageError

MODELS = ("sparse", "hull")


@dataclass(frozen=True)
class Settings:
    """The sparse network in numbers.

    Attributes:
        network: its name.
        channels: of its levels, the finest first.
        steps, batch: of the optimizer, and trees of each.
        rate, decay, warmup: AdamW's learning rate at its highest, weight decay, steps over which the rate rises; then
            it falls as a cosine.
        average: of the weights' moving average, the ones that predict.
        held: share of the subjects that are not learnt from: they choose the threshold.
    """

    network: str = "sparse"
    channels: tuple[int, ...] = (32, 48, 64)
    steps: int = 1500
    batch: int = 1
    rate: float = 3e-3
    decay: float = 0.01
    warmup: int = 50
    average: float = 0.99
    held: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        for name in ("steps", "batch", "rate"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}: give more than 0")
        if not 0 < self.held < 1:
            raise UsageError(f"held is {self.held}: give a share between 0 and 1")


@dataclass(frozen=True)
class HullSettings:
    """The hull of the silhouettes: nothing is learnt."""

    network: str = "hull"


def settings(model: str) -> Settings | HullSettings:
    """A learner's settings.

    Raises:
        UsageError: for an unknown model.
    """
    if model == "sparse":
        return Settings()
    if model == "hull":
        return HullSettings()
    raise UsageError(f"model {model!r} is unknown; give {', '.join(MODELS)}")
