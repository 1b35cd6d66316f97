"""What every detector is, whatever its network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.tasks.detection.frames import Frame

Progress = Callable[[int, int, float], None]  # step, of how many, loss


@dataclass(frozen=True)
class Detections:
    """What a detector found on one frame.

    ``boxes`` float32 (n, 4) x0, y0, x1, y1 in pixels of the frame. ``scores`` float32 (n, 2): confidence that there
    is a lesion of each of ``frames.CLASSES``; their sum is the confidence that there is a lesion at all.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]


class Detector(Protocol):
    """Learns from labelled frames, finds lesions on others."""

    def fit(
        self,
        real: Sequence[Frame],
        synthetic: Sequence[Frame],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Train from scratch, the same number of steps whatever the frames are.

        Args:
            real: frames as a person labelled them.
            synthetic: frames of a generator.
            real_share: share of real frames among the pictures drawn, where there are both.
            seed: of weights, order and augmentation.
            folder: keeps a checkpoint while it trains, and is resumed from where one is; None: nothing is kept.
            progress: called now and then.

        Raises:
            UsageError: the folder was begun with other settings or frames.
        """

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Lesions found on each image, best first."""

    def save(self, path: Path) -> None:
        """Write weights and settings into one file."""


def make(name: str, device: str = "cpu", **options: Any) -> Detector:
    """A fresh detector.

    Args:
        name: ``centre``, or an Ultralytics model such as ``yolo11n``.
        device: torch device string.
        options: fields of the detector's settings.

    Raises:
        ValueError: for a name that is no detector's.
    """
    if name == "centre":
        from lesionforge.jobs.tasks.detection.centre import CentreDetector, CentreSettings

        return CentreDetector(CentreSettings(**options), device)
    if name.startswith("yolo"):
        from lesionforge.jobs.tasks.detection.yolo import YoloDetector, YoloSettings

        return YoloDetector(YoloSettings(model=name, **options), device)
    raise ValueError(f"detector {name!r} is unknown; give centre, or an Ultralytics model such as yolo11n")


def load(path: Path, device: str = "cpu") -> Detector:
    """A detector from the file that its ``save`` wrote."""
    if path.suffix == ".safetensors":
        from lesionforge.jobs.tasks.detection.centre import CentreDetector

        return CentreDetector.load(path, device)
    from lesionforge.jobs.tasks.detection.yolo import YoloDetector

    return YoloDetector.load(path, device)
