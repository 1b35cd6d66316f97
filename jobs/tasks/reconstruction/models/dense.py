"""Dense networks: each cell of the grid from the views' back-projections (baselines of XRA-Diff's Table 4)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lesionforge.generators.carm.backproject import adjoint
from lesionforge.jobs.tasks.reconstruction.models.learner import Annealed, NetLearner
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.settings import DenseSettings

S = TypeVar("S", bound=DenseSettings)


@dataclass(frozen=True)
class Sizes:
    """Of a U-Net: channels of its levels, the finest first and already halved; ``stacked``: it is told of each view's
    back-projection too, not of their minimum alone, as the paper's is.
    """

    channels: tuple[int, ...]
    stacked: bool = True


PRESETS = {
    "paper": Sizes((32, 64, 128, 256, 512, 1024), stacked=False),
    "small": Sizes((16, 32, 64, 128, 256)),
    "tiny": Sizes((8, 16, 32, 64)),
}


def back_projections(pair: Pair) -> NDArray[np.float32]:
    """(1 + views, n, n, n), 0 to 1: the views' minimum, as the paper's, and each one's (adjoint over its highest)."""
    lit = [shadow.astype(np.float32) for shadow in pair.shadows]
    each = [adjoint(image, pair.grid, view, threads=1) for image, view in zip(lit, pair.views, strict=True)]
    each = [volume / max(float(volume.max()), 1e-6) for volume in each]
    return np.stack([np.minimum.reduce(each), *each])


class UNet3d(nn.Module):  # type: ignore[misc]
    """MONAI's residual U-Net with strides of 2, two convolutions a unit and batch norms, on grids of any size.

    With the preset ``paper`` the paper's, 77,129,748 parameters; ``small`` 4,809,696, ``tiny`` 298,564 (two views).
    """

    def __init__(self, sizes: Sizes, views: int = 2) -> None:
        from monai.networks.nets.unet import UNet  # takes seconds, and is not everywhere that torch is

        super().__init__()
        halved = len(sizes.channels) - 1
        self.inputs, self.multiple = 1 + views * sizes.stacked, 2**halved
        self.net = UNet(3, self.inputs, 1, sizes.channels, (2,) * halved, num_res_units=2, norm="batch")

    def forward(self, x: Tensor) -> Tensor:
        """(b, inputs, n, n, n) -> logits (b, n, n, n)."""
        n = x.shape[-1]
        room = -n % self.multiple
        low = room // 2
        padded = functional.pad(x, (low, room - low) * 3)
        out: Tensor = self.net(padded)[:, 0, low : low + n, low : low + n, low : low + n]
        return out


class DenseLearner(NetLearner[S]):
    """See ``NetLearner``; a subclass also says what the network's output means (``likely``)."""

    @abstractmethod
    def likely(self, out: Tensor) -> Tensor:
        """How likely a cell is the tree's, of the network's output."""

    def network(self) -> nn.Module:
        """See ``NetLearner``."""
        return UNet3d(PRESETS[self.settings.preset], self.views)

    def prepared(self, pair: Pair) -> tuple[Tensor, Tensor]:
        """Inputs in half precision (they are kept: 1.3 MB a pair of 60^3 cells), and the tree's cells."""
        return self._inputs(pair).half(), torch.from_numpy(pair.target)

    def volume(self, net: nn.Module, pair: Pair) -> NDArray[np.float32]:
        """See ``NetLearner``."""
        found: NDArray[np.float32] = self.likely(net(self._inputs(pair)[None].to(self.device)))[0].cpu().numpy()
        return found

    def _inputs(self, pair: Pair) -> Tensor:
        x = torch.from_numpy(back_projections(pair))
        return x if PRESETS[self.settings.preset].stacked else x[:1]


class DenseTask(Annealed):
    """Batches of inputs ``x`` (b, inputs, n, n, n) and ``truth`` (b, n, n, n), both float32."""

    def on(self, batch: Sequence[Tensor], device: str) -> dict[str, Any]:
        x, truth = batch
        return {"x": x.to(device).float(), "truth": truth.to(device).float()}
