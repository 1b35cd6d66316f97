"""A network that learns from labelled scans and segments others."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from monai.losses.dice import DiceCELoss
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.unet import UNet
from numpy.typing import NDArray
from torch import Tensor, nn

from lesionforge.generators.lesion.learned.crop import unit
from lesionforge.generators.lesion.learned.settings import WINDOWS
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.learning import loop
from lesionforge.jobs.learning.checkpoint import filled, fingerprint, opened, write
from lesionforge.jobs.learning.loop import Progress
from lesionforge.jobs.tasks.segmentation.patches import Patches
from lesionforge.jobs.tasks.segmentation.scans import Scan, matches, same_spacing
from lesionforge.jobs.tasks.segmentation.settings import Settings
from lesionforge.jobs.tasks.segmentation.targets import classes_of


def build(settings: Settings, classes: int) -> nn.Module:
    """A fresh network of the papers, MONAI's: (n, 1, i, j, k) in, logits (n, 1 + classes, i, j, k) out.

    At the published sizes and two classes these are DiffTumor's: 4,807,482 and 16,538,563 parameters.
    """
    levels, out = len(settings.channels), 1 + classes
    if settings.network == "unet":
        return UNet(3, 1, out, settings.channels, [2] * (levels - 1), num_res_units=2)
    kernels, strides = [3] * levels, [1] + [2] * (levels - 1)
    return DynUNet(3, 1, out, kernels, strides, strides[1:], filters=settings.channels, norm_name="instance")


class Segmenter:
    """Segments the lesions of one domain.

    Args:
        settings: of the network.
        domain: ``ccta`` or ``abdomen``.
        device: torch device string.
    """

    def __init__(self, settings: Settings, domain: str, device: str = "cpu") -> None:
        self.settings, self.domain, self.device = settings, domain, torch.device(device)
        self.classes, self.window = classes_of(domain), WINDOWS[domain]
        self.spacing_mm = (0.0, 0.0, 0.0)  # of what it has learnt from
        self._net: nn.Module | None = None

    @property
    def parameters(self) -> int:
        """How many the network has."""
        with torch.device("meta"):
            return sum(p.numel() for p in build(self.settings, len(self.classes)).parameters())

    def fit(
        self,
        real: Sequence[Scan],
        synthetic: Sequence[Scan],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Train from scratch, the same number of steps whatever the scans are.

        Args:
            real, synthetic: scans; either may be empty.
            real_share: share of real scans' patches, where there are both.
            seed: of weights, patches and their augmentation.
            folder: keeps a checkpoint while it trains, and is resumed from where one is; None: nothing is kept.
            progress: called now and then.

        Raises:
            UsageError: where there is none, voxels have different sizes, or the folder was begun with other settings
                or scans.
        """
        if not real and not synthetic:
            raise UsageError("there is nothing to learn from: give real scans, synthetic ones or both")
        s = self.settings
        self.spacing_mm = same_spacing([*real, *synthetic])
        count, key = s.steps * s.batch, f"segmentation/{seed}"
        patches = Patches(real, synthetic, real_share, s.positive, key, s.patch, self.window, count)
        record: dict[str, Any] = {**asdict(s), "domain": self.domain, "seed": seed, "real_share": real_share}
        if folder is not None:
            scans = [part for scan in (*real, *synthetic) for part in (scan.hu, scan.target)]
            record |= {"scans": [len(real), len(synthetic)], "voxels and labels (hash)": fingerprint(scans)}
        training = loop.Training(s.steps, s.batch, str(self.device), folder, loaders=s.loaders)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            task = _Segmenting(s, build(s, len(self.classes)), len(self.classes))
            loop.run(training, task, patches, settings=record, free=("loaders",), progress=progress)
        self._net = task.net.eval()

    def predict(self, scan: Scan) -> NDArray[np.uint8]:
        """The label map (i, j, k) of a scan, values as in its target; its own labels are not looked at.

        Raises:
            UsageError: where its voxels are of another size than those learnt from.
        """
        net = self._fitted()
        if not matches(scan.spacing_mm, self.spacing_mm):
            mine, its = ([round(mm, 3) for mm in spacing] for spacing in (self.spacing_mm, scan.spacing_mm))
            raise UsageError(f"voxels are {its} mm, this network has learnt from {mine} mm: resample the source")
        image = torch.from_numpy(unit(scan.hu, self.window) / 2 + 0.5)[None, None]
        side = (self.settings.patch,) * 3
        with torch.inference_mode():
            logits: Tensor = sliding_window_inference(
                image,
                side,
                self.settings.batch,
                lambda window: _logits(net, window.to(self.device)),
                overlap=self.settings.overlap,
                mode="gaussian",
                sw_device=self.device,
                device=torch.device("cpu"),  # a whole body's logits may not fit beside the network
            )
        found: NDArray[np.uint8] = logits.argmax(1)[0].to(torch.uint8).numpy()
        return found

    def save(self, path: Path) -> None:
        """One safetensors file: the weights, and in its metadata all that ``load`` needs."""
        told = {"domain": self.domain, "spacing_mm": self.spacing_mm, "settings": asdict(self.settings)}
        weights = {name: value.contiguous().cpu() for name, value in self._fitted().state_dict().items()}
        write(weights, path, {"segmenter": json.dumps(told)})

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Segmenter:
        """From a file that ``save`` wrote.

        Raises:
            UsageError: where it is none.
        """
        with opened(path, "segmenter", "lesionforge train segmentation") as (told, weights):
            settings, (x, y, z) = Settings(**told["settings"]), map(float, told["spacing_mm"])
            net = filled(lambda: build(settings, len(classes_of(told["domain"]))), weights)
        made = cls(settings, told["domain"], device)
        made.spacing_mm = (x, y, z)
        made._net = _place(net, made.device).eval()
        return made

    def _fitted(self) -> nn.Module:
        if self._net is None:
            raise ValueError("this network has learnt nothing yet: fit or load it first")
        return self._net


class _Learning(nn.Module):  # type: ignore[misc]
    """Dice plus cross-entropy, as DiffTumor's; MONAI's own ``weight`` would be in the Dice as well."""

    def __init__(self, net: nn.Module, settings: Settings, classes: int) -> None:
        super().__init__()
        self.net = net
        self.criterion = DiceCELoss(
            to_onehot_y=True,
            softmax=True,
            squared_pred=True,
            smooth_nr=0,
            smooth_dr=1e-6,
            batch=settings.batch_dice,
        )
        weights = torch.tensor([1.0, *[settings.weight] * classes])
        self.criterion.cross_entropy = nn.CrossEntropyLoss(weight=weights)

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch."""
        loss: Tensor = self.criterion(_logits(self.net, batch["image"]), batch["target"])
        return loss


class _Segmenting(loop.Task):
    """The loop's task: AdamW, a warm-up and a cosine."""

    clip = None

    def __init__(self, settings: Settings, net: nn.Module, classes: int) -> None:
        self._settings, self.net = settings, net
        self.network = _Learning(net, settings, classes)

    def place(self, device: str) -> None:
        self.network.to(device)
        _place(self.net, device)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW(self.net.parameters(), lr=self._settings.rate, weight_decay=self._settings.decay)]

    def schedule(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self._settings.rate * _schedule(step - 1, self._settings)

    def on(self, batch: Any, device: str) -> dict[str, Any]:
        image, target = batch
        return {"image": image.to(device), "target": target.to(device)}


def _schedule(step: int, s: Settings) -> float:
    """MONAI's ``WarmupCosineSchedule``: from 0 to 1, then half a cosine to 0."""
    warmup = min(s.warmup, s.steps)
    if step < warmup:
        return step / max(1.0, warmup)
    done = (step - warmup) / max(1, s.steps - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * done)))


def _place(net: nn.Module, device: torch.device | str) -> nn.Module:
    return net.to(device, memory_format=torch.channels_last_3d)


def _logits(net: nn.Module, image: Tensor) -> Tensor:
    """bf16 where it is fast: on a GPU, and on a CPU that multiplies it in hardware."""
    fast = image.device.type == "cuda" or torch.cpu._is_amx_tile_supported()
    with torch.autocast(image.device.type, torch.bfloat16, enabled=fast):
        out: Tensor = net(image.contiguous(memory_format=torch.channels_last_3d))
    return out.float()
