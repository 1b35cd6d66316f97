"""The background of a run: a chest, or what a real frame shows behind its vessels; with what stands still before it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from lesionforge.generators.base import Memory
from lesionforge.generators.carm.view import View
from lesionforge.generators.cine.backdrop import Backdrop, chest_backdrop, real_backdrop, rounded
from lesionforge.generators.cine.devices import Device
from lesionforge.generators.cine.tubes import Canvas, Tubes, project
from lesionforge.generators.types import Angiogram, BadCase

SPARE = 0.2  # of the picture, beyond its border, in a background that will move
RIM, DARK = 12, 0.55  # px along the border, and the share of the median grey below which a rim is seen there


def chest(rng: np.random.Generator, view: View, moves: bool) -> Backdrop:
    """A chest; wider than the picture where the table will move."""
    spare = 2 * round(SPARE * view.rows) if moves else 0
    return chest_backdrop(rng, replace(view, rows=view.rows + spare, cols=view.cols + spare))


def real(memory: Memory[Backdrop], behind: Angiogram, size: int) -> Backdrop:
    """What a real frame shows behind its vessels.

    Raises:
        BadCase: the frame is smaller than the picture.
    """
    image = behind.image
    if min(image.shape) < size:
        raise BadCase(f"background of {image.shape[0]} x {image.shape[1]} pixels: set generator.params.size to less")
    top, left = ((n - size) // 2 for n in image.shape)
    window = np.s_[top : top + size, left : left + size]
    image, mask = image[window], None if behind.mask is None else behind.mask[window]
    key = hashlib.sha256(f"{image.shape}".encode() + image.tobytes() + (b"" if mask is None else mask.tobytes()))
    return memory.get(f"backdrop {key.hexdigest()}", lambda: real_backdrop(image, mask))


def has_rim(backdrop: Backdrop) -> bool:
    """Whether a frame has a dark border, which stays where it is while the table moves."""
    still = backdrop.still
    edges = still[:RIM], still[-RIM:], still[:, :RIM], still[:, -RIM:]
    border = min(float(np.median(edge)) for edge in edges)
    return not backdrop.field.all() or border < DARK * float(np.median(still))


def mirrored(backdrop: Backdrop) -> Backdrop:
    """The background beyond the picture's border, for a table that will move."""
    spare = round(SPARE * backdrop.still.shape[0])
    still, field = np.pad(backdrop.still, spare, mode="reflect"), np.pad(backdrop.field, spare, mode="reflect")
    return replace(backdrop, still=still, field=field, own_grain=None)


def opening(backdrop: Backdrop) -> tuple[int, int, int, int]:
    """First and last row and column that the collimator leaves open."""
    rows, cols = (np.flatnonzero(backdrop.field.any(axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]), int(cols[0]), int(cols[-1])


def with_devices(backdrop: Backdrop, devices: list[Device], view: View) -> Backdrop:
    """The background with what does not move with the heart."""
    if not devices:
        return backdrop
    rows, cols = backdrop.still.shape
    canvas = Canvas(rows, cols)
    constants = replace(view, rows=rows, cols=cols).constants()
    count = np.cumsum([0, *(len(d.points) for d in devices)])
    parent = np.arange(-1, count[-1] - 1, dtype=np.int32)
    parent[count[:-1]] = -1
    branch = np.repeat(np.arange(len(devices), dtype=np.int32), np.diff(count))
    radii = np.concatenate([d.radii for d in devices])
    nothing = np.zeros(len(radii))
    at = project(np.concatenate([d.points for d in devices]), parent, constants)
    dense = np.concatenate([d.dense for d in devices])
    canvas.draw(at, Tubes(radii, branch, parent, nothing), dense, nothing, nothing.astype(np.uint8))
    return replace(
        backdrop, still=rounded(backdrop.seen(np.exp(-canvas.absorbed.astype(np.float64)).astype(np.float32)))
    )
