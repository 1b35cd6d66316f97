"""Lesions on rendered tubes, for the tests of editor and mask: nothing is measured, all is known."""

import numpy as np

from lesionforge.generators.stenosis import boxes
from lesionforge.generators.stenosis.editor import FrameNarrowing
from lesionforge.generators.stenosis.texture import Texture
from tests.generators.vessel import tubes

QUIET = Texture(np.zeros((16, 16)), None)
MU_DEPTH = 0.3  # attenuation at the axis of the healthy vessel


def tube(path, width, rng=None, percent_ds=0.0, half=18.0, psf=0.9):
    """A healthy or narrowed tube of constant width, dark on bright."""
    return tubes.render(path, tubes.lesion(width, percent_ds, half), rng, mu=MU_DEPTH / width, psf=psf)


def normals(points):
    way = np.gradient(points, axis=0)
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    return np.column_stack([-way[:, 1], way[:, 0]])


def narrowing(healthy, percent_ds, half=18.0, eccentric=0.0, depth=0.0, psf=0.9, texture=QUIET, mask=None):
    """The cosine lesion that ``tube(percent_ds=...)`` has, as a request to an editor."""
    points, n, middle = healthy.points, len(healthy.points), healthy.middle
    rows = np.arange(n) - middle
    bump = np.where(np.abs(rows) < half, 0.5 + 0.5 * np.cos(np.pi * rows / half), 0.0)
    keep = 1 - percent_ds / 100 * bump
    across, diameter = normals(points), healthy.diameter
    near = np.abs(rows) <= half
    return FrameNarrowing(
        points=points,
        normals=across,
        diameter=diameter,
        keep=keep,
        shift=eccentric * (1 - keep) * diameter / 2,
        at=middle,
        depth=depth,
        percent_ds=percent_ds,
        severity="severe",
        psf_sigma=psf,
        texture=texture,
        edit_box=boxes.edit(points[near], across[near], diameter[near], healthy.image.shape, texture.jpeg is not None),
        mask=healthy.mask if mask is None else mask,
    )
