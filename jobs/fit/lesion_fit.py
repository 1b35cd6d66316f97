"""Fitting the learned backends of the lesion generator: the autoencoder first, then a diffusion model on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from lesionforge.generators.diffusion.batches import stacked
from lesionforge.generators.lesion.learned.model import LesionModel, networks
from lesionforge.generators.lesion.learned.networks.vqgan import Discriminators
from lesionforge.generators.lesion.learned.sample import LesionSampler
from lesionforge.generators.lesion.learned.settings import BACKENDS, PRESETS, WINDOWS, LesionSettings
from lesionforge.generators.types import stream
from lesionforge.jobs import console
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit import volume_sheet
from lesionforge.jobs.fit.lesion_networks import Autoencoding, Diffusing
from lesionforge.jobs.fit.lesions import Cubes, Volumes, ordered
from lesionforge.jobs.learning import loop
from lesionforge.jobs.learning.loop import Item, Items, Step

HEALTHY_SHARE = 0.15  # of PromptLesion's cubes
ANYWHERE_SHARE = 0.5  # of the autoencoder's cubes
LEVELS = {"difftumor": 4, "medddpm": 250, "promptlesion": 200, "promptlesion-mask": 200}
DDIM_STEPS = 50  # of more levels than that, but for Med-DDPM
STRENGTH = 0.8  # of PromptLesion; the paper says partial and gives no number


@dataclass(frozen=True)
class LesionFitConfig:
    """How to fit; what is not said here is said in ``jobs.learning.loop.Config``.

    Attributes:
        kind: ``vqgan`` or one of the backends.
        data: datasets made by the ``lesion`` generator.
        preset: of ``lesionforge.generators.lesion.learned.settings``.
        vqgan: folder of the fitted autoencoder, for those that work on its latents.
        domain: of the HU window, ``abdomen`` or ``ccta``; on latents the autoencoder's counts.
        classes: of lesions; empty: all that the generator drew in the datasets.
        levels: noise levels; None: the published number (DiffTumor 4 for early, 200 for late tumours).
        empty: share of prompts left away, for guidance.
        guidance: of the sampler, stored with PromptLesion's model.
        adversarial: step from which the autoencoder's discriminators take part.
        features: VGG-16 as safetensors, for the perceptual loss; None: random features.
        seed: of weights and cubes.
    """

    kind: str
    data: tuple[str, ...]
    out: str
    preset: str = "small"
    vqgan: str | None = None
    domain: str = "abdomen"
    classes: tuple[str, ...] = ()
    levels: int | None = None
    empty: float = 0.1
    guidance: float = 1.0
    adversarial: int = 10_000
    features: str | None = None
    steps: int = 20_000
    batch: int = 4
    rate: float = 1e-4
    warmup: int = 500
    ema: float = 0.9995
    precision: Literal["no", "bf16"] = "bf16"
    every: int = 1000
    loaders: int = 2
    seed: int = 0
    cpu: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("kind", self.kind, ("vqgan", *BACKENDS)),
            ("preset", self.preset, tuple(PRESETS)),
            ("domain", self.domain, tuple(WINDOWS)),
            ("precision", self.precision, ("no", "bf16")),
        ):
            if value not in known:
                raise UsageError(f"{name} is {value!r}: give one of {', '.join(known)}")
        for name in ("steps", "batch", "every", "levels", "adversarial"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}: give 1 or more")
        for name in ("ema", "empty"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}: give 0 or more, below 1")
        latent = self.kind not in ("vqgan", "medddpm")
        if latent and self.vqgan is None:
            raise UsageError(
                f"{self.kind} works on latents: give --vqgan, the model that `lesionforge fit vqgan` wrote"
            )

    @property
    def window(self) -> tuple[float, float]:
        return WINDOWS[self.domain]


def fit_lesion(
    config: LesionFitConfig,
    model: LesionModel | None = None,
    items: tuple[Items, Items] | None = None,
    tell: Callable[[Step], None] = lambda _: None,
) -> Path:
    """Fit, from the checkpoint in ``out`` where there is one; the folder of the fitted model (moving average).

    Args:
        config: how.
        model: to fit in place; default: a new one of the preset, for the datasets' classes and spacing.
        items: cubes to fit on and to hold out; default: those of the config's datasets.
        tell: called after every step with step, losses and seconds, on the first process.
    """
    accelerator = loop.begin(config, partly=config.kind == "vqgan")
    if model is None or items is None:
        volumes = Volumes(config.data, "train")
        model = model or new_model(config, volumes.classes, volumes.spacing_mm)
        items = items or cubes(config, model.settings, volumes, model.shape())
    model.to(str(accelerator.device))
    task = _Autoencoder(model, config) if config.kind == "vqgan" else _Diffusion(model)
    task.network.to(accelerator.device)
    return loop.run(accelerator, config, task, *items, tell)


def new_model(config: LesionFitConfig, classes: set[str], spacing_mm: tuple[float, float, float]) -> LesionModel:
    """The model that a fit starts from.

    Args:
        config: how.
        classes: of the lesions in the datasets, unless the config names some.
        spacing_mm: of the voxels.
    """
    preset = PRESETS[config.preset]
    kind = config.kind
    common: dict[str, Any] = {"preset": config.preset, "side": preset.side, "spacing_mm": spacing_mm}
    if kind == "vqgan":
        own = LesionSettings(kind, window=config.window, networks={"vqgan": dict(preset.vqgan)}, **common)
        return LesionModel.new(own, config.seed)
    names = ordered(set(config.classes) or classes)
    if len(names) < 2:
        raise UsageError(f"no lesions of ours in {', '.join(config.data)}: give --classes, or datasets with lesions")
    base, window, given = None, config.window, networks(kind, preset, len(names))
    if "vqgan" in given:
        base = _autoencoder(config, spacing_mm)
        window = base.settings.window
        given["vqgan"] = dict(base.settings.networks["vqgan"])
        if base.settings.side != preset.side or given["vqgan"]["dim"] != preset.vqgan["dim"]:
            raise UsageError(f"--vqgan {config.vqgan} is of preset {base.settings.preset}, not {config.preset}")
    levels = config.levels or LEVELS[kind]
    few = kind == "medddpm" or levels <= DDIM_STEPS or levels % DDIM_STEPS
    own = LesionSettings(
        kind, window=window, networks=given, classes=names, levels=levels, steps=levels if few else DDIM_STEPS,
        strength=STRENGTH if kind.startswith("promptlesion") else 1.0, guidance=config.guidance, **common,
    )  # fmt: skip
    return LesionModel.new(own, config.seed, base)


def _autoencoder(config: LesionFitConfig, spacing_mm: tuple[float, float, float]) -> LesionModel:
    try:
        base = LesionModel.load(Path(config.vqgan or ""))
    except (OSError, ValueError) as error:
        raise UsageError(f"--vqgan: {error}") from None
    if base.settings.backend != "vqgan":
        raise UsageError(f"--vqgan {config.vqgan} is of {base.settings.backend}: give one that `fit vqgan` wrote")
    if not np.allclose(base.settings.spacing_mm, spacing_mm, rtol=0.15):
        raise UsageError(f"--vqgan is of voxels {base.settings.spacing_mm} mm, the datasets of {spacing_mm} mm")
    return base


def cubes(
    config: LesionFitConfig, own: LesionSettings, volumes: Volumes, shape: tuple[int, ...]
) -> tuple[Items, Items]:
    """Cubes to fit on, and to hold out: of the split ``val`` where the datasets have one, else of ``train``."""
    autoencoder = own.backend == "vqgan"
    classes = own.classes or ordered(set(config.classes) or volumes.classes)
    noise = None if autoencoder else (shape, own.levels)
    healthy = 1.0 if len(classes) < 2 else ANYWHERE_SHARE if autoencoder else HEALTHY_SHARE * own.prompted
    try:
        other, key = Volumes(config.data, "val"), f"fit/val/{config.seed}"
    except UsageError:
        console.err.print("no split val in the datasets: the held-out loss is of other cubes of the training volumes")
        other, key = volumes, f"fit/held/{config.seed}"
    given: Mapping[str, Any] = {"side": own.side, "window": own.window, "classes": classes, "noise": noise}
    empty = config.empty if own.prompted else 0.0
    train = Cubes(volumes, f"fit/train/{config.seed}", healthy=healthy, empty=empty, **given)
    return train, Cubes(other, key, healthy=healthy, **given)


class _Task:
    network: Any

    def __init__(self, model: LesionModel) -> None:
        self.model = model

    def collate(self, rows: Sequence[Item]) -> dict[str, Any]:
        return stacked(rows, "cpu")

    def on(self, batch: Mapping[str, Any], device: str) -> dict[str, Any]:
        return {name: part.to(device, non_blocking=True) for name, part in batch.items()}

    def save(self, folder: Path) -> None:
        self.model.save(folder)


class _Autoencoder(_Task):
    """Adam (0.5, 0.9) for the autoencoder and for its discriminators, as DiffTumor has it."""

    def __init__(self, model: LesionModel, config: LesionFitConfig) -> None:
        super().__init__(model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed + 1)
            discriminators = Discriminators(**PRESETS[config.preset].discriminators)
        features = Path(config.features) if config.features else None
        try:
            self.network = Autoencoding(model, discriminators, features, config.adversarial)
        except (OSError, ValueError) as error:
            raise UsageError(f"--features: {error}") from None

    def optimizers(self, rate: float) -> list[Any]:
        parts = self.network.averaged(), list(self.network.discriminators.parameters())
        return [torch.optim.Adam(part, lr=rate, betas=(0.5, 0.9)) for part in parts]

    def look(self, batch: Mapping[str, Any], picture: Path) -> float:
        image = batch["image"]
        made = torch.cat([self.model.vqgan(one)[0] for one in image.split(1)])
        rows = {"real": image, "made": made, "difference": (made - image).abs() - 1}
        volume_sheet.write(picture, rows, torch.zeros_like(image))
        return float((made - image).abs().mean())


class _Diffusion(_Task):
    def __init__(self, model: LesionModel) -> None:
        super().__init__(model)
        self.network = Diffusing(model)

    def optimizers(self, rate: float) -> list[Any]:
        return [torch.optim.AdamW(self.network.averaged(), lr=rate)]

    def look(self, batch: Mapping[str, Any], picture: Path) -> float:
        own, image, device = self.model.settings, batch["image"], batch["image"].device
        loss = float(self.network(batch).mean())
        rngs = [stream(b"sheet", str(n)) for n in range(len(image))]

        def draw() -> Any:
            return torch.from_numpy(np.stack([r.standard_normal(self.model.shape(), np.float32) for r in rngs])).to(
                device
            )

        made = LesionSampler(own.steps, own.strength, own.guidance)(self.model, batch, draw)
        pasted = torch.where(batch["hole"] > 0, made, image)
        volume_sheet.write(picture, {"real": image, "shown": batch["shown"], "made": pasted}, batch["hole"])
        return loss
