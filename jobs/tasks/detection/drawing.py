"""How frames are drawn for a training: which one each picture is, with its labels, and at what rate it is learnt."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lesionforge.jobs.learning import loop
from lesionforge.jobs.tasks.detection import augment
from lesionforge.jobs.tasks.detection.frames import Frame
from lesionforge.jobs.tasks.detection.inputs import FRAME, scale


class Pictures:
    """Frames in the order they are drawn: picture, boxes, classes and regions to ignore, in pixels of the input.

    Args:
        pictures: float (n, channels, size, size), one a frame.
        frames: n of them.
        order: (drawn,) the frame of each picture drawn.
    """

    def __init__(self, pictures: Tensor, frames: Sequence[Frame], order: Tensor) -> None:
        self._pictures, self._order = pictures, order
        self._labels = [_labels(frame, pictures.shape[-1]) for frame in frames]

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        at = int(self._order[number])
        return (self._pictures[at], *self._labels[at])


class Plan(Protocol):
    """What the settings of every detector say.

    Attributes:
        rate, warmup, last_rate: see ``rate``.
        decay: of weights.
        clip: largest norm of a gradient.
        average: of the weights' moving average, the ones that predict.
    """

    @property
    def steps(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def decay(self) -> float: ...
    @property
    def warmup(self) -> int: ...
    @property
    def last_rate(self) -> float: ...
    @property
    def clip(self) -> float: ...
    @property
    def average(self) -> float: ...


class Learnt(loop.Task):
    """The loop's task: augmented pictures, a cosine, a moving average of all that predicts."""

    def __init__(self, net: nn.Module, plan: Plan, rng: torch.Generator) -> None:
        self.net, self.plan, self._rng, self.clip = net, plan, rng, plan.clip

    @abstractmethod
    def goal(self, boxes: list[Tensor], classes: list[Tensor], ignore: list[Tensor], device: str) -> Any:
        """What the network should say of a batch; boxes and regions in pixels of the input."""

    def place(self, device: str) -> None:
        self.network.to(device, memory_format=torch.channels_last)

    def schedule(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        p = self.plan
        for group in optimizer.param_groups:
            group["lr"] = p.rate * rate(step - 1, p.steps, p.warmup, p.last_rate)

    def averaged(self) -> Mapping[str, Tensor]:
        return dict(self.net.state_dict())

    def decay(self, step: int) -> float:
        return min(self.plan.average, step / (9 + step))

    def generators(self) -> Mapping[str, torch.Generator]:
        return {"augmentation": self._rng}

    def collate(self, rows: Sequence[Any]) -> list[Any]:
        return list(zip(*rows, strict=True))

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        pictures, boxes, classes, ignore = batch
        x = torch.stack(list(pictures)).to(device).float()
        x, moved = augment.augment(x, [*boxes, *ignore], self._rng)
        goal = self.goal(moved[: len(boxes)], list(classes), moved[len(boxes) :], device)
        return {"x": x.contiguous(memory_format=torch.channels_last), "goal": goal}


def adamw(net: nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW that shrinks matrices alone."""
    weights = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, fused=True)


def order(real: int, synthetic: int, share: float, count: int, rng: torch.Generator) -> Tensor:
    """Which frame each drawn picture is: pools in shuffled rounds, so that each of its frames comes as often."""
    if not real or not synthetic:
        share = 1.0 if real else 0.0
    from_real = torch.rand(count, generator=rng) < share
    out = torch.empty(count, dtype=torch.long)
    for pool, first, chosen in ((real, 0, from_real), (synthetic, real, ~from_real)):
        needed = int(chosen.sum())
        if needed:
            rounds = [torch.randperm(pool, generator=rng) for _ in range(math.ceil(needed / pool))]
            out[chosen] = torch.cat(rounds)[:needed] + first
    return out


def rate(step: int, steps: int, warmup: int, last: float) -> float:
    """Share of the learning rate at a step, the first is 0: a linear start, then a cosine down to ``last``."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    return last + (1 - last) * (1 + math.cos(math.pi * done)) / 2


def half(device: torch.device) -> torch.autocast:
    """bf16 where it is fast: on a GPU, and on a CPU that multiplies it in hardware."""
    fast = device.type == "cuda" or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def _labels(frame: Frame, size: int) -> tuple[Tensor, Tensor, Tensor]:
    ratio = scale(frame.image) * size / FRAME  # to input pixels
    return torch.tensor(frame.boxes) * ratio, torch.tensor(frame.classes), torch.tensor(frame.ignore) * ratio
