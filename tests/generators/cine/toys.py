"""Tubes whose picture can be worked out by hand, and samples of small runs."""

import hashlib
from dataclasses import replace

import numpy as np

from lesionforge.generators.carm.view import View
from lesionforge.generators.cine.backdrop import Backdrop
from lesionforge.generators.cine.generator import Cine
from lesionforge.generators.cine.grain import Grain
from lesionforge.generators.cine.params import CineParams
from lesionforge.generators.cine.tubes import Tubes
from lesionforge.generators.cine.vessels import Narrowing, Vessels
from lesionforge.generators.phantom.tree.coronary import phantom_tree
from lesionforge.generators.types import Rejected, SampleSpec

VIEW = View(1000.0, 750.0, 0.0, 0.0, 256, 256, (0.3, 0.3))  # straight from the front: x is right, z is up
SCALE = 1000 / 750 / 0.3  # pixels per mm at the isocentre


def tube(radius, half_mm=20.0, turn_deg=0.0, depth_mm=0.0):
    """Points along a line through the isocentre in the picture's plane, and the tubes they are."""
    along = np.arange(-half_mm, half_mm + 0.25, 0.5)
    a = np.radians(turn_deg)
    points = np.stack([along * np.cos(a), np.full_like(along, -depth_mm), along * np.sin(a)], 1)
    count = len(along)
    parent = np.arange(-1, count - 1, dtype=np.int32)
    return points, Tubes(np.full(count, radius), np.zeros(count, np.int32), parent, np.zeros(count))


def narrowed(percent_ds=60.0, length_mm=10.0, radius=1.5, eccentric=0.0, others=()):
    """A straight vessel from left to right with one raised-cosine lesion in its middle; others are (points, radius)."""
    points, tubes = tube(radius)
    along = points[:, 0]
    shape = np.where(np.abs(along) <= length_mm / 2, 0.5 + 0.5 * np.cos(2 * np.pi * along / length_mm), 0)
    radii = radius * (1 - percent_ds / 100 * shape)
    points = points + eccentric * (radius - radii)[:, None] * np.array([0.0, 0.0, 1.0])
    inside = np.flatnonzero(np.abs(along) <= length_mm / 2)
    lesion = Narrowing(
        len(along) // 2, int(inside[0]), int(inside[-1]), percent_ds, 2 * radius * (1 - percent_ds / 100), 2 * radius,
        length_mm, eccentric, (0.0, 0.0, 1.0), "focal", "6",
    )  # fmt: skip
    branch, parent, healthy = tubes.branch, tubes.parent, tubes.radii
    for n, (more, wide) in enumerate(others, 1):
        first = len(points)
        points, radii = np.concatenate([points, more]), np.concatenate([radii, np.full(len(more), wide)])
        healthy = np.concatenate([healthy, np.full(len(more), wide)])
        branch = np.concatenate([branch, np.full(len(more), n, np.int32)])
        own = np.arange(first - 1, first + len(more) - 1, dtype=np.int32)
        own[0] = 0
        parent = np.concatenate([parent, own])
    count = len(points)
    return Vessels(
        points, radii, healthy, branch, parent, np.ones(count, np.float32), np.zeros(count, np.int16), ("6",), "left",
        "right", (lesion,),
    )  # fmt: skip


def plain(level=120.0, size=256, spare=0, veil=40.0):
    """A background of one grey without grain."""
    still = np.full((size + spare, size + spare), level, np.float32)
    quiet = Grain.of(np.zeros(17), np.array([1.0, 0, 0, 0]), np.array([1.0, 0, 0, 0]))
    return Backdrop(still, quiet, np.ones(still.shape, bool), veil)


def tree(number, side):
    name = f"phantom/0/{number}"
    return phantom_tree(hashlib.blake2b(name.encode(), digest_size=32).digest(), side, name)


def sample(case, number=0, target=None, **params):
    """One that the generator accepted."""
    sample_id = f"train-0000-{number:08d}"
    spec = SampleSpec(sample_id, "train", 0, 0, 0, target, hashlib.sha256(sample_id.encode()).digest())
    generator = Cine(CineParams(**params))
    for attempt in range(20):
        try:
            return generator.make(case, replace(spec, attempt=attempt))
        except Rejected:
            continue
    raise AssertionError("rejected 20 times")
