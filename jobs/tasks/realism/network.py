"""The judge's network: four convolutions, trained in seconds on one CPU core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lesionforge.jobs.learning import loop
from lesionforge.jobs.learning.checkpoint import fingerprint

BATCH = 64
RATE, HIGHEST_RATE, DECAY = 2e-3, 4e-3, 0.05  # AdamW's, and of its one cycle


def fit(pixels: Mapping[str, NDArray[np.float32]], drawn: str, seed: int, steps: int, folder: Path | None) -> nn.Module:
    """Train on half generated crops, half real ones, each kind of them as often.

    Args:
        pixels: crops (n, side, side) by kind.
        drawn: the kind that is to be told from the others.
        seed: of weights and draws.
        steps: of the optimizer.
        folder: keeps a checkpoint while it trains, and is resumed from where one is; None: nothing is kept.

    Returns:
        The network, to be used with ``scores``.
    """
    settings: dict[str, Any] = {"steps": steps, "seed": seed, "drawn": drawn}
    if folder is not None:
        settings["crops (hash)"] = fingerprint(pixels[kind] for kind in pixels)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        task = _Judging(steps)
        loop.run(
            loop.Training(steps, BATCH, folder=folder), task, _Crops(pixels, drawn, seed, steps), settings=settings
        )
    return task.net.eval()


def scores(net: nn.Module, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """How drawn crops (n, side, side) look, (n,)."""
    with torch.inference_mode():
        out: NDArray[np.float64] = net(torch.from_numpy(pixels)[:, None])[:, 0].double().numpy()
    return out


def _block(inside: int, outside: int, size: int = 3) -> list[nn.Module]:
    conv = nn.Conv2d(inside, outside, size, stride=2, padding=size // 2, bias=False)
    return [conv, nn.BatchNorm2d(outside), nn.ReLU()]


class _Crops:
    """Crops by number, with whether they are drawn, and how their batch is turned and flipped."""

    def __init__(self, pixels: Mapping[str, NDArray[np.float32]], drawn: str, seed: int, steps: int) -> None:
        rng = np.random.Generator(np.random.Philox(seed + 1))
        real = [kind for kind in pixels if kind != drawn]
        self._pixels = pixels
        self._rows: list[tuple[str, int, bool, int, bool]] = []
        for _ in range(steps):
            kinds = [(drawn, BATCH // 2), *((kind, BATCH // 2 // len(real)) for kind in real)]
            chosen = [(kind, int(n)) for kind, count in kinds for n in rng.integers(len(pixels[kind]), size=count)]
            turns, flip = int(rng.integers(4)), bool(rng.integers(2))
            self._rows += [(kind, n, kind == drawn, turns, flip) for kind, n in chosen]

    def __getitem__(self, number: int) -> tuple[NDArray[np.float32], bool, int, bool]:
        kind, n, drawn, turns, flip = self._rows[number]
        return self._pixels[kind][n], drawn, turns, flip


class _Learning(nn.Module):  # type: ignore[misc]
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch."""
        return F.binary_cross_entropy_with_logits(self.net(batch["x"])[:, 0], batch["drawn"])


class _Judging(loop.Task):
    """The loop's task: AdamW on torch's one cycle."""

    clip = None

    def __init__(self, steps: int) -> None:
        body = [*_block(1, 24, 5), *_block(24, 32), *_block(32, 64), *_block(64, 64)]
        self.net = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 1))
        self.network = _Learning(self.net)
        self._steps = steps

    def optimizers(self) -> list[torch.optim.Optimizer]:
        optimizer = torch.optim.AdamW(self.net.parameters(), RATE, weight_decay=DECAY)
        self._cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, HIGHEST_RATE, total_steps=self._steps)
        return [optimizer]

    def schedule(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        while self._cycle.last_epoch < step - 1:  # more than once where the training goes on
            self._cycle.step()

    def collate(self, rows: Sequence[Any]) -> tuple[Tensor, Tensor, int, bool]:
        crops, drawn, turns, flips = zip(*rows, strict=True)
        return torch.from_numpy(np.stack(crops))[:, None], torch.tensor(drawn).float(), turns[0], flips[0]

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        x, drawn, turns, flip = batch
        x = torch.rot90(x.flip(3) if flip else x, turns, (2, 3))
        return {"x": x.to(device), "drawn": drawn.to(device)}
