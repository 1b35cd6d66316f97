"""A lesion cut out of its frame, and a small network that says how narrow it is there.

Frames are brought to a longer side of 512 pixels, most sources' own; the lumen of a severe stenosis is one to three of
them wide there, and less than one on the whole frames that ``network`` sees. A crop has no side and no view, so that it
is learnt in any turn and mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lesionforge.jobs.learning import loop
from lesionforge.jobs.tasks.images.networks import Residual, half
from lesionforge.jobs.tasks.images.pictures import shrunk
from lesionforge.jobs.tasks.images.training import cosine
from lesionforge.jobs.tasks.severity.images import FRAME
from lesionforge.jobs.tasks.severity.settings import CropSettings

READ, SEEN = 128, 72  # pixels a side: of what is kept, for turns and shifts, and of what the network sees
ZOOM, CONTRAST, OFFSET, NOISE = 0.2, 0.4, 25.0, 8.0  # log scale, log gain, grey levels, largest sd in grey levels
SOFT = 0.3  # chance of a 3 x 3 blur
PERCENT = 4.0  # weight of the %DS in the loss


def cuts(frame: NDArray[np.uint8], boxes: NDArray[np.floating]) -> Tensor:
    """Crops about the centres of boxes; beyond the frame its border is repeated.

    Args:
        frame: uint8 (rows, cols) of any size.
        boxes: (n, 4) in pixels of the frame whose longer side is 512; a centre outside of it is moved to its edge.

    Returns:
        uint8 (n, 128, 128).
    """
    around = np.pad(shrunk(frame, FRAME).numpy(), READ // 2, mode="edge")
    middles = ((boxes[:, :2] + boxes[:, 2:]) / 2).round().clip(0, FRAME - 1).astype(int)
    found = [torch.from_numpy(around[y : y + READ, x : x + READ].copy()) for x, y in middles]
    return torch.stack(found) if found else torch.zeros(0, READ, READ, dtype=torch.uint8)


def middle(crops: Tensor) -> Tensor:
    """What is seen of crops as they are: (n, 128, 128) -> float (n, 72, 72)."""
    rim = (READ - SEEN) // 2
    return crops[:, rim : rim + SEEN, rim : rim + SEEN].float()


def changed(crops: Tensor, shift_px: float, rng: torch.Generator) -> Tensor:
    """Crops turned, mirrored, shifted, scaled, of other grey levels: float (n, 128, 128) -> (n, 72, 72) in 0..255."""
    n = len(crops)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=rng) * 2 - 1

    turn, zoom = uniform() * math.pi, (uniform() * ZOOM).exp() * SEEN / READ
    mirror = torch.where(uniform() > 0, 1.0, -1.0)
    across, down = (uniform() * 2 * shift_px / READ for _ in range(2))
    cos, sin = turn.cos() * zoom, turn.sin() * zoom
    affine = torch.stack([torch.stack([cos * mirror, -sin, across], 1), torch.stack([sin * mirror, cos, down], 1)], 1)
    grid = F.affine_grid(affine, [n, 1, SEEN, SEEN], align_corners=False).to(crops.device)
    gain, offset, soft, noise = (uniform(1, 1, 1).to(crops.device) for _ in range(4))
    x = F.grid_sample(crops[:, None], grid, padding_mode="border", align_corners=False)
    mean = x.mean((2, 3), keepdim=True)
    x = (x - mean) * (gain * CONTRAST).exp() + mean + offset * OFFSET
    x = torch.where(soft > 1 - 2 * SOFT, F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), x)
    x = x + torch.randn(x.shape, generator=rng).to(crops.device) * (noise + 1) / 2 * NOISE
    return x[:, 0].clamp(0, 255)


class CropNet(nn.Module):  # type: ignore[misc]
    """Crops in; out, for each cut, the logit that the lesion reaches it, and last its %DS / 100. .23 M parameters.

    Beside mean and maximum over the crop, the head has its very middle, where the lesion is.
    """

    def __init__(self, cuts: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 24, 3, 1, 1), nn.ReLU(), Residual(24, 32), Residual(32, 64), Residual(64, 96)
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(3 * 96, 64), nn.ReLU(), nn.Linear(64, cuts + 1))

    def forward(self, grey: Tensor) -> Tensor:
        """Float (n, 72, 72) in 0..255 -> (n, cuts + 1)."""
        depth = -torch.log((grey[:, None] + 8) / 264)  # attenuation; 8: the noise of black is no signal
        depth = depth - depth.median(2, True)[0].median(3, True)[0]
        x = torch.cat([depth * 6, depth / (depth.std((2, 3), keepdim=True) + 0.02)], 1).clamp(-5, 5)
        seen = self.body(x.contiguous(memory_format=torch.channels_last))
        at = seen.shape[-1] // 2
        inner = seen[:, :, at - 1 : at + 1, at - 1 : at + 1]
        out: Tensor = self.head(torch.cat([seen.mean((2, 3)), seen.amax((2, 3)), inner.mean((2, 3))], 1))
        return out


class Crops:
    """Crops in the order they are drawn. ``crops`` uint8 (n, 128, 128); ``ends`` (n, 2) lowest and highest %DS / 100
    that each may have; ``reached``, ``known`` bool (n, cuts): which cuts it reaches, and whether that is known."""

    def __init__(self, crops: Tensor, ends: Tensor, reached: Tensor, known: Tensor, order: Tensor) -> None:
        self._parts, self._order = (crops, ends, reached, known), order

    def __getitem__(self, number: int) -> Sequence[Tensor]:
        at = int(self._order[number])
        return [part[at] for part in self._parts]


class Grading(loop.Task):
    """The loop's task: AdamW on changed crops, a moving average."""

    def __init__(self, settings: CropSettings, net: CropNet, rng: torch.Generator) -> None:
        self._settings, self._rng, self.net = settings, rng, net
        self.network = _Learning(net)

    def place(self, device: str) -> None:
        self.network.to(device, memory_format=torch.channels_last)

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        s = self._settings
        return [torch.optim.AdamW(self.net.parameters(), lr=s.rate, weight_decay=s.decay, fused=True)]

    def schedule(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        s = self._settings
        for group in optimizer.param_groups:
            group["lr"] = s.rate * cosine(step - 1, s.steps, s.warmup)

    def averaged(self) -> Mapping[str, Tensor]:
        return dict(self.net.state_dict())

    def decay(self, step: int) -> float:
        return min(self._settings.average, step / (9 + step))

    def generators(self) -> Mapping[str, torch.Generator]:
        return {"augmentation": self._rng}

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        crops, ends, reached, known = (part.to(device) for part in batch)
        grey = changed(crops.float(), self._settings.shift_px, self._rng)
        return {"grey": grey, "ends": ends, "reached": reached, "known": known}


class _Learning(nn.Module):  # type: ignore[misc]
    def __init__(self, net: CropNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch: of every known cut, and of the %DS as far as it is outside of its ends."""
        with half(batch["grey"].device):
            out = self.net(batch["grey"])
        out, ends = out.float(), batch["ends"]
        reach = F.binary_cross_entropy_with_logits(out[:, :-1], batch["reached"].float(), reduction="none")
        percent = out[:, -1]
        goal = torch.minimum(torch.maximum(percent.detach(), ends[:, 0]), ends[:, 1])
        return (reach * batch["known"]).mean() + PERCENT * F.smooth_l1_loss(percent, goal, beta=0.1)
