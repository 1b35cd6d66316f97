"""The codebook of a VQGAN: nearest code, straight-through gradient, moving averages, restarts.

After VQ-VAE (van den Oord et al. 2017, appendix A.1: moving averages) with the restarts of Jukebox (Dhariwal et al.
2020), as DiffTumor has it (Chen et al. 2024, step 1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

DECAY = 0.99
COMMITMENT = 0.25
LEAST_USE = 1.0  # a code whose average number of cells falls below starts again
_SMALL = 1e-7
_BLOCK = 1024  # rows compared with all codes at a time: 64 MiB for 16,384 codes


def nearest(rows: Tensor, codes: Tensor, block: int = _BLOCK) -> Tensor:
    """Index (n,) of the code nearest to each row, the lowest of equals.

    The distances to all codes exist for ``block`` rows at a time only: a 96^3 volume has 13,824 latent cells, and its
    whole table against 16,384 codes would be 0.9 GB.

    Args:
        rows: (n, d).
        codes: (k, d).
        block: rows at a time.
    """
    square = (codes**2).sum(1)  # |row|^2 is the same for all codes
    found = [torch.addmm(square, part, codes.T, alpha=-2).argmin(1) for part in rows.split(block)]
    return torch.cat(found)


class Codebook(nn.Module):  # type: ignore[misc]
    """Codes (n_codes, dim) without gradients: they follow the cells given to them.

    Args:
        n_codes, dim: size.
    """

    def __init__(self, n_codes: int, dim: int) -> None:
        super().__init__()
        codes = torch.randn(n_codes, dim)
        self.register_buffer("codes", codes)
        self.register_buffer("use", torch.zeros(n_codes))  # moving average of the cells of each code
        self.register_buffer("total", codes.clone())  # moving average of their sum
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))

    def forward(self, cells: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Cells (n, dim, f, h, w) quantised, the commitment loss (n,) and the codes' indices (n, f, h, w).

        The gradient passes to the cells as if nothing were quantised.

        Args:
            cells: from the encoder.
            seed: of the draw of restarted codes; None leaves the codes as they are.
        """
        with torch.autocast(cells.device.type, enabled=False):
            cells = cells.float()
            rows = cells.movedim(1, -1).flatten(0, -2)
            if seed is not None and not self.begun:
                self._begin(rows.detach(), seed)
            index = nearest(rows.detach(), self.codes)
            found = functional.embedding(index, self.codes).view(cells.movedim(1, -1).shape).movedim(-1, 1)
            commitment = COMMITMENT * ((cells - found) ** 2).flatten(1).mean(1)
            if seed is not None:
                self._follow(rows.detach(), index, seed)
            quantised = cells + (found - cells).detach()
        return quantised, commitment, index.view(cells.shape[0], *cells.shape[2:])

    def lookup(self, cells: Tensor) -> Tensor:
        """Cells (n, dim, f, h, w) replaced by their nearest codes; no gradient."""
        return self(cells.detach())[0]

    def _begin(self, rows: Tensor, seed: int) -> None:
        """Codes start at cells of the first batch."""
        drawn = self._drawn(rows, seed)
        self.codes.copy_(drawn)
        self.total.copy_(drawn)
        self.use.fill_(1)
        self.begun.fill_(True)

    def _follow(self, rows: Tensor, index: Tensor, seed: int) -> None:
        """One step of the moving averages, then the restarts."""
        count = torch.zeros_like(self.use).index_add_(0, index, torch.ones_like(rows[:, 0]))
        total = torch.zeros_like(self.total).index_add_(0, index, rows)
        for part in (count, total):
            _sum_over_processes(part)
        self.use.mul_(DECAY).add_(count, alpha=1 - DECAY)
        self.total.mul_(DECAY).add_(total, alpha=1 - DECAY)
        everyone = self.use.sum()
        share = (self.use + _SMALL) / (everyone + len(self.use) * _SMALL) * everyone
        alive = (self.use >= LEAST_USE)[:, None]
        self.codes.copy_(torch.where(alive, self.total / share[:, None], self._drawn(rows, seed)))

    def _drawn(self, rows: Tensor, seed: int) -> Tensor:
        """One row for each code, without repetition where there are enough of them."""
        generator = torch.Generator().manual_seed(seed)
        k, d = self.codes.shape
        if len(rows) < k:  # repeated with a little noise, lest two codes be equal
            rows = rows.repeat(-(-k // len(rows)), 1)
            noise = torch.randn(rows.shape, generator=generator).to(rows.device)
            rows = rows + noise * 0.01 / d**0.5
        return rows[torch.randperm(len(rows), generator=generator)[:k].to(rows.device)]


def _sum_over_processes(tensor: Tensor) -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(tensor)
