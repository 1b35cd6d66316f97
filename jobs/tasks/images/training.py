"""How a network learns to tell frames apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning import loop
from lesionforge.jobs.tasks.images.augment import Change
from lesionforge.jobs.tasks.images.networks import NETWORKS, SMALLEST, Classifier, begin, half


@dataclass(frozen=True)
class ImageSettings:
    """A network of frames and how it learns.

    Attributes:
        network: ``small`` (for one CPU core), ``resnet18``, ``resnet50`` or ``inception`` (torchvision's).
        size: side of what it sees, pixels.
        steps, batch: of the optimizer; frames of a step.
        rate, decay: AdamW's learning rate at its highest, and weight decay.
        fall: how the rate falls: along a ``cosine`` after a warm-up of ``warmup`` steps, or in ``drops`` to a fifth
            after two thirds and five sixths of the steps (the papers wait for a plateau, which asks for held-out
            labels).
        average: of the weights' moving average, the ones that predict.
        init: file of torchvision's weights to begin with; empty: from scratch.
        turn_deg: largest turn of a frame that is learnt from, either way.
        bend: largest shift of any place of it beside that, smooth over a quarter of the frame, as a share of its side.
        frozen: share of the steps in which the last stage and the head learn alone; only where there is ``init``.
    """

    network: str = "small"
    size: int = 128
    steps: int = 900
    batch: int = 32
    rate: float = 2e-3
    decay: float = 0.05
    fall: Literal["cosine", "drops"] = "cosine"
    warmup: int = 50
    average: float = 0.99
    init: str = ""
    frozen: float = 0.0
    turn_deg: float = 12.0
    bend: float = 0.0

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise UsageError(f"network {self.network!r} is unknown; give {', '.join(NETWORKS)}")
        if self.size < (least := SMALLEST.get(self.network, 32)):
            raise UsageError(f"size is {self.size}: {self.network} needs {least} pixels a side or more")
        for name in ("steps", "batch", "rate"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}: give more than 0")
        if self.fall not in ("cosine", "drops"):
            raise UsageError(f"fall is {self.fall!r}: give cosine or drops")
        if not 0 <= self.frozen < 1 or not 0 <= self.average < 1:
            raise UsageError(f"frozen is {self.frozen}, average {self.average}: give 0 to less than 1")
        if not 0 <= self.turn_deg <= 180 or not 0 <= self.bend <= 0.1:
            raise UsageError(f"turn_deg is {self.turn_deg}, bend {self.bend}: give 0 to 180 degrees, 0 to 0.1 sides")
        if self.init and (self.network == "small" or not Path(self.init).is_file()):
            raise UsageError(f"init {self.init!r}: give a file of torchvision's weights, and a network of torchvision")


def fresh(settings: ImageSettings, classes: int) -> Classifier:
    """A network that has learnt nothing, or what ``init`` has."""
    made = Classifier(settings.network, classes)
    if settings.init:
        begin(made, Path(settings.init))
    return made


def drawn(labels: Tensor, real: int, share: float, count: int, rng: torch.Generator) -> Tensor:
    """Which frame each drawn picture is: every class as often, a class's frames in shuffled rounds.

    Args:
        labels: (n,) classes, those of real frames first.
        real: how many frames are real.
        share: of real ones among those drawn, where there are both.
        count: pictures to draw.
        rng: draws.

    Returns:
        int64 (count,).
    """
    n = len(labels)
    if not real or real == n:
        share = 1.0 if real else 0.0
    from_real = torch.rand(count, generator=rng) < share
    out = torch.empty(count, dtype=torch.long)
    for first, last, chosen in ((0, real, from_real), (real, n, ~from_real)):
        there = labels[first:last].unique()
        if not len(there):
            continue
        kind = there[torch.randint(len(there), (count,), generator=rng)]
        for one in there:
            mine = torch.nonzero(labels[first:last] == one)[:, 0] + first
            places = torch.nonzero(chosen & (kind == one))[:, 0]
            rounds = [torch.randperm(len(mine), generator=rng) for _ in range(math.ceil(len(places) / len(mine)))]
            if rounds:
                out[places] = mine[torch.cat(rounds)[: len(places)]]
    return out


class Pictures:
    """Frames in the order they are drawn. ``pictures`` uint8 (n, s, s), ``labels`` (n,)."""

    def __init__(self, pictures: Tensor, labels: Tensor, order: Tensor) -> None:
        self._pictures, self._labels, self._order = pictures, labels, order

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        at = int(self._order[number])
        return self._pictures[at], self._labels[at]


class Telling(loop.Task):
    """The loop's task: augmented frames, AdamW, a moving average.

    Args:
        settings: of it all.
        net: gives the logits.
        criterion: loss of logits (n, classes) and labels (n,).
        rng: of the augmentation.
    """

    def __init__(
        self,
        settings: ImageSettings,
        net: Classifier,
        criterion: Callable[[Tensor, Tensor], Tensor],
        rng: torch.Generator,
    ) -> None:
        self._settings, self._rng, self.net = settings, rng, net
        self.network = _Learning(net, criterion)

    def place(self, device: str) -> None:
        self.network.to(device, memory_format=torch.channels_last)

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        s = self._settings
        parts = [self.net.parameters(), self.net.last()] if s.frozen and s.init else [self.net.parameters()]
        return [torch.optim.AdamW(part, lr=s.rate, weight_decay=s.decay, fused=True) for part in parts]

    def turns(self, step: int) -> tuple[int, ...]:
        s = self._settings
        return (1,) if s.init and step <= s.frozen * s.steps else (0,)

    def schedule(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self._settings.rate * pace(step - 1, self._settings)

    def averaged(self) -> Mapping[str, Tensor]:
        return dict(self.net.state_dict())

    def decay(self, step: int) -> float:
        return min(self._settings.average, step / (9 + step))

    def generators(self) -> Mapping[str, torch.Generator]:
        return {"augmentation": self._rng}

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        pictures, labels = batch
        grey = pictures.to(device).float()
        return {"grey": self.change(len(grey))(grey, self._rng), "labels": labels.to(device)}

    def change(self, n: int) -> Change:
        """A random change of each of n frames."""
        return Change.draw(n, self._rng, self._settings.turn_deg, self._settings.bend)


class _Learning(nn.Module):  # type: ignore[misc]
    def __init__(self, net: Classifier, criterion: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.criterion = net, criterion

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch."""
        grey: Tensor = batch["grey"]
        with half(grey.device):
            out = self.net(grey)
        return self.criterion(out.float(), batch["labels"])


def pace(step: int, s: ImageSettings) -> float:
    """Share of the highest rate at a step from 0."""
    if s.fall == "drops":
        return 0.2 ** sum(step >= part * s.steps for part in (2 / 3, 5 / 6))
    return cosine(step, s.steps, s.warmup)


def cosine(step: int, steps: int, warmup: int) -> float:
    """A share that rises over ``warmup`` steps, at most a quarter of all, and falls along a cosine to .02."""
    warmup = min(warmup, steps // 4)
    if step < warmup:
        return (step + 1) / warmup
    return 0.02 + 0.98 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))) / 2


@torch.no_grad()  # type: ignore[untyped-decorator]
def told(net: Classifier, pictures: Tensor, batch: int, features: bool = False) -> Tensor:
    """Logits, or features, of frames as they are.

    Args:
        net: a network that has learnt; it is asked where it is.
        pictures: (n, s, s) in 0..255.
        batch: at once.
        features: those instead of logits.

    Returns:
        float32 (n, classes or width) on the CPU.
    """
    out, device = [], next(net.parameters()).device
    for some in pictures.split(batch):
        with half(device):
            out.append((net.features if features else net)(some.to(device).float()).float().cpu())
    return torch.cat(out)
