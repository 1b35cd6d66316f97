"""Volumes whose first or last index runs fastest in memory: the same values, whichever way."""

import itertools

import numpy as np
import pytest

from lesionforge.engine.sources.ct.axes import laid
from lesionforge.engine.sources.ct.label_map import box_of, counted, rename
from lesionforge.engine.sources.ct.scan import CtScan, _taps
from lesionforge.generators.types import BadCase
from tests.engine.sources.test_ct import lits, source

SHAPE = (23, 18, 37)
SPACING = (0.7, 0.8, 1.0)


@pytest.fixture(scope="module")
def scan():
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 4, (3, 3, 5)).astype(np.uint8).repeat(8, 0).repeat(6, 1).repeat(8, 2)
    return CtScan(rng.integers(-1000, 1000, SHAPE).astype(np.int16), blocks[:23, :, :37].copy(), SPACING, (0, 0, 0))


def ways(array):
    """It in each order of its axes in memory."""
    return [array.transpose(order).copy().transpose(np.argsort(order)) for order in itertools.permutations(range(3))]


def test_an_array_is_laid_in_either_order(scan):
    for array, order in itertools.product(ways(scan.hu), ("C", "F")):
        found = laid(array, order)
        assert np.array_equal(found, scan.hu)
        assert found.flags[f"{order}_CONTIGUOUS"]
        assert (found is array) or not array.flags[f"{order}_CONTIGUOUS"] or np.shares_memory(found, array)


@pytest.mark.parametrize("how", ["linear", "cubic"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 0.4, 2.5)])
def test_resampling_is_the_plain_sum_to_the_last_bit(scan, how, spacing):
    """Slices, then rows, then columns; a sum in another order rounds otherwise."""
    shape = [round(n * a / b) for n, a, b in zip(SHAPE, SPACING, spacing, strict=True)]
    places = [(np.arange(n) * b + 0.5 * (b - a)) / a for n, a, b in zip(shape, SPACING, spacing, strict=True)]
    x, y, z = (_taps(at, n, how) for at, n in zip(places, SHAPE, strict=True))
    out = sum(w * scan.hu[:, :, i] for i, w in z)
    out = sum(w[:, None, None] * out[i] for i, w in x)
    out = sum(w[:, None] * out[:, i] for i, w in y)
    nearest = [np.clip(np.floor(at + 0.5).astype(int), 0, n - 1) for at, n in zip(places, SHAPE, strict=True)]
    for hu, labels in zip(ways(scan.hu), ways(scan.labels), strict=True):
        new = CtScan(hu, labels, SPACING, (0, 0, 0)).resampled(spacing, how)
        assert np.array_equal(new.hu, np.clip(np.rint(out), -32768, 32767))
        assert np.array_equal(new.labels, scan.labels[np.ix_(*nearest)])


def test_label_maps_are_counted_renamed_and_boxed(scan):
    table = np.zeros(256, np.uint8)
    table[[1, 2]] = 2, 1
    for labels in ways(scan.labels):
        assert counted(labels)[:4].tolist() == [0, *np.bincount(scan.labels.ravel())[1:]]
        box = box_of(labels, [2, 3], 1.0, SPACING)
        at = np.argwhere(np.isin(scan.labels, [2, 3]))
        grow = [2, 2, 1]
        for part, low, high, n, more in zip(box, at.min(0), at.max(0), SHAPE, grow, strict=True):
            assert part == slice(max(0, low - more), min(n, high + more + 1))
        rename(labels, table)
        assert np.array_equal(labels, table[scan.labels])
        for nowhere in ([9], []):
            with pytest.raises(BadCase, match="no voxel of the region"):
                box_of(labels, nowhere, 1.0, SPACING)


def test_what_generators_get_lies_in_memory_as_ever_and_is_nobody_s_to_write(tmp_path):
    """Sums over it run in another order else, and their last bits differ."""
    lits(tmp_path)
    for options in ({}, {"spacing_mm": (1, 1, 1)}, {"spacing_mm": (1.5, 2, 3)}, {"region": ("liver",)}):
        volume = source(tmp_path, **options).read(0)
        for array in (volume.hu, volume.labels):
            assert array.flags.c_contiguous
            assert not array.flags.writeable
