"""The loops of the densitometric fit, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.kernels import inline, jit

Rows = NDArray[np.float64]
Table = NDArray[np.float64]


@jit
def products(rows: Table, columns: Table) -> Table:
    """Matrix product (n, k) x (k, m). Not BLAS: at this size its threads cost more than they do, and differ in bits."""
    n, k = rows.shape
    m = columns.shape[1]
    out = np.zeros((n, m))
    for i in range(n):
        for j in range(k):
            factor = rows[i, j]
            for c in range(m):
                out[i, c] += factor * columns[j, c]
    return out


@jit
def least_cost(match: Table, energy: Rows, mus: Rows) -> Table:
    """The least of mu^2 E(r) - 2 mu P(i, r) over r, for each row i and each mu: shape (n, mus).

    That is the squared residual under the best radius, less the row's own square. ``match`` (n, radii): row times
    template; ``energy`` (radii,): template times itself.
    """
    n, radii = match.shape
    out = np.zeros((n, mus.shape[0]))
    for i in range(n):
        for j in range(mus.shape[0]):
            mu = mus[j]
            least = 0.0
            for r in range(radii):
                least = min(least, mu * (mu * energy[r] - 2 * match[i, r]))
            out[i, j] = least
    return out


@jit
def best_radius(match: Table, energy: Rows, mu: Rows) -> NDArray[np.int64]:
    """Index of the radius of least cost of each row, its mu (n,) held."""
    n, radii = match.shape
    out = np.zeros(n, np.int64)
    for i in range(n):
        least = 0.0
        for r in range(radii):
            value = mu[i] * energy[r] - 2 * match[i, r]
            if value < least:
                least = value
                out[i] = r
    return out


@jit
def smooth_path(
    rows: Table,
    slopes: Table,
    push: Rows,
    firm: Rows,
    mu: Rows,
    variance: Rows,
    start: Rows,
    bend: float,
    step: float,
) -> Rows:
    """Radii (n,) that fit the rows and bend little along the vessel, by Gauss-Newton on a pentadiagonal system.

    Minimises sum (mu^2 E(r_i) - 2 mu P(i, r_i)) / (2 variance_i) + sum (r_i-1 - 2 r_i + r_i+1)^2 / (2 bend^2). What is
    held down is the second derivative: neither a taper nor, to second order, a tip is rounded.

    ``rows`` (n, k); ``slopes`` (radii, k): the templates' derivative by the radius, which times a row is that of P;
    ``push``, ``firm`` (radii,): half the derivative of E and the square of the template's derivative; all on radii
    step, 2 step, ...; ``start`` (n,) the radii to begin with.
    """
    n, count = rows.shape[0], slopes.shape[0]
    pull = np.full((n, count), np.nan)  # what the path comes by is worked out, a few of all
    radius = start.copy()
    pin = 1 / bend**2
    middle, first, second, right = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for _ in range(10):
        for i in range(n):
            place = min(max(radius[i] / step - 1, 0.0), count - 1.001)
            low = int(place)
            part = place - low
            for r in range(low, low + 2):
                if np.isnan(pull[i, r]):
                    pull[i, r] = 0.0
                    for c in range(rows.shape[1]):
                        pull[i, r] += rows[i, c] * slopes[r, c]
            slope = (1 - part) * pull[i, low] + part * pull[i, low + 1]
            own = (1 - part) * push[low] + part * push[low + 1]
            stiff = (1 - part) * firm[low] + part * firm[low + 1]
            right[i] = mu[i] * (slope - mu[i] * own) / variance[i]
            middle[i] = mu[i] ** 2 * stiff / variance[i] + 1e-9
            first[i], second[i] = 0.0, 0.0
        for i in range(n - 2):
            bent = pin * (radius[i] - 2 * radius[i + 1] + radius[i + 2])
            right[i] -= bent
            right[i + 1] += 2 * bent
            right[i + 2] -= bent
            middle[i] += pin
            middle[i + 1] += 4 * pin
            middle[i + 2] += pin
            first[i] -= 2 * pin
            first[i + 1] -= 2 * pin
            second[i] += pin
        _solve(middle, first, second, right)
        moved = 0.0
        for i in range(n):
            change = min(max(right[i], -1.0), 1.0)
            radius[i] = min(max(radius[i] + change, step), count * step)
            moved = max(moved, abs(change))
        if moved < 0.005:
            break
    return radius


@inline
def _solve(middle: Rows, first: Rows, second: Rows, right: Rows) -> None:
    """Symmetric pentadiagonal system by L D L^T, in place; ``first`` couples i and i + 1, ``second`` i and i + 2."""
    n = middle.shape[0]
    for i in range(n):
        if i >= 1:
            middle[i] -= first[i - 1] ** 2 * middle[i - 1]
            first[i] -= second[i - 1] * first[i - 1] * middle[i - 1]
            right[i] -= first[i - 1] * right[i - 1]
        if i >= 2:
            middle[i] -= second[i - 2] ** 2 * middle[i - 2]
            right[i] -= second[i - 2] * right[i - 2]
        first[i] /= middle[i]
        second[i] /= middle[i]
    for i in range(n):
        right[i] /= middle[i]
    for i in range(n - 2, -1, -1):
        right[i] -= first[i] * right[i + 1]
        if i + 2 < n:
            right[i] -= second[i] * right[i + 2]


@jit
def correlate(rows: Table, templates: Table, reach: int) -> Table:
    """Each row times its template shifted by -reach ... reach samples: shape (n, 2 reach + 1)."""
    n, k = rows.shape
    out = np.zeros((n, 2 * reach + 1))
    turned = np.zeros(k + 2 * reach)  # the template back to front, nothing on either side
    for i in range(n):
        for c in range(k):
            turned[reach + c] = templates[i, k - 1 - c]
        for c in range(k):
            factor, near, own = rows[i, c], turned[k - 1 - c :], out[i]
            for j in range(2 * reach + 1):  # inside: no sum waits for the one before
                own[j] += factor * near[j]
    return out


@jit
def lowest(cost: Table) -> Rows:
    """Column of least cost of each row, between the columns by a parabola."""
    n, k = cost.shape
    out = np.empty(n)
    for i in range(n):
        best = 0
        for j in range(1, k):
            if cost[i, j] < cost[i, best]:
                best = j
        best = min(max(best, 1), k - 2)
        a, b, c = cost[i, best - 1], cost[i, best], cost[i, best + 1]
        out[i] = best + min(max((a - c) / (2 * max(a - 2 * b + c, 1e-12)), -0.5), 0.5)
    return out


@jit
def mean_along(rows: Table, weights: Rows) -> Table:
    """Weighted mean down each column of (n, k), its ends repeated; ``weights`` from the middle outwards."""
    n, k = rows.shape
    out = np.empty((n, k))
    for i in range(n):
        own, total = rows[i], out[i]
        for c in range(k):
            total[c] = own[c] * weights[0]
        for d in range(weights.shape[0] - 1, 0, -1):
            before, after = rows[max(i - d, 0)], rows[min(i + d, n - 1)]
            for c in range(k):
                total[c] += (before[c] + after[c]) * weights[d]
    return out
