"""The sparse network as a learner: of the hull's cells, which are the tree's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lesionforge.jobs.learning import loop
from lesionforge.jobs.tasks.reconstruction.models.features import tokens, width
from lesionforge.jobs.tasks.reconstruction.models.learner import Annealed, NetLearner
from lesionforge.jobs.tasks.reconstruction.models.sparse import Sites, SparseUNet, sites, together
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.settings import SparseSettings

# Of the tokens features, cells, rays and truth; edges of plane and grid; cells of the whole tree.
Row = tuple[Tensor, Tensor, Tensor, Tensor, tuple[int, int], int]


class SparseLearner(NetLearner[SparseSettings]):
    """See ``NetLearner``."""

    Settings = SparseSettings

    def network(self) -> nn.Module:
        """See ``NetLearner``."""
        return SparseUNet(width(self.views), self.settings.channels)

    def task(self, net: nn.Module) -> loop.Task:
        """See ``NetLearner``."""
        return SparseTask(self.settings, net, _Learning(net))

    def prepared(self, pair: Pair) -> Row:
        """Features of the hull's cells and which are the tree's; 71 bytes a cell, as they are kept."""
        found = tokens(pair)
        x, cells, rays = (torch.from_numpy(part) for part in (found.features, found.cells, found.rays))
        truth = torch.from_numpy(pair.target[tuple(found.cells.T)])
        return x.half(), cells.short(), rays.int(), truth, (found.plane, pair.grid.shape[0]), int(pair.target.sum())

    def volume(self, net: nn.Module, pair: Pair) -> NDArray[np.float32]:
        """See ``NetLearner``."""
        x, where, cells = self._tokens(pair)
        logits = net(x.to(self.device), where.to(self.device))
        out = np.zeros(pair.grid.shape, np.float32)
        out[tuple(cells.T)] = torch.sigmoid(logits).cpu().numpy()
        return out

    def _tokens(self, pair: Pair) -> tuple[Tensor, Sites, NDArray[np.int64]]:
        found = tokens(pair)
        cells, rays = torch.from_numpy(found.cells), torch.from_numpy(found.rays)
        where = sites(cells, rays, found.plane, pair.grid.shape[0], len(self.settings.channels))
        return torch.from_numpy(found.features), where, found.cells


class _Learning(nn.Module):  # type: ignore[misc]
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch."""
        return _loss_of(self.net(batch["x"].float(), batch["where"]), batch)


def _loss_of(logits: Tensor, batch: Mapping[str, Any]) -> Tensor:
    """Cross-entropy and soft Dice; what of the tree lies outside the hull counts in the Dice's size."""
    truth = batch["truth"].float()
    entropy = functional.binary_cross_entropy_with_logits(logits, truth)
    found = torch.sigmoid(logits)
    losses = []
    for part, true, size in zip(
        found.split(batch["counts"]), truth.split(batch["counts"]), batch["sizes"], strict=True
    ):
        losses.append(1 - (2 * (part * true).sum() + 1) / (part.sum() + size + 1))
    loss: Tensor = entropy + torch.stack(losses).mean()
    return loss


class SparseTask(Annealed):
    """Hulls beside each other in a batch."""

    def collate(self, rows: Sequence[Row]) -> Any:
        x, cells, rays, truth, edges, size = zip(*rows, strict=True)
        assert isinstance(self._settings, SparseSettings)
        depth = len(self._settings.channels)
        where = [
            sites(a.long(), b.long(), plane, n, depth) for a, b, (plane, n) in zip(cells, rays, edges, strict=True)
        ]
        return torch.cat(x), together(where), torch.cat(truth), [len(one) for one in x], size

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        x, where, truth, counts, sizes = batch
        there = torch.device(device)
        return {"x": x.to(there), "where": where.to(there), "truth": truth.to(there), "counts": counts, "sizes": sizes}
