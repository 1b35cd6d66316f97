"""The compiled loops against numpy and scipy."""

import numpy as np
from scipy import ndimage
from scipy.optimize import minimize

from lesionforge.generators.vessel.kernels import (
    best_radius,
    correlate,
    least_cost,
    lowest,
    mean_along,
    products,
    smooth_path,
)


def test_costs_are_the_squared_residual_less_the_rows_own_square() -> None:
    rng = np.random.default_rng(0)
    rows, templates, mus = rng.random((6, 15)), rng.random((9, 15)), np.array([0.2, 0.5, 1.1])
    match, energy = rows @ templates.T, (templates**2).sum(axis=1)
    whole = ((rows[:, None, None] - mus[:, None, None] * templates) ** 2).sum(axis=-1)  # row, mu, radius
    want = whole.min(axis=2) - (rows**2).sum(axis=1)[:, None]
    assert np.allclose(least_cost(match, energy, mus), np.minimum(want, 0))
    assert (best_radius(match, energy, np.full(6, 0.5)) == whole[:, 1].argmin(axis=1)).all()


def test_the_smooth_path_is_the_minimum_of_its_objective() -> None:
    rng = np.random.default_rng(4)
    n, step, bend = 30, 0.125, 0.1
    grid = np.arange(1, 80) * step
    truth = 4 + np.sin(np.arange(n) / 5) + rng.normal(0, 0.3, n)
    # A template r * u with unit u: P(i, r) = truth_i r, E = r^2, mu = 1; its derivative by r is constant.
    rows, slopes, push, firm = truth[:, None], np.ones((len(grid), 1)), grid, np.ones(len(grid))
    variance = rng.uniform(0.05, 0.2, n)

    def objective(r: np.ndarray) -> float:
        return float((((r - truth) ** 2) / (2 * variance)).sum() + (np.diff(r, 2) ** 2).sum() / (2 * bend**2))

    want = minimize(objective, truth, method="BFGS", options={"gtol": 1e-8}).x
    got = smooth_path(rows, slopes, push, firm, np.ones(n), variance, np.full(n, 4.0), bend, step)
    assert np.abs(got - want).max() < 2e-3


def test_a_taper_is_left_alone() -> None:
    n, step = 41, 0.125
    grid = np.arange(1, 120) * step
    line = 2 + 0.05 * np.arange(n)
    slopes, firm = np.ones((len(grid), 1)), np.ones(len(grid))
    got = smooth_path(line[:, None], slopes, grid, firm, np.ones(n), np.full(n, 5.0), np.full(n, 3.0), 0.01, step)
    assert np.abs(got - line).max() < 1e-3


def test_correlation_is_numpys() -> None:
    rng = np.random.default_rng(1)
    rows, templates = rng.random((3, 20)), rng.random((3, 20))
    want = [np.correlate(row, template, "full")[19 - 4 : 19 + 5] for row, template in zip(rows, templates, strict=True)]
    assert np.allclose(correlate(rows, templates, 4), want)


def test_products_are_numpys() -> None:
    rng = np.random.default_rng(2)
    rows, columns = rng.random((7, 11)), rng.random((11, 5))
    assert np.allclose(products(rows, columns), rows @ columns)


def test_the_lowest_place_is_that_of_the_parabola_through_three() -> None:
    x = np.arange(12.0)
    bottoms = np.array([1.0, 3.3, 6.49, 9.8])
    assert np.allclose(lowest((x - bottoms[:, None]) ** 2), bottoms)
    assert np.allclose(lowest(np.stack([x, -x])), [0.5, 10.5])  # at an end no parabola says more


def test_means_along_are_scipys() -> None:
    rng, weights = np.random.default_rng(3), np.array([0.4, 0.2, 0.1])
    for n in (1, 2, 30):
        rows = rng.random((n, 4))
        want = ndimage.correlate1d(rows, np.r_[weights[:0:-1], weights], axis=0, mode="nearest")
        assert np.allclose(mean_along(rows, weights), want)
