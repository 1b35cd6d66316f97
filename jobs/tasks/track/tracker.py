"""Trackers: from a box on one frame to boxes on the next.

The two-step paper took OpenCV's CSRT. It is in opencv-contrib alone, which installs the same module ``cv2`` as the
opencv-python that Ultralytics brings, so that one environment has either: after ``pip uninstall opencv-python`` and
``pip install opencv-contrib-python`` both work, Ultralytics as well. Where it is missing there is ``template``:
normalised cross-correlation (scikit-image) with the reference frame's vessels, not forgotten while contrast changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import match_template

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.runs import Film

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels

BACKGROUND, FINE = 12.0, 1.0  # Gaussian sigmas in pixels of 512: what is no vessel, what is no grain
BESIDE = 8.0  # pixels of 512 round the box that are compared too
REACH = 28.0  # pixels of 512 that a vessel moves from one frame to the next at most
NEAR = 40.0  # sigma of how far a box is expected from its last place, pixels of 512


class Tracker(Protocol):
    """Follows one box."""

    def begin(self, frame: NDArray[np.uint8], box: Box) -> None:
        """The reference."""

    def next(self, frame: NDArray[np.uint8]) -> Box:
        """Where it is on the frame after the last one seen; the last box where it is lost."""


class Template:
    """The reference's vessels, looked for around the last place."""

    def begin(self, frame: NDArray[np.uint8], box: Box) -> None:
        """See ``Tracker``."""
        self._unit = max(frame.shape) / 512
        self._box = np.array(box, np.float64)
        own = vessels(frame, self._unit)
        grown = self._box + BESIDE * self._unit * np.array([-1, -1, 1, 1])
        x0, y0, x1, y1 = np.clip(grown.round().astype(int), 0, [*frame.shape[::-1], *frame.shape[::-1]])
        self._template = own[y0:y1, x0:x1]
        self._shift = np.array([x0, y0]) - self._box[:2]  # from the box's corner to the template's

    def next(self, frame: NDArray[np.uint8]) -> Box:
        """See ``Tracker``."""
        rows, cols = self._template.shape
        reach = round(REACH * self._unit)
        own = np.pad(vessels(frame, self._unit), reach)
        x, y = (self._box[:2] + self._shift).round().astype(int)
        window = own[max(y, 0) : y + rows + 2 * reach, max(x, 0) : x + cols + 2 * reach]
        if window.shape[0] > rows and window.shape[1] > cols:
            likeness = match_template(window, self._template)
            dy, dx = (np.arange(n) - reach for n in likeness.shape)
            likeness = likeness - (dy[:, None] ** 2 + dx[None] ** 2) / (2 * (NEAR * self._unit) ** 2)
            at = np.array(np.unravel_index(int(likeness.argmax()), likeness.shape))
            move = at[::-1] - reach
            self._box = self._box + np.tile(move, 2)
        return _plain(self._box)


class Csrt:
    """OpenCV's CSRT (Lukezic et al. 2017) as it comes."""

    def __init__(self) -> None:
        self._make = _csrt()

    def begin(self, frame: NDArray[np.uint8], box: Box) -> None:
        """See ``Tracker``."""
        x0, y0, x1, y1 = (round(edge) for edge in box)
        self._own, self._box = self._make(), np.array(box, np.float64)
        self._own.init(_colour(frame), (x0, y0, max(x1 - x0, 1), max(y1 - y0, 1)))

    def next(self, frame: NDArray[np.uint8]) -> Box:
        """See ``Tracker``."""
        found, (x, y, wide, high) = self._own.update(_colour(frame))
        if found:
            self._box = np.array([x, y, x + wide, y + high], np.float64)
        return _plain(self._box)


class Still:
    """What stays where it is: whoever follows must do better."""

    def begin(self, frame: NDArray[np.uint8], box: Box) -> None:
        """See ``Tracker``."""
        self._box = box

    def next(self, frame: NDArray[np.uint8]) -> Box:
        """See ``Tracker``."""
        return self._box


TRACKERS: dict[str, type[Tracker]] = {"csrt": Csrt, "template": Template, "still": Still}


def there() -> list[str]:
    """Names of those that work here, the paper's first where OpenCV has it."""
    try:
        _csrt()
    except UsageError:
        return [name for name in TRACKERS if name != "csrt"]
    return list(TRACKERS)


def follow(tracker: str, film: Film, start: int, box: Box, ends: range) -> Iterator[tuple[int, Box]]:
    """A reference box's places on the frames before and after its own.

    Args:
        tracker: one of ``TRACKERS``.
        film: frames.
        start: number of the reference frame.
        box: on it.
        ends: numbers of the frames to go through, ``start`` among them.

    Yields:
        Numbers of frames and boxes, forward first, then backward from the reference.
    """
    for step, stop in ((1, ends[-1]), (-1, ends[0])):
        if start == stop:
            continue
        own = TRACKERS[tracker]()
        own.begin(film[start], box)
        for n in range(start + step, stop + step, step):
            yield n, own.next(film[n])


def vessels(frame: NDArray[np.uint8], unit: float) -> NDArray[np.float64]:
    """Attenuation less its background and grain: float64 (rows, cols), vessels bright."""
    attenuation = -np.log((frame.astype(np.float64) + 1) / 256)
    smooth = ndimage.gaussian_filter(attenuation, FINE * unit)
    out: NDArray[np.float64] = smooth - ndimage.gaussian_filter(attenuation, BACKGROUND * unit)
    return out


def _csrt() -> Any:
    make = getattr(import_module("cv2"), "TrackerCSRT_create", None) if find_spec("cv2") else None
    if make is None:
        raise UsageError(
            "tracker csrt is in opencv-contrib-python, which is not here: pip uninstall opencv-python, pip install "
            "opencv-contrib-python; or give --trackers template"
        )
    return make


def _colour(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(frame[:, :, None], 3, axis=2)


def _plain(box: NDArray[np.float64]) -> Box:
    x0, y0, x1, y1 = box.tolist()
    return x0, y0, x1, y1
