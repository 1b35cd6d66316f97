"""RetinaNet as a detector: the two-step paper's, CORE320's, and one that a CPU can train."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning import loop
from lesionforge.jobs.learning.checkpoint import fingerprint, opened, write
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.detection import drawing
from lesionforge.jobs.tasks.detection.frames import CLASSES, Detections, Frame
from lesionforge.jobs.tasks.detection.inputs import FRAME, SIZE, InputCache, scale
from lesionforge.jobs.tasks.detection.retinanet import Backbone, Cost, Retina, Shape


@dataclass(frozen=True)
class RetinaSettings:
    """The two-step paper's, unless said otherwise: 3,500 steps of SGD with momentum and L2, one rate throughout.

    Attributes:
        model: whose settings these are, see ``MODELS``.
        init: file with the backbone's weights (safetensors, or a state dict of torch); none: from scratch.
        optimizer, rate, momentum, decay, warmup, last_rate, clip, average: how it learns; see ``drawing.Plan``.
        least: score below which nothing is found. Measures at a fixed score have their own.
        overlap: IoU above which the weaker of two boxes goes.
        most: boxes of a frame.
        cache: folder where inputs are kept between runs; none to keep nothing.

    The others are ``retinanet.Shape``'s and ``retinanet.Cost``'s.
    """

    model: str = "retinanet"
    backbone: Backbone = "resnet50"
    width: int = 256
    norm: int = 0
    size: int = FRAME
    ratios: tuple[float, ...] = (1.0, 0.5, 2.0, 4.0)
    scales: tuple[float, ...] = (1.0, 2**0.5, 2.0)
    alpha: float = 0.25
    gamma: float = 2.0
    sigma: float = 1.0
    init: str | None = None
    steps: int = 3500
    batch: int = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    rate: float = 8e-4
    momentum: float = 0.9
    decay: float = 4e-4
    warmup: int = 50
    last_rate: float = 1.0
    clip: float = 10.0
    average: float = 0.99
    least: float = 0.05
    overlap: float = 0.5
    most: int = 50
    cache: str | None = None

    def __post_init__(self) -> None:
        for name in ("ratios", "scales"):
            given = getattr(self, name)
            object.__setattr__(self, name, tuple(given) if isinstance(given, list | tuple) else (given,))
        if self.backbone not in ("resnet50", "resnet18", "inception", "thin"):
            raise UsageError(f"backbone is {self.backbone!r}: give resnet50, resnet18, inception or thin")
        if self.backbone == "thin" and self.size != SIZE:
            raise UsageError(f"size is {self.size}: backbone thin sees {SIZE} pixels")
        if not 128 <= self.size <= 1024 or self.size % 128 or not 16 <= self.width <= 512:
            raise UsageError(f"size {self.size}, width {self.width}: give 128, 256 ... 1024 and 16 to 512")
        if self.norm and self.width % self.norm:
            raise UsageError(f"norm is {self.norm}: it must divide width, {self.width}")
        if self.optimizer not in ("sgd", "adamw"):
            raise UsageError(f"optimizer is {self.optimizer!r}: give sgd or adamw")


_CPU: Final = {"optimizer": "adamw", "rate": 2e-3, "decay": 0.05, "last_rate": 0.02, "clip": 5.0, "batch": 16}
MODELS: Final[Mapping[str, Mapping[str, Any]]] = {
    "retinanet": {},
    "retinanet-small": {"backbone": "thin", "width": 64, "norm": 8, "size": SIZE, "steps": 1200, **_CPU},
    "fpn": {  # CORE320's; 500 rounds of 690 frames
        **{"backbone": "inception", "ratios": (0.5, 1.0, 2.0), "scales": (1.0, 2 ** (1 / 3), 2 ** (2 / 3))},
        **{"alpha": 0.1, "gamma": 4.0, "sigma": 3.0, "optimizer": "adamw", "rate": 1e-4, "decay": 0.0},
        **{"batch": 8, "steps": 43_125},
    },
}


def settings(model: str) -> RetinaSettings:
    """Those of one of ``MODELS``."""
    return RetinaSettings(model=model, **MODELS[model])


class RetinaDetector:
    """See ``Detector``. It tells no grades: a score is halved between them."""

    def __init__(self, settings: RetinaSettings, device: str = "cpu") -> None:
        self.settings, self.device = settings, torch.device(device)
        self._cache = InputCache(Path(settings.cache) if settings.cache else None)
        self._net: Retina | None = None

    def fit(
        self,
        real: Sequence[Frame],
        synthetic: Sequence[Frame],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """See ``Detector.fit``."""
        s = self.settings
        rng = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = _built(s)
            if s.init:
                initialise(net, Path(s.init))
            frames = [*real, *synthetic]
            order = drawing.order(len(real), len(synthetic), real_share, s.steps * s.batch, rng)
            pictures = drawing.Pictures(self._inputs([frame.image for frame in frames]), frames, order)
            record: dict[str, Any] = {**asdict(s), "seed": seed, "real_share": real_share, "frames": len(frames)}
            if folder is not None:
                record["pixels and boxes (hash)"] = fingerprint(part for frame in frames for part in frame.learnt_from)
            training = loop.Training(s.steps, s.batch, str(self.device), folder)
            loop.run(training, _Boxes(net, s, rng), pictures, settings=record, free=("cache",), progress=progress)
        self._net = net.eval()

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """See ``Detector.predict``."""
        if self._net is None:
            raise ValueError("this detector has learnt nothing yet: fit or load it first")
        s, found = self.settings, []
        for start in range(0, len(images), s.batch):
            some = images[start : start + s.batch]
            x = self._inputs(some).to(self.device).float().contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                said = self._net.boxes(x, s.least, s.overlap, s.most)
            for (boxes, scores), image in zip(said, some, strict=True):
                ratio = scale(image) * s.size / FRAME
                both = (scores / len(CLASSES))[:, None].expand(-1, len(CLASSES))
                found.append(Detections((boxes / ratio).cpu().numpy(), both.cpu().numpy()))
        return found

    def save(self, path: Path) -> None:
        """See ``Detector.save``: a safetensors file, the settings in its metadata."""
        if self._net is None:
            raise ValueError("this detector has learnt nothing yet: fit it first")
        weights = {name: value.contiguous().cpu() for name, value in self._net.state_dict().items()}
        write(weights, path, {"settings": json.dumps(asdict(self.settings) | {"cache": None, "init": None})})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> RetinaDetector:
        """From a file that ``save`` wrote.

        Raises:
            UsageError: where it is none.
        """
        with opened(path, "settings", "lesionforge train detection") as (told, weights):
            detector = cls(RetinaSettings(**told), device)
            net = _built(detector.settings)
            net.load_state_dict(weights)
        detector._net = net.to(detector.device, memory_format=torch.channels_last).eval()
        return detector

    def _inputs(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Float16 (n, 2, 256, 256) as the centre-point detector sees them, or grey (n, 1, size, size)."""
        if self.settings.backbone == "thin":
            return self._cache.stack(images)
        out = torch.empty((len(images), 1, self.settings.size, self.settings.size), dtype=torch.float16)
        for row, image in zip(out, images, strict=True):
            row.copy_(grey(image, self.settings.size))
        return out


def grey(image: NDArray[np.uint8], size: int) -> Tensor:
    """The frame, brought to a longest side of ``size`` and less its mean over its deviation: float (1, size, size).

    Below or beside a frame that is no square are zeros.
    """
    picture = torch.from_numpy(np.array(image, np.float32))[None, None]
    rows, cols = (round(side * size / max(image.shape)) for side in image.shape)
    picture = F.interpolate(picture, (rows, cols), mode="bilinear", antialias=True, align_corners=False)
    picture = (picture - picture.mean()) / (picture.std() + 1e-3)
    return F.pad(picture, (0, size - cols, 0, size - rows))[0]


def initialise(net: Retina, file: Path) -> None:
    """Give the backbone the weights of a file, whatever stands before their names: a classifier's, or ImageNet's.

    Raises:
        UsageError: the file cannot be read without running code from it, or lacks some of the backbone.
    """
    body, given = net.net.backbone.body, dict(_tensors(file))
    own = {name: value.shape for name, value in body.state_dict().items() if not name.endswith("num_batches_tracked")}
    first = next(iter(own))
    for before in (key.removesuffix(first) for key in given if key == first or key.endswith(f".{first}")):
        if all(before + name in given and given[before + name].shape == shape for name, shape in own.items()):
            body.load_state_dict({name: given[before + name] for name in own}, strict=False)
            return
    raise UsageError(
        f"init: {file} does not hold the weights of {net.shape.backbone}: give such, or other --set backbone"
    )


def _tensors(file: Path) -> Iterator[tuple[str, Tensor]]:
    from safetensors.torch import load_file

    try:
        held = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
        yield from ((name, value) for name, value in held.items() if isinstance(value, Tensor))
    except Exception as error:  # of what is no such file, torch raises whatever its reader met
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"init: {file} holds no weights that can be read without running code ({why})") from None


def _built(s: RetinaSettings) -> Retina:
    shape = Shape(s.backbone, s.width, s.norm, s.size, s.ratios, s.scales)
    return Retina(shape, Cost(s.alpha, s.gamma, s.sigma))


class _Boxes(drawing.Learnt):
    """The loop's task."""

    def __init__(self, net: Retina, settings: RetinaSettings, rng: torch.Generator) -> None:
        super().__init__(net, settings, rng)
        self.network, self._settings = net, settings

    def optimizers(self) -> list[torch.optim.Optimizer]:
        s = self._settings
        if s.optimizer == "adamw":
            return [drawing.adamw(self.net, s.rate, s.decay)]
        learning = [p for p in self.net.parameters() if p.requires_grad]
        return [torch.optim.SGD(learning, s.rate, s.momentum, weight_decay=s.decay)]

    def goal(
        self, boxes: list[Tensor], classes: list[Tensor], ignore: list[Tensor], device: str
    ) -> list[tuple[Tensor, Tensor]]:
        """Boxes whose middle is in the picture, and regions to ignore."""
        seen = [own[_within((own[:, :2] + own[:, 2:]) / 2, self._settings.size)] for own in boxes]
        return [(own.to(device), blind.to(device)) for own, blind in zip(seen, ignore, strict=True)]


def _within(middle: Tensor, size: int) -> Tensor:
    inside: Tensor = ((middle >= 0) & (middle < size)).all(1)
    return inside
