"""Fitting the learned backends of the lesion generator: the autoencoder first, then a diffusion model on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lesionforge.generators.diffusion.batches import stacked
from lesionforge.generators.lesion.classes import CLASSES
from lesionforge.generators.lesion.learned.model import LesionModel, networks
from lesionforge.generators.lesion.learned.networks.vqgan import Discriminators
from lesionforge.generators.lesion.learned.settings import BEND_HU, BENT_WINDOW, PRESETS, WINDOWS, LesionSettings
from lesionforge.jobs import console
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit.cubes import Cubes
from lesionforge.jobs.fit.lesion_tasks import AutoencoderTask, DiffusionTask
from lesionforge.jobs.fit.losses import AutoencoderLoss, DiffusionLoss
from lesionforge.jobs.fit.settings import FitSettings, FitTask, conduct, setting
from lesionforge.jobs.fit.volumes import Volumes, ordered
from lesionforge.jobs.learning.loop import Items, Progress

HEALTHY_SHARE = 0.15  # of PromptLesion's cubes
ANYWHERE_SHARE = 0.5  # of the autoencoder's cubes
_LATENT, _CLASSED = ("vqgan", "classes", "levels"), ("classes", "levels")
_PROMPTED = (*_LATENT, "empty", "guidance")
FACTORS = {4: 2, 2: 1}  # levels of an autoencoder, by the voxels along each edge of its latents' cells
KINDS = {  # and the settings that each has beside those of every fit
    "vqgan": ("domain", "factor", "classes", "adversarial", "features"),
    "difftumor": _LATENT,
    "medddpm": ("domain", *_CLASSED),
    "promptlesion": _PROMPTED,
    "promptlesion-mask": _PROMPTED,
}
BATCH = {"difftumor": 8, "promptlesion": 8, "promptlesion-mask": 8}  # of the command; of others 4
VOXEL = {"steps": 1500, "batch": 16, "rate": 2e-3, "warmup": 50, "ema": 0.99, "every": 500, "loaders": 0}  # on a CPU
LEVELS = {"difftumor": 4, "medddpm": 250, "promptlesion": 200, "promptlesion-mask": 200}
DDIM_STEPS = 50  # of more levels than that, but for Med-DDPM
VOXEL_LEVELS, VOXEL_STEPS = 240, 6  # of the voxel preset, from noise alone
VOXEL_KINDS = ("promptlesion", "promptlesion-mask")
VOXEL_HAS = ("classes",)  # of ``KINDS``' settings
STRENGTH = 0.8  # of PromptLesion; the paper says partial and gives no number


@dataclass(frozen=True, kw_only=True)
class LesionFit(FitSettings):
    """How to fit; presets are those of ``generators.lesion.learned.settings``.

    Attributes:
        kind: ``vqgan`` or one of the backends; which of the settings it has, ``KINDS`` says.
    """

    kind: str
    vqgan: str | None = setting(None, "folder of the model that `lesionforge fit vqgan` wrote")
    domain: str = setting(
        "abdomen", "of the HU window: abdomen (-175 ... 250), ccta (-200 ... 900) or all (companded: calcium stays)"
    )
    factor: int = setting(4, "voxels along each edge of a latent cell: 4, as published, or 2, for what is small")
    classes: tuple[str, ...] = setting((), "of lesions, a list; none: all that the datasets' lesions have")
    levels: int | None = setting(None, "noise levels; none: the published number (DiffTumor: 200 for late tumours)")
    empty: float = setting(0.1, "share of prompts left away, for guidance")
    guidance: float = setting(1.0, "of the prompt against none when sampling, stored with the model; 1: none")
    adversarial: int = setting(10_000, "step from which the discriminators take part")
    features: str | None = setting(None, "VGG-16 as safetensors, for the perceptual loss; none: random features")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("kind", KINDS), ("preset", PRESETS), ("domain", WINDOWS)):
            self.choice(name, tuple(known))
        if self.factor not in FACTORS:
            raise UsageError(f"factor is {self.factor}: give {' or '.join(map(str, FACTORS))}")
        for name in self.classes:
            if name not in CLASSES[1:]:
                raise UsageError(f"classes: no class {name!r}, give some of {', '.join(CLASSES[1:])}")
        if PRESETS[self.preset].voxels:
            if self.kind not in VOXEL_KINDS:
                raise UsageError(f"preset {self.preset} is of {' and '.join(VOXEL_KINDS)}, not of {self.kind}")
        elif "vqgan" in KINDS[self.kind] and self.vqgan is None:
            raise UsageError(
                f"{self.kind} works on latents: give --set vqgan=FOLDER, the model that `lesionforge fit vqgan` wrote"
            )
        elif self.vqgan is not None:
            try:
                base = LesionSettings.load(Path(self.vqgan))
            except (OSError, ValueError) as error:
                raise UsageError(f"vqgan={self.vqgan}: {error}") from None
            if base.backend != "vqgan":
                raise UsageError(f"vqgan={self.vqgan} is of {base.backend}: give one that `fit vqgan` wrote")

    @property
    def scale(self) -> dict[str, Any]:
        """The HU that the networks tell apart, and where they are companded from."""
        return {"window": WINDOWS[self.domain], "bend_hu": BEND_HU if self.domain == "all" else 0.0}


def fit_lesion(
    settings: LesionFit,
    model: LesionModel | None = None,
    items: tuple[Items, Items] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Fit, from the checkpoint in ``out`` where there is one; the folder of the fitted model (moving average).

    Args:
        settings: how.
        model: to fit in place; default: a new one of the preset, for the datasets' classes and spacing.
        items: cubes to fit on and to hold out; default: those of the settings' datasets.
        progress: called after every step, on the first process.
    """
    volumes, classes = None, set(settings.classes)
    if model is None or items is None:
        volumes = Volumes(settings.data, "train")
        classes = _classes(settings, volumes)
        if model is None and PRESETS[settings.preset].voxels:  # classes may have voxels of their own
            own = volumes.spacings_mm
            model = new_model(settings, classes, next(iter(own.values())) if own else volumes.spacing_mm, own)
        model = model or new_model(settings, classes, volumes.spacing_mm)
        items = items or cubes(settings, model.settings, volumes, model.shape())
    task = (
        _autoencoder(model, settings)
        if settings.kind == "vqgan"
        else DiffusionTask(model, DiffusionLoss(model), settings, stacked)
    )
    if isinstance(task, DiffusionTask):
        task.volumes = volumes
    if isinstance(task, AutoencoderTask):
        task.held, task.classes = items[1], ordered(classes)
    return conduct(task, items, progress)


def _classes(settings: LesionFit, volumes: Volumes) -> set[str]:
    """Those to learn: the settings' own, or all of the volumes' lesions; it is told how many of these are left out.

    Raises:
        UsageError: for a class of the settings of which there is none.
    """
    volumes.holding(settings.classes)  # those of the settings are looked for
    if volumes.alone:
        some = ", ".join(f"{count} {kind}" for kind, count in sorted(volumes.alone.items()))
        console.note(f"lesions are left out, near which no voxel of their organ or vessel is labelled: {some}")
    if lacking := [name for name in settings.classes if name not in volumes.learnable]:
        there = ", ".join(ordered(volumes.learnable)[1:]) or "none"
        raise UsageError(
            f"classes: the data have no lesion of {', '.join(lacking)} to learn from, but of {there}: leave that "
            "class away, or give data that have some"
        )
    return set(settings.classes) or volumes.learnable


def new_model(
    settings: LesionFit,
    classes: set[str],
    spacing_mm: tuple[float, float, float],
    spacings_mm: Mapping[str, tuple[float, float, float]] | None = None,
) -> LesionModel:
    """The model that a fit starts from.

    Args:
        settings: how.
        classes: of the lesions in the datasets, unless the settings name some.
        spacing_mm: of the voxels.
        spacings_mm: of those of each class, where they differ.
    """
    preset = PRESETS[settings.preset]
    kind = settings.kind
    common: dict[str, Any] = {"preset": settings.preset, "side": preset.side, "spacing_mm": spacing_mm}
    if kind == "vqgan":
        size = {**preset.vqgan, "levels": FACTORS[settings.factor]}
        own = LesionSettings(kind, networks={"vqgan": size}, **settings.scale, **common)
        return LesionModel.new(own, settings.seed)
    names = ordered(set(settings.classes) or classes)
    if len(names) < 2:
        raise UsageError(
            f"no lesion to learn from in {', '.join(settings.data)}: give data with lesions, and with their organs or "
            "vessels labelled beside them"
        )
    base, scale, given = None, settings.scale, networks(kind, preset, len(names))
    if "vqgan" in given:
        base = _fitted_vqgan(settings, spacing_mm)
        scale = {"window": base.settings.window, "bend_hu": base.settings.bend_hu}
        given["vqgan"] = dict(base.settings.networks["vqgan"])
        if base.settings.side != preset.side or given["vqgan"]["dim"] != preset.vqgan["dim"]:
            raise UsageError(f"vqgan={settings.vqgan} is of preset {base.settings.preset}, not {settings.preset}")
    levels = settings.levels or LEVELS[kind]
    if preset.voxels:
        own = LesionSettings(
            kind, window=BENT_WINDOW, bend_hu=BEND_HU, networks=given, classes=names, levels=VOXEL_LEVELS,
            steps=VOXEL_STEPS, spacings_mm=dict(spacings_mm or {}), **common,
        )  # fmt: skip
        return LesionModel.new(own, settings.seed)
    few = kind == "medddpm" or levels <= DDIM_STEPS or levels % DDIM_STEPS
    own = LesionSettings(
        kind, **scale, networks=given, classes=names, levels=levels, steps=levels if few else DDIM_STEPS,
        strength=STRENGTH if kind.startswith("promptlesion") else 1.0, guidance=settings.guidance, **common,
    )  # fmt: skip
    return LesionModel.new(own, settings.seed, base)


def _fitted_vqgan(settings: LesionFit, spacing_mm: tuple[float, float, float]) -> LesionModel:
    try:
        base = LesionModel.load(Path(settings.vqgan or ""))
    except (OSError, ValueError) as error:
        raise UsageError(f"vqgan={settings.vqgan}: {error}") from None
    if not np.allclose(base.settings.spacing_mm, spacing_mm, rtol=0.15):
        raise UsageError(f"vqgan is of voxels {base.settings.spacing_mm} mm, the datasets of {spacing_mm} mm")
    return base


def cubes(settings: LesionFit, own: LesionSettings, volumes: Volumes, shape: tuple[int, ...]) -> tuple[Items, Items]:
    """Cubes to fit on, and to hold out: of the split ``val`` where the datasets have one, else of ``train``."""
    autoencoder = own.backend == "vqgan"
    classes = own.classes or ordered(set(settings.classes) or volumes.learnable)
    noise = None if autoencoder else (shape, own.levels)
    healthy = 1.0 if len(classes) < 2 else ANYWHERE_SHARE if autoencoder else HEALTHY_SHARE * own.prompted
    if own.whole:  # what is not hidden is never its to make
        healthy = 0.0
    held, key = _held_out(settings, classes) or (volumes, f"fit/held/{settings.seed}")
    given: Mapping[str, Any] = {
        "side": own.side, "window": own.window, "classes": classes, "noise": noise, "halo_mm": own.halo_mm,
        "bend_hu": own.bend_hu, "level": own.whole,
    }  # fmt: skip
    empty = settings.empty if own.prompted and not own.whole else 0.0
    train, other = (
        Cubes(some, name, healthy=healthy, empty=drop, among=some.holding(classes), **given)
        for some, name, drop in ((volumes, f"fit/train/{settings.seed}", empty), (held, key, 0.0))
    )
    return train, other


def _held_out(settings: LesionFit, classes: Sequence[str]) -> tuple[Volumes, str] | None:
    """The volumes of the split ``val``, and the key of their cubes; None where it has none with such a lesion."""
    try:
        found, lacks = Volumes(settings.data, "val"), f"lesion of {', '.join(classes[1:])} in the split val"
        if len(classes) < 2 or found.holding(classes):
            return found, f"fit/val/{settings.seed}"
    except UsageError:
        lacks = "split val in the datasets"
    console.note(f"no {lacks}: the held-out loss is of other cubes of the training volumes")
    return None


def _autoencoder(model: LesionModel, settings: LesionFit) -> FitTask:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed + 1)
        discriminators = Discriminators(**PRESETS[settings.preset].discriminators)
    features = Path(settings.features) if settings.features else None
    try:
        network = AutoencoderLoss(model, discriminators, features, settings.adversarial)
    except (OSError, ValueError) as error:
        raise UsageError(f"features={settings.features}: {error}") from None
    return AutoencoderTask(model, network, settings, stacked)
