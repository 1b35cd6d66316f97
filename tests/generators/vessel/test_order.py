"""Quantiles against numpy's, bit by bit."""

import numpy as np
import pytest

from lesionforge.generators.vessel.order import inner_spread, median, quantile, row_medians


@pytest.mark.parametrize("count", [1, 2, 3, 20, 201])
def test_quantiles_are_numpys(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    assert median(values) == np.median(values)
    assert np.isnan(median(np.append(values, np.nan)))
    for share in (0.0, 0.025, 0.33, 0.9, 0.95, 1.0):
        assert quantile(values, share) == np.quantile(values, share)


def test_the_inner_spread_is_that_of_what_lies_between_the_quantiles() -> None:
    values = np.random.default_rng(0).normal(size=301)
    low, high = np.quantile(values, (0.025, 0.975))
    want = values[(values >= low) & (values <= high)].std()
    assert inner_spread(values, 0.025) == pytest.approx(want, rel=1e-12)
    assert inner_spread(np.full(9, 3.0), 0.025) == 0


def test_medians_of_rows_take_what_they_are_told() -> None:
    rng = np.random.default_rng(1)
    rows, taken = rng.normal(size=(40, 9)), rng.random((40, 9)) < 0.5
    taken[3] = False
    want = [np.median(row[own]) if own.any() else np.nan for row, own in zip(rows, taken, strict=True)]
    assert np.array_equal(row_medians(rows, taken), want, equal_nan=True)
