"""Ultralytics YOLO behind the same interface: the paper's detector, on machines with a GPU.

Ultralytics is AGPL-3.0 and an extra (``lesionforge[yolo]``). It is kept off the network here: no telemetry, no weights,
no fonts, no packages are fetched.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lesionforge.generators.types import stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning import checkpoint
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.detection.frames import CLASSES, UNGRADED, Detections, Frame


@dataclass(frozen=True)
class YoloSettings:
    """DiGDA's: AdamW 2e-4, batch 32, 50 epochs, 512 px. An epoch is ``epoch_frames`` drawn frames in every arm.

    ``model``: an Ultralytics model such as ``yolo11n`` or ``yolo11l``, from scratch unless ``weights`` is a local file.
    """

    model: str = "yolo11n"
    weights: str | None = None
    rate: float = 2e-4
    batch: int = 32
    epochs: int = 50
    epoch_frames: int = 1000
    size: int = 512
    mosaic: float = 1.0
    most: int = 50
    overlap: float = 0.4


def _ultralytics() -> Any:
    """The library, told before it is imported to stay off the network and to unpickle no more than known classes."""
    if "YOLO_CONFIG_DIR" not in os.environ:
        os.environ["YOLO_CONFIG_DIR"] = tempfile.mkdtemp(prefix="lesionforge-yolo-")
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
    os.environ["ULTRALYTICS_SAFE_LOAD"] = "true"  # weights_only=True for its own files, too
    try:
        import ultralytics
        from ultralytics import utils
        from ultralytics.utils import SETTINGS, USER_CONFIG_DIR
    except ImportError:
        raise ValueError("YOLO needs Ultralytics (AGPL-3.0): install lesionforge[yolo]") from None
    if not getattr(utils, "SAFE_LOAD", False):
        raise ValueError("this Ultralytics would run code out of weights: install a newer one, import it later")
    SETTINGS.update({key: False for key, value in SETTINGS.items() if value is True})  # telemetry, trackers
    font = Path(str(USER_CONFIG_DIR)) / "Arial.ttf"
    if not font.exists():  # else it would be downloaded, though nothing is drawn
        from matplotlib import get_data_path

        shutil.copyfile(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", font)
    return ultralytics


class YoloDetector:
    """See ``Detector``."""

    def __init__(self, settings: YoloSettings, device: str = "cpu") -> None:
        self.settings, self.device = settings, device
        self._model: Any = None

    def fit(
        self,
        real: Sequence[Frame],
        synthetic: Sequence[Frame],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See ``Detector.fit``. Regions to ignore are painted over, as YOLO's loss cannot be masked.

        Ultralytics keeps a checkpoint after every epoch and resumes from it with weights, optimizer and average, but
        not with the state of its random numbers: what follows is augmented otherwise than it would have been.
        """
        s, yolo = self.settings, _ultralytics()
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UsageError("YOLO trains in one process: leave --workers away")
        if s.weights and not Path(s.weights).is_file():
            raise ValueError(f"weights {s.weights!r} are no file; give a local one, or none to train from scratch")
        with nullcontext(folder) if folder else tempfile.TemporaryDirectory(prefix="lesionforge-yolo-") as name:
            place = Path(name).absolute()
            if folder is not None:
                record = {**asdict(s), "seed": seed, "real_share": real_share}
                arrays = (part for frame in (*real, *synthetic) for part in frame.learnt_from)
                record["pixels and boxes (hash)"] = checkpoint.fingerprint(arrays)
                checkpoint.claim(place, record)
            last = place / "run" / "weights" / "last.pt"  # the last state, never the one that scored best
            model = self._started(last if last.is_file() else None)
            done = int(model.ckpt["epoch"]) + 1 if last.is_file() else 0  # 0 where it is stripped, as the last one is
            if not last.is_file() or 0 < done < s.epochs:
                shutil.rmtree(place / "data", ignore_errors=True)
                (place / "data").mkdir()
                data = _write(place / "data", real, synthetic, real_share, s.epoch_frames, seed)
                if progress:
                    model.add_callback(
                        "on_train_epoch_end",
                        lambda trainer: progress(trainer.epoch + 1, s.epochs, float(trainer.loss.detach())),
                    )
                model.train(
                    data=str(data),
                    **{"epochs": s.epochs, "batch": s.batch, "nbs": s.batch, "imgsz": s.size, "optimizer": "AdamW"},
                    **{"lr0": s.rate, "mosaic": s.mosaic, "seed": seed, "deterministic": True, "device": self.device},
                    **{"amp": False, "val": False, "plots": False, "workers": 0, "verbose": False},  # amp downloads
                    **{"project": str(place), "name": "run", "exist_ok": True, "pretrained": bool(s.weights)},
                    **({"resume": str(last)} if done else {}),
                )
            state = yolo.YOLO(last).model.float().state_dict()  # its moving average
        self._model = self._built(state)

    def _started(self, last: Path | None) -> Any:
        """An Ultralytics model to go on from a checkpoint, from weights, or from nothing."""
        s, yolo = self.settings, _ultralytics()
        try:
            return yolo.YOLO(last or s.weights or f"{s.model}.yaml", task="detect")
        except Exception as error:  # whatever damage or refused code makes of it
            what = f"weights {s.weights!r}" if s.weights else f"model {s.model!r}"
            raise ValueError(f"{what} cannot be loaded without running code from it: {type(error).__name__}") from None

    def _built(self, state: dict[str, Any]) -> Any:
        yolo = _ultralytics()
        from ultralytics.nn.tasks import DetectionModel

        net = DetectionModel(f"{self.settings.model}.yaml", nc=len(CLASSES), verbose=False)
        net.load_state_dict(state)
        net.names = dict(enumerate(CLASSES))
        model = yolo.YOLO(f"{self.settings.model}.yaml", task="detect")
        model.model = net.eval()
        return model

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """See ``Detector.predict``."""
        if self._model is None:
            raise ValueError("this detector has learnt nothing yet: fit or load it first")
        s, found = self.settings, []
        for image in images:
            picture = np.repeat(image[:, :, None], 3, axis=2)
            (said,) = self._model.predict(
                picture,
                **{"imgsz": s.size, "conf": 0.001, "iou": s.overlap, "max_det": s.most, "agnostic_nms": True},
                **{"device": self.device, "verbose": False},
            )
            boxes = said.boxes.cpu().numpy()
            scores = np.zeros((len(boxes.conf), len(CLASSES)), np.float32)
            scores[np.arange(len(scores)), boxes.cls.astype(int)] = boxes.conf
            found.append(Detections(boxes.xyxy.astype(np.float32), scores))
        return found

    def save(self, path: Path) -> None:
        """See ``Detector.save``: tensors and plain settings, readable with ``weights_only``."""
        if self._model is None:
            raise ValueError("this detector has learnt nothing yet: fit it first")
        settings = asdict(self.settings) | {"weights": None}
        torch.save({"settings": settings, "state": self._model.model.state_dict()}, path)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> YoloDetector:
        """From a file that ``save`` wrote.

        Raises:
            UsageError: where it is none.
        """
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            settings = YoloSettings(**stored["settings"])
        except Exception:  # of what is no such file, torch raises whatever its reader met
            raise UsageError(f"{path} is no file that lesionforge train detection wrote") from None
        detector = cls(settings, device)
        detector._model = detector._built(stored["state"])
        return detector


def _write(
    folder: Path, real: Sequence[Frame], synthetic: Sequence[Frame], share: float, count: int, seed: int
) -> Path:
    """A YOLO data set whose list names frames as often as one epoch shows them."""
    if not real or not synthetic:
        share = 1.0 if real else 0.0
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    names = [
        [_frame(folder, f"{kind}{i}", f) for i, f in enumerate(part)]
        for kind, part in zip("rs", (real, synthetic), strict=True)
    ]
    rng, lines = stream(f"yolo/{seed}".encode(), "order"), list[str]()
    for part, some in zip(names, (round(count * share), count - round(count * share)), strict=True):
        while some > 0:
            lines += [part[i] for i in rng.permutation(len(part))[:some]]
            some -= len(part)
    (folder / "train.txt").write_text("\n".join(lines))
    (folder / "val.txt").write_text(lines[0])  # Ultralytics wants one; nothing is chosen by it
    data = folder / "data.yaml"
    classes = "".join(f"  {k}: {name}\n" for k, name in enumerate(CLASSES))
    data.write_text(f"path: {folder}\ntrain: train.txt\nval: val.txt\nnames:\n{classes}")
    return data


def _frame(folder: Path, name: str, frame: Frame) -> str:
    if (frame.classes == UNGRADED).any():
        raise UsageError("YOLO learns severity classes: every lesion must be graded, or use the centre detector")
    image = frame.image.copy()
    rows, cols = image.shape
    for x0, y0, x1, y1 in frame.ignore.round().astype(int).clip(0):
        image[y0:y1, x0:x1] = np.median(image)
    path = folder / "images" / f"{name}.png"
    Image.fromarray(image).save(path, compress_level=1)
    x0, y0, x1, y1 = frame.boxes.T / np.array([cols, rows, cols, rows], np.float32)[:, None]
    rows_of = zip(frame.classes, (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, strict=True)
    lines = (f"{k} {x:.6f} {y:.6f} {w:.6f} {h:.6f}" for k, x, y, w, h in rows_of)
    (folder / "labels" / f"{name}.txt").write_text("\n".join(lines))
    return str(path)
