"""Trees for all tests of this folder."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from lesionforge.generators.cine.vessels import Narrowing, Vessels
from lesionforge.generators.phantom.tree.coronary import phantom_tree
from lesionforge.generators.phantom.tree.heart import Heart
from lesionforge.generators.types import CoronaryTree, stream


def phantom(side: str, number: int = 0, dominance: str = "right") -> CoronaryTree:
    """The tree of one subject, the first after ``number`` whose heart has the dominance asked for."""
    names = (f"phantom/7/{number}{' again' * turn}" for turn in range(100))
    keys = (hashlib.blake2b(name.encode(), digest_size=32).digest() for name in names)
    key = next(k for k in keys if Heart.draw(stream(k, "phantom/heart")).dominance == dominance)
    return phantom_tree(key, side, f"phantom/7/{number}")


def tube(radius: float = 1.5, length_mm: float = 100.0, name: str = "7") -> Vessels:
    """A straight vessel along x."""
    count = round(length_mm / 0.5) + 1
    points = np.zeros((count, 3))
    points[:, 0] = 0.5 * np.arange(count)
    radii = np.full(count, radius)
    return Vessels(
        points, radii, radii, np.zeros(count, np.int32), np.arange(-1, count - 1, dtype=np.int32),
        np.ones(count, np.float32), np.zeros(count, np.int16), (name,), "left", "right",
    )  # fmt: skip


def narrowed(vessels: Vessels, percent_ds: float, first: int, last: int) -> Vessels:
    """One lesion more, of one calibre throughout; 100 % is an occlusion."""
    radii, middle = vessels.radii.copy(), (first + last) // 2
    radii[first : last + 1] *= 1.0 - percent_ds / 100.0
    reference = 2.0 * float(vessels.healthy[middle])
    lesion = Narrowing(
        middle, first, last, percent_ds, reference * (1 - percent_ds / 100), reference, 0.5 * (last - first), 0.0,
        (0.0, 1.0, 0.0), "occlusion" if percent_ds == 100 else "focal", vessels.segment_of(middle),
    )  # fmt: skip
    return dataclasses.replace(vessels, radii=radii, lesions=(*vessels.lesions, lesion))


def rng(name: str) -> np.random.Generator:
    return stream(b"cine tests", name)


@pytest.fixture(scope="session")
def left() -> Vessels:
    from lesionforge.generators.cine.anatomy import vessels_of

    return vessels_of(phantom("left"), rng("left"))
