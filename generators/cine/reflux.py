"""Contrast that spills from the ostium into the aortic root while it is injected: faint puffs that drift away."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.view import View
from lesionforge.generators.cine.contrast import Injection
from lesionforge.generators.cine.tubes import Projected
from lesionforge.generators.cine.vessels import Floats
from lesionforge.generators.kernels import jit

LASTS_S = 0.9  # time in which a puff fades to a third


@dataclass(frozen=True)
class Reflux:
    """k puffs: when each leaves (s), where to (k, 3) mm a second from the ostium, its first size in mm, absorbance."""

    born_s: Floats
    drift: Floats
    size_mm: Floats
    dense: Floats

    @classmethod
    def draw_puffs(
        cls, rng: np.random.Generator, injection: Injection, into: Floats, strength: float, until_s: float
    ) -> Reflux:
        """Of one run.

        Args:
            into: unit vector (3,) from the ostium into the vessel.
            strength: absorbance of a vessel of 10 px.
            until_s: when the run ends.
        """
        end = min(injection.end_s, until_s)
        count = max(2, round((end - injection.onset_s) * float(rng.uniform(3, 6))))
        born = np.sort(injection.onset_s + 0.2 + (end - injection.onset_s) * rng.random(count))
        drift = -float(rng.uniform(6, 14)) * into + rng.normal((-2, -2, 9), 6, (count, 3))
        dense = strength * float(rng.uniform(0.08, 0.45)) * rng.uniform(0.3, 1, count)
        return cls(born, drift, rng.uniform(2.0, 4.5, count), dense)

    def draw(self, absorbed: NDArray[np.float32], time_s: float, at: Projected, view: View) -> None:
        """Add it to an absorbance (rows, cols); ``at`` the vessels' points, the ostium first."""
        u, v, _ = view.axes
        age = time_s - self.born_s
        alive = (age > 0) & (age < 3 * LASTS_S)
        if not alive.any():
            return
        age, drift = age[alive], self.drift[alive]
        far = 1.4 * (1 - np.exp(-age / 0.7))[:, None] * drift
        row = at.row[0] + (far * v).sum(1) * at.scale[0]
        col = at.col[0] + (far * u).sum(1) * at.scale[0]
        size = (self.size_mm[alive] + 5.5 * age) * at.scale[0]
        dense = self.dense[alive] * np.exp(-age / LASTS_S) * np.minimum(age / 0.15, 1)
        _puffs(absorbed, row, col, size, dense)


@jit
def _puffs(absorbed: NDArray[np.float32], row: Floats, col: Floats, size: Floats, dense: Floats) -> None:
    rows, cols = absorbed.shape
    for n in range(len(row)):
        reach, step = 2.5 * size[n], 1.0 / size[n]
        top, bottom = max(0, math.ceil(row[n] - reach)), min(rows - 1, math.floor(row[n] + reach))
        left, right = max(0, math.ceil(col[n] - reach)), min(cols - 1, math.floor(col[n] + reach))
        ripples = np.empty(max(right - left + 1, 0), np.float32)
        for j in range(len(ripples)):
            ripples[j] = math.sin((j + left - col[n]) * 2.6 * step + 5.0 * n)
        for i in range(top, bottom + 1):
            y = np.float32((i - row[n]) * step)
            ripple = np.float32(0.35 * math.sin(2.3 * y + 2.0 * n))
            for j in range(left, right + 1):
                x = np.float32((j - col[n]) * step)
                # A bell that ends at 2.5 sizes; ripples across it make it a cloud.
                bell = max(np.float32(1) - (y * y + x * x) * np.float32(1 / 6.25), np.float32(0))
                absorbed[i, j] += (
                    np.float32(dense[n]) * bell * bell * bell * (np.float32(1) + ripple * ripples[j - left])
                )
