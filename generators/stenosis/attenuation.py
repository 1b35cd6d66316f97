"""Physics on the real pixels: the vessel's own attenuation profile, narrowed. No weights, CPU.

Attenuation A = -log(grey / 255) adds along a ray: background B plus vessel V. A circular section that shrinks to the
share k of its diameter has the profile k V(t / k); the blur of the imaging chain does not shrink with it. What is
added to the frame is the smooth difference of the two profiles, so the frame's own noise stays where it is; the
little of it that the difference carries off is replaced by noise of the frame's spectrum, up to the level beside the
vessel. The display's bright edge halo belongs to V: it moves with the wall, and pales with the section.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from lesionforge.generators.kernels import jit
from lesionforge.generators.stenosis.editor import Editor, FrameNarrowing
from lesionforge.generators.stenosis.pixels import locate, spread
from lesionforge.generators.stenosis.texture import Texture, requantise
from lesionforge.generators.vessel.order import inner_spread
from lesionforge.generators.vessel.profile import attenuation, straighten

Rows = NDArray[np.float64]
Patch = NDArray[np.float64]  # (n, k): one row per point of the centreline, one column per step across

STEP = 0.5  # px across
HALO = 2.5  # px beyond the wall that belong to the vessel: its blur and the display's halo
FADE = 3.0  # px over which V is faded out beyond the halo
FLANK = 6.0  # px of background beside the halo that the line under the vessel is drawn through, FADE among them
REACH = HALO + FADE  # px beyond the wall that may change
BESIDE = 3.0  # px, sd of the mean along the vessel that smooths the background beside it
ALONG = 1.5  # px, sd of the mean along the vessel that parts V from noise
BRANCH = 5  # rows, twice the width of a branch that does not disturb the background beside the vessel
EDGES = 0.1  # share of a flank's darkest and of its brightest samples that do not speak for the background
CROSSING = 31  # rows, over twice the width of a vessel that crosses this one without being taken for it
ABOVE, WANDER = 1.4, 1.5  # how much darker than its running median a vessel can be, and its wall further, px
PASSES = 2  # the second makes up for the noise that JPEG's quantisation takes off again
CLOSED = 0.02  # share of the diameter below which nothing is left to see
FINE = 0.25  # px between samples of the blur
LEAST_NOISE = 20  # pixels that noise can be measured in
PALE = 0.3  # of the vessel's depth, square root: where so much is taken away noise goes with it
CARRIED = 0.3  # share of the noise's variance that the difference carries off (ALONG)
NOISE_HOLE = 2.0  # px from the new wall where noise can be measured again


class AttenuationEditor(Editor):
    """The ``attenuation`` backend."""

    def edit(
        self,
        images: Sequence[NDArray[np.uint8]],
        lesions: Sequence[FrameNarrowing],
        rngs: Sequence[np.random.Generator],
    ) -> list[NDArray[np.uint8]]:
        """See ``Editor``."""
        return [_edit(image, lesion, rng) for image, lesion, rng in zip(images, lesions, rngs, strict=True)]


@dataclass(frozen=True)
class _Vessel:
    """A stretch of vessel taken out of its ``image``, the same in every round of a lesion.

    ``vessel`` (n, k): attenuation above the line under it, straightened; ``grey`` (n, k): levels of both; ``depth``
    (n, 1): mean of ``vessel`` about its axis; ``first``: t of the first column, px. Of every pixel of the edit box:
    ``row`` and ``across``, see ``locate``, and ``radius`` of the vessel.
    """

    image: NDArray[np.uint8]
    vessel: Patch
    grey: Patch
    depth: Patch
    first: float
    row: Patch
    across: Patch
    radius: Patch

    @classmethod
    def of(cls, image: NDArray[np.uint8], lesion: FrameNarrowing) -> _Vessel:
        radius = scipy.ndimage.gaussian_filter1d(lesion.diameter, 3.0, mode="nearest") / 2
        half = float(np.ceil(radius.max() + HALO + FLANK + STEP))
        field, t = straighten(attenuation(image), lesion.points, lesion.normals, half, STEP)
        line = _background(field, t, radius, np.ones((len(radius), 2), bool) if lesion.free is None else lesion.free)
        vessel = scipy.ndimage.gaussian_filter1d(field - line, ALONG, axis=0, mode="nearest")
        vessel = np.minimum(vessel, _envelope(vessel))
        window = np.clip((radius[:, None] + REACH - np.abs(t)) / FADE, 0, 1)
        vessel *= window * window * (3 - 2 * window)
        core = np.abs(t) <= radius[:, None] / 2
        depth = np.maximum((vessel * core).sum(axis=1) / np.maximum(core.sum(axis=1), 1), 1e-3)[:, None]
        x0, y0, x1, y1 = lesion.edit_box
        reach = float(lesion.diameter.max()) / 2 + REACH + 2
        row, across = locate(lesion.points, lesion.normals, reach, x0, y0, x1, y1)
        wide = np.interp(row, np.arange(len(lesion.keep)), lesion.diameter / 2)
        return cls(image, vessel, 255 * np.exp(-(line + vessel)), depth, float(t[0]), row, across, wide)

    def narrowed(self, lesion: FrameNarrowing) -> tuple[Patch, Patch]:
        """Grey levels to add, straightened; the share of the vessel's depth they take away."""
        narrowed = _narrow(self.vessel, lesion.keep, lesion.shift, self.first, STEP, lesion.psf_sigma, lesion.depth)
        change = self.grey * np.expm1(self.vessel - narrowed)
        change[lesion.keep >= 1] = 0
        return change, np.sqrt(np.clip((self.vessel - narrowed) / self.depth, 0, 1))

    def zones(self, lesion: FrameNarrowing) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where a narrowing leaves the box empty, and the ring beside the vessel: where noise can be measured."""
        place = np.arange(len(lesion.keep))
        keep, shift = (np.interp(self.row, place, v) for v in (lesion.keep, lesion.shift))
        here = (self.row >= 0) & (keep < 0.8)
        here[[0, -1]] = here[:, [0, -1]] = False  # no neighbours there
        zone = here & (np.abs(self.across) < self.radius)
        zone &= np.abs(self.across - shift) > keep * self.radius + NOISE_HOLE
        return zone, here & (np.abs(self.across) > self.radius + HALO)


def _edit(image: NDArray[np.uint8], lesion: FrameNarrowing, rng: np.random.Generator) -> NDArray[np.uint8]:
    x0, y0, x1, y1 = lesion.edit_box
    before = image[y0:y1, x0:x1]
    if lesion.percent_ds <= 0:
        return before.copy()
    vessel: _Vessel | None = lesion.memo.get("vessel")
    if vessel is None or vessel.image is not image:
        vessel = lesion.memo["vessel"] = _Vessel.of(image, lesion)
    change, gone = vessel.narrowed(lesion)
    delta = spread(change, vessel.row, vessel.across, vessel.first, STEP)
    emptied = spread(gone, vessel.row, vessel.across, vessel.first, STEP)
    zones = vessel.zones(lesion)
    fresh = emptied * lesion.texture.noise(rng, y1 - y0, x1 - x0)
    after, level = before + delta, 0.0
    out = before
    for _ in range(PASSES):
        level = float(np.hypot(level, _lost_noise(after, emptied, *zones, lesion.texture, level)))
        after = before + delta + level * fresh
        out = np.where(delta != 0, np.clip(np.rint(after), 0, 255), before).astype(np.uint8)
        if lesion.texture.jpeg is None:
            break
        out = requantise(out, out != before, (y0, x0), lesion.texture.jpeg)
        after = out.astype(np.float64)
    return out


def _background(field: NDArray[np.float32], t: Rows, radius: Rows, free: NDArray[np.bool_]) -> Patch:
    """The straight line under the vessel: through the trimmed means of both flanks, smooth along the vessel.

    A background with fine dark lines in it is darker than its median: what is emptied must be as dark as its mean.

    Where a flank is not ``free`` (n, 2), the rows before and behind speak for it, or else the other flank.
    """
    distance = radius + HALO
    offsets = np.arange(0, FLANK + 1e-9, STEP)
    rows = np.arange(len(radius))
    edge = round(EDGES * len(offsets))
    means = []
    for side in (-1, 1):
        columns = np.rint((side * (distance[:, None] + offsets) - t[0]) / STEP).astype(int)
        flank = np.sort(field[rows[:, None], columns], axis=1)
        means.append(flank[:, edge:-edge].mean(axis=1, dtype=float))
    levels = []
    for mean, other, clear in zip(means, means[::-1], free.T, strict=True):
        told = np.interp(rows, rows[clear], mean[clear]) if clear.any() else other
        level = scipy.ndimage.median_filter(told, BRANCH, mode="nearest")
        levels.append(scipy.ndimage.gaussian_filter1d(level, BESIDE, mode="nearest")[:, None])
    part = np.clip((t / (distance + FLANK / 2)[:, None] + 1) / 2, 0, 1)
    return np.asarray(levels[0] * (1 - part) + levels[1] * part)


def _envelope(vessel: Patch) -> Patch:
    """The most that the vessel itself can be, (n, k): what exceeds it crosses or branches off, and stays as it is."""
    middle = np.maximum(scipy.ndimage.median_filter(vessel, (CROSSING, 1), mode="nearest"), 0)
    return np.asarray(ABOVE * scipy.ndimage.maximum_filter1d(middle, int(2 * WANDER / STEP) + 1, axis=1))


@jit
def _narrow(vessel: Patch, keep: Rows, shift: Rows, first: float, step: float, sigma: float, depth: float) -> Patch:
    """keep^(1 - depth) V((t - shift) / keep), with the blur that the narrowing took off it put back.

    V below 0 is the display's bright edge, and background brighter than the line: it falls by keep^2 once more, or the
    new wall would carry a bright seam along (on ARCADE's train frames this leaves least of the old wall).
    """
    n, k = vessel.shape
    out = np.zeros((n, k))
    for i in range(n):
        share = keep[i]
        if share >= 1:
            for j in range(k):
                out[i, j] = vessel[i, j]
            continue
        if share <= CLOSED:
            continue
        blur = sigma * np.sqrt(1 - share * share)
        taps = int(np.ceil(3 * blur / FINE))
        gain = share ** (1 - depth)
        for j in range(k):
            t = first + j * step - shift[i]
            total = 0.0
            norm = 0.0
            for a in range(-taps, taps + 1):
                weight = np.exp(-0.5 * (a * FINE / blur) ** 2)
                norm += weight
                s = ((t + a * FINE) / share - first) / step
                if 0 <= s < k - 1:
                    b = int(s)
                    total += weight * (vessel[i, b] * (1 - (s - b)) + vessel[i, b + 1] * (s - b))
            out[i, j] = gain * total / norm * (share * share if total < 0 else 1.0)
    return out


def _lost_noise(
    patch: Patch, emptied: Patch, zone: NDArray[np.bool_], ring: NDArray[np.bool_], texture: Texture, level: float
) -> float:
    """Standard deviation of the noise, grey levels, that the emptied zone lacks against the ring beside the vessel.

    ``level``: what was added already.
    """
    if ring.sum() < LEAST_NOISE or not (emptied > PALE).any():
        return 0.0
    rough = np.zeros(patch.shape)
    rough[1:-1, 1:-1] = patch[1:-1, 1:-1] - 0.25 * (
        patch[:-2, 1:-1] + patch[2:, 1:-1] + patch[1:-1, :-2] + patch[1:-1, 2:]
    )
    # Without the outermost twentieth: edges are no noise.
    whole = inner_spread(rough[ring], 0.025) ** 2
    if zone.sum() >= LEAST_NOISE:
        lost = whole - inner_spread(rough[zone], 0.025) ** 2
    else:  # too small to tell
        zone, lost = emptied > PALE, 0.0 if level else CARRIED * whole
    # Unit noise of the frame's spectrum, faded as it will be, has this variance behind the Laplacian.
    passed = _passed(texture.kernel) * float((emptied[zone] ** 2).mean())
    return float(np.sqrt(max(0.0, lost) / max(passed, 1e-6)))


def _passed(kernel: Patch) -> float:
    """Variance of the noise with this kernel after the Laplacian of ``_lost_noise``."""
    rough = kernel - 0.25 * sum(np.roll(kernel, s, axis) for s in (-1, 1) for axis in (0, 1))
    return float((rough**2).sum())
