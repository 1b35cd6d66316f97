"""One procedural angiogram: a coronary tree with contrast agent, seen by a C-arm in front of a chest.

Everything is known: the lumen of every vessel, each stenosis with its percent diameter stenosis, the view, the scale.
It is a phantom: one moment of full contrast, no motion, circular lumens, no collaterals, veins or aortic reflux.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.carm.view import View
from lesionforge.generators.phantom.angiogram.chest import chest
from lesionforge.generators.phantom.angiogram.detector import Display
from lesionforge.generators.phantom.angiogram.vessels import Projected, absorb, attenuation_per_px, line, project
from lesionforge.generators.phantom.tree.coronary import LICENCE
from lesionforge.generators.phantom.tree.curve import STEP_MM
from lesionforge.generators.phantom.tree.grow import grow
from lesionforge.generators.phantom.tree.heart import Heart
from lesionforge.generators.phantom.tree.stenosis import TreeNarrowing, narrow
from lesionforge.generators.types import Angiogram, Branch, Lesion, Side, Stenosis, severity_class, stream

Floats = NDArray[np.float64]
# Views as they are taken: primary (LAO +) and secondary (cranial +) angle, degrees.
VIEWS: dict[Side, tuple[tuple[float, float], ...]] = {
    "left": ((-28, -22), (-8, 36), (-30, 28), (0, -30), (42, 28), (45, -28), (-20, -25)),
    "right": ((40, 0), (28, 22), (-30, 0), (0, 30), (45, 5)),
}
VIEW_SPREAD_DEG = 5.0
FIELD_MM = (94.0, 130.0)  # edge of the picture at the isocentre: vessels of 1 to 4.5 mm are then 4 to 20 of 512 px
CONTRAST = 0.25  # displayed mu * D of a vessel of 10 px
CATHETER_MM = (1.8, 2.2)  # 5 and 6 French
MIN_SIZE, MAX_SIZE = 128, 2048


def phantom_angiogram(
    key: bytes, side: Side, subject: str, *, stenoses: int | Sequence[TreeNarrowing] = 0, size: int = 512
) -> Angiogram:
    """One frame: a pure function of its arguments.

    Args:
        key: the subject's random key; both trees of one key lie on the same heart.
        side: which tree.
        subject: name under which splits are made; no randomness comes from it.
        stenoses: how many, or which ones (see ``tree.coronary_tree``); those outside the picture are not labelled.
        size: rows and columns.

    Raises:
        ValueError: a size out of range, or stenoses that find no room.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size is {size}: give {MIN_SIZE} to {MAX_SIZE} pixels an edge")
    heart = Heart.draw(stream(key, "phantom/heart"))
    tree = stream(key, f"phantom/{side}")
    healthy = grow(tree, heart, side)
    branches, found = narrow(tree, healthy, stenoses)
    rng = stream(key, f"angiogram/{side}/view")
    view = _view(rng, side, size)
    shift = _placing(rng, branches, view)
    display = Display.draw(stream(key, f"angiogram/{side}/display"), size)
    background, dimming = display.scale(chest(stream(key, f"angiogram/{side}/chest"), view))

    flow = stream(key, f"angiogram/{side}/contrast")
    strength = CONTRAST / dimming * math.exp(float(np.clip(flow.normal(0, 0.22), -0.4, 0.4)))
    tracks = [project(b.points + shift, b.radii, view) for b in branches]
    mu = [strength * _filling(flow, b, view) for b in healthy]
    vessels, mask = absorb(tracks, mu, branches, (size, size))
    absorbance = background + vessels
    for tube in _catheter(stream(key, f"angiogram/{side}/catheter"), branches[0], shift, view):
        width = 2 * float(np.median(tube.radii))
        absorbance = absorbance + line(
            tube, 1.1 * strength * float(attenuation_per_px(np.array([width]))[0]), mask.shape
        )
    image, field = display.show(stream(key, f"angiogram/{side}/noise"), absorbance)
    mask &= field
    return Angiogram(
        subject=subject,
        source_id=hashlib.sha256(image.tobytes()).hexdigest()[:32],
        licence=LICENCE,
        image=image,
        mask=mask,
        mask_is_complete=True,
        lesions=tuple(_lesions(found, healthy, shift, view, mask)),
        side=side,
        view_deg=(view.primary_deg, view.secondary_deg),
        pixel_mm=view.pixel_mm[0] / view.magnification,
        notes={"dominance": heart.dominance},
    )


def _view(rng: np.random.Generator, side: Side, size: int) -> View:
    primary, secondary = VIEWS[side][int(rng.integers(len(VIEWS[side])))]
    primary += float(np.clip(rng.normal(0, VIEW_SPREAD_DEG), -12, 12))
    secondary += float(np.clip(rng.normal(0, VIEW_SPREAD_DEG), -12, 12))
    sid, sod = float(rng.uniform(950, 1150)), float(rng.uniform(720, 790))
    pixel = float(rng.uniform(*FIELD_MM)) / size * sid / sod
    return View(sid, sod, primary, secondary, size, size, (pixel, pixel))


def _placing(rng: np.random.Generator, branches: Sequence[Branch], view: View) -> Floats:
    """Where the table was moved: the tree about the middle, a little high, as the ostium is wanted in the picture."""
    points = np.concatenate([b.points for b in branches])
    low, high = (np.quantile(points, q, axis=0) for q in (0.02, 0.98))
    u, v, _ = view.axes
    out: Floats = -(low + high) / 2 + float(rng.normal(0, 5)) * u + float(rng.normal(-2, 5)) * v
    return out


def _filling(rng: np.random.Generator, healthy: Branch, view: View) -> Floats:
    """mu (n,) in 1/px along a branch, relative: what its healthy calibre asks for, streaming, distal dilution."""
    scale = view.magnification / view.pixel_mm[0]
    count = len(healthy.radii)
    streaming = scipy.ndimage.gaussian_filter1d(rng.standard_normal(count + 40), 12)[20:-20]
    level = math.exp(float(np.clip(rng.normal(0, 0.12), -0.25, 0.25)))
    out: Floats = attenuation_per_px(2 * healthy.radii * scale) * level * (1 + 0.25 * streaming)
    return out


def _catheter(rng: np.random.Generator, root: Branch, shift: Floats, view: View) -> list[Projected]:
    """A guiding catheter from the aortic arch into the ostium."""
    ostium = root.points[0] + shift
    into = root.points[min(8, len(root.points) - 1)] - root.points[0]
    into = into / math.sqrt(float((into * into).sum()))
    behind = ostium - 14 * into
    sway = rng.normal(0, 4, (3, 3))
    way = np.stack(
        [
            ostium + 3 * into,
            ostium,
            behind,
            behind + np.array([-6.0, 4.0, 22.0]) + sway[0],
            behind + np.array([-4.0, 8.0, 60.0]) + sway[1],
            behind + np.array([8.0, 22.0, 110.0]) + sway[2],
        ]
    )
    radius = float(rng.uniform(*CATHETER_MM)) / 2
    knots = np.concatenate([[0.0], np.cumsum(np.sqrt((np.diff(way, axis=0) ** 2).sum(1)))])
    along = np.arange(0, knots[-1], STEP_MM)
    smooth = np.stack([np.interp(along, knots, way[:, k]) for k in range(3)], axis=1)
    smooth = scipy.ndimage.gaussian_filter1d(smooth, 5 / STEP_MM, axis=0, mode="nearest")
    return [project(smooth, np.full(len(along), radius), view)]


def _lesions(
    stenoses: Sequence[Stenosis], healthy: Sequence[Branch], shift: Floats, view: View, mask: NDArray[np.bool_]
) -> list[Lesion]:
    """Boxes around the stenoses that the picture shows: the vessel's healthy width over the lesion's length."""
    out = []
    for s in stenoses:
        point = np.array(s.point)
        branch = min(healthy, key=lambda b: float(((b.points - point) ** 2).sum(1).min()))
        centre = int(np.argmin(((branch.points - point) ** 2).sum(1)))
        half = math.ceil(0.5 * s.length_mm / STEP_MM)
        part = slice(max(0, centre - half), centre + half + 1)
        track = project(branch.points[part] + shift, branch.radii[part], view)
        row, col = np.rint(track.points[len(track.points) // 2]).astype(int)
        if not (0 <= row < mask.shape[0] and 0 <= col < mask.shape[1] and mask[row, col]):
            continue
        low, high = (track.points - track.radii[:, None]).min(0), (track.points + track.radii[:, None]).max(0)
        y0, x0 = np.maximum(low + 0.5, 0)
        y1, x1 = np.minimum(high + 0.5, mask.shape)
        box = (float(x0), float(y0), float(x1), float(y1))
        out.append(Lesion(box, severity_class(s.percent_ds), s.percent_ds))
    return out
