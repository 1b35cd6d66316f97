"""What every detector is, whatever its network, and which there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import Learner
from lesionforge.jobs.tasks.detection.frames import Detections, Frame


class Detector(Learner[Frame], Protocol):
    """Learns from labelled frames, finds lesions on others."""

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Lesions found on each image, best first."""


def settings(model: str) -> Any:
    """A detector's own settings: of ``centre``, a RetinaNet, or an Ultralytics model such as ``yolo11n``.

    Raises:
        UsageError: for a model that is none.
    """
    if model == "centre":
        from lesionforge.jobs.tasks.detection.centre import CentreSettings

        return CentreSettings()
    if model.startswith("yolo"):
        from lesionforge.jobs.tasks.detection.yolo import YoloSettings

        return YoloSettings(model=model)
    from lesionforge.jobs.tasks.detection import retina

    if model in retina.MODELS:
        return retina.settings(model)
    there = ", ".join(["centre", *retina.MODELS])
    raise UsageError(f"detector {model!r} is unknown; give {there}, or an Ultralytics model such as yolo11n")


def build(settings: Any, device: str, cache: Path | None = None) -> Detector:
    """A fresh detector; ``cache``: folder where those that prepare their inputs keep them."""
    from lesionforge.jobs.tasks.detection.centre import CentreDetector, CentreSettings
    from lesionforge.jobs.tasks.detection.retina import RetinaDetector, RetinaSettings

    if isinstance(settings, CentreSettings | RetinaSettings):
        kept = replace(settings, cache=settings.cache or (None if cache is None else str(cache)))
        return CentreDetector(kept, device) if isinstance(kept, CentreSettings) else RetinaDetector(kept, device)
    from lesionforge.jobs.tasks.detection.yolo import YoloDetector

    return YoloDetector(settings, device)


def load(path: Path, device: str = "cpu") -> Detector:
    """A detector from the file that its ``save`` wrote."""
    if path.suffix != ".safetensors":
        from lesionforge.jobs.tasks.detection.yolo import YoloDetector

        return YoloDetector.load(path, device)
    from lesionforge.jobs.learning.checkpoint import opened
    from lesionforge.jobs.tasks.detection.centre import CentreDetector
    from lesionforge.jobs.tasks.detection.retina import RetinaDetector

    with opened(path, "settings", "lesionforge train detection") as (told, _):
        kind = RetinaDetector if "model" in told else CentreDetector
    return kind.load(path, device)
