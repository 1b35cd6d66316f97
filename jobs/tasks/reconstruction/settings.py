"""The learners by name: where each is, and its settings as they are unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from lesionforge.jobs.errors import UsageError

_MODELS = "lesionforge.jobs.tasks.reconstruction.models"
_PRESETS = ("paper", "small", "tiny")


@dataclass(frozen=True)
class NetSettings:
    """What all networks have.

    Attributes:
        network: its name.
        steps, batch: of the optimizer, and trees of each.
        rate, decay, warmup: the learning rate at its highest, weight decay, steps over which the rate rises; then it
            falls as a cosine.
        average: how much of the weights' moving average, which predicts, a step keeps.
        held: share of the subjects that are not learnt from: they choose the threshold.
        loaders: processes that read and prepare pairs ahead; 0 does so between the steps.
    """

    network: str
    steps: int = 1500
    batch: int = 1
    rate: float = 3e-3
    decay: float = 0.01
    warmup: int = 50
    average: float = 0.99
    held: float = 0.1
    loaders: int = 0

    def __post_init__(self) -> None:
        _above_zero(self, "steps", "batch", "rate", "warmup")
        _not_negative(self, "loaders")
        _share(self, "held")


@dataclass(frozen=True)
class SparseSettings(NetSettings):
    """The sparse network; ``channels``: of its levels, the finest first."""

    network: str = "sparse"
    steps: int = 3000
    channels: tuple[int, ...] = (32, 48, 64)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "channels", tuple(self.channels))


@dataclass(frozen=True)
class DenseSettings(NetSettings):
    """Of a 3-D U-Net on back-projections; ``preset``: of its size, ``paper``, ``small`` or ``tiny``."""

    batch: int = 2
    preset: str = "tiny"

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of(self, "preset", _PRESETS)


@dataclass(frozen=True)
class UNetSettings(DenseSettings):
    """The U-Net by itself; ``weight``: of the tree's cells in the cross-entropy."""

    network: str = "unet"
    weight: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _above_zero(self, "weight")


@dataclass(frozen=True)
class WganSettings(DenseSettings):
    """The Wasserstein GAN with gradient penalty.

    Attributes:
        turns: of the critic at each of the generator's.
        absolute, adversarial, penalty: weights of the mean absolute difference and of the critic's word in the
            generator's loss, and of the gradient penalty in the critic's.
    """

    network: str = "wgan"
    steps: int = 900
    decay: float = 0.0
    turns: int = 2
    absolute: float = 100.0
    adversarial: float = 1.0
    penalty: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _above_zero(self, "turns")
        _not_negative(self, "absolute", "adversarial", "penalty")


@dataclass(frozen=True)
class ViterbiSettings:
    """Of depth along the vessels without learning.

    Attributes:
        step_mm: between depths that are tried, and between points of a vessel.
        far_mm, unlike: most that a point costs for its distance (mm) from another view's centreline, and for the
            logarithm of the radii's ratio; together what a point outside of a view costs.
        smooth, jump: what neighbours cost for each mm^2 of difference in depth, and at most.
        gap_mm: neighbours nearer than this have points between them.
        margin, soft: cells from a vessel's wall where it is as likely as not, and over which that changes.
        held: share of the subjects, which choose the threshold.
    """

    network: str = "viterbi"
    step_mm: float = 0.5
    far_mm: float = 3.0
    unlike: float = 1.5
    smooth: float = 0.5
    jump: float = 4.0
    gap_mm: float = 5.0
    margin: float = 0.4
    soft: float = 0.2
    held: float = 0.1

    def __post_init__(self) -> None:
        _above_zero(self, "step_mm", "far_mm", "soft")
        _share(self, "held")


@dataclass(frozen=True)
class XraDiffSettings(NetSettings):
    """XRA-Diff's diffusion model.

    Attributes:
        preset: of the network's sizes, ``paper``, ``small`` or ``tiny``; how it learns stays as it is.
        told: ``all`` of the views, their ``hull`` alone (the paper's "no projections"), or ``nothing``.
        prediction: of the network: ``epsilon``, the noise, as the paper's; ``sample``, the tree; ``v_prediction``, both
            (Salimans & Ho 2022).
        within: outside the hull nothing is: the loss leaves it out, samples have it so at each step. Not the paper's.
        drop: share of the trees of which it is told nothing while it learns.
        levels, guidance, samples: steps from noise to tree, weight of what is told (0 forgets it, 1 takes it as it is),
            and trees whose mean is taken.
    """

    network: str = "xradiff"
    steps: int = 800
    rate: float = 1.5e-3
    preset: str = "tiny"
    told: str = "all"
    prediction: str = "sample"
    within: bool = True
    drop: float = 0.1
    levels: int = 10
    guidance: float = 1.0
    samples: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of(self, "preset", _PRESETS)
        _one_of(self, "told", ("all", "hull", "nothing"))
        _one_of(self, "prediction", ("epsilon", "v_prediction", "sample"))
        if self.within and self.told == "nothing":
            raise UsageError("within is the hull, of which a network is told nothing: give within=false, or told=hull")
        if not 0 <= self.drop < 1:
            raise UsageError(f"drop is {self.drop}: give 0 or more, below 1")
        if not 1 <= self.levels <= 1000:
            raise UsageError(f"levels is {self.levels}: give 1 to 1000")
        _above_zero(self, "samples")


@dataclass(frozen=True)
class NothingSettings:
    """Of a method that learns nothing."""

    network: str


_XRADIFF = "xradiff_learner:XraDiffLearner"

# Name: module:class of ``models``, and its settings.
LEARNERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "sparse": ("sparse_learner:SparseLearner", SparseSettings),
    "unet": ("unet:UNetLearner", UNetSettings),
    "unet-small": ("unet:UNetLearner", lambda: UNetSettings("unet-small", steps=1400, preset="small")),
    "unet-paper": ("unet:UNetLearner", lambda: UNetSettings("unet-paper", steps=80_000, rate=1e-4, preset="paper")),
    "wgan": ("wgan:WganLearner", WganSettings),
    "wgan-small": ("wgan:WganLearner", lambda: WganSettings("wgan-small", steps=500, preset="small")),
    "viterbi": ("viterbi:ViterbiLearner", ViterbiSettings),
    "xradiff": (_XRADIFF, XraDiffSettings),
    "xradiff-no-projections": (_XRADIFF, lambda: XraDiffSettings("xradiff-no-projections", told="hull")),
    "xradiff-nothing": (_XRADIFF, lambda: XraDiffSettings("xradiff-nothing", told="nothing", within=False)),
    "xradiff-small": (
        _XRADIFF,
        lambda: XraDiffSettings("xradiff-small", steps=2000, batch=16, rate=5e-4, average=0.995, preset="small"),
    ),
    "xradiff-paper": (
        _XRADIFF,
        lambda: XraDiffSettings(
            "xradiff-paper",
            steps=80_000,
            batch=2,
            rate=1e-5,
            decay=0.0,
            average=0.9995,
            preset="paper",
            prediction="epsilon",
            within=False,
            guidance=2.0,
        ),
    ),
    "hull": ("hull:HullLearner", lambda: NothingSettings("hull")),
}

# Of a study unless told otherwise: one core trains each.
STUDIED = tuple(name for name in LEARNERS if "-" not in name)


def settings(model: str) -> Any:
    """A learner's settings.

    Raises:
        UsageError: for an unknown model.
    """
    if model not in LEARNERS:
        raise UsageError(f"model {model!r} is unknown; give {', '.join(LEARNERS)}")
    return LEARNERS[model][1]()


def learner_class(model: str) -> Any:
    """A learner's class, made as ``(settings, views, device)``."""
    module, name = LEARNERS[model][0].split(":")
    return getattr(import_module(f"{_MODELS}.{module}"), name)


def _above_zero(settings: Any, *names: str) -> None:
    for name in names:
        if not getattr(settings, name) > 0:
            raise UsageError(f"{name} is {getattr(settings, name)}: give more than 0")


def _not_negative(settings: Any, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < 0:
            raise UsageError(f"{name} is {getattr(settings, name)}: give 0 or more")


def _share(settings: Any, name: str) -> None:
    if not 0 < getattr(settings, name) < 1:
        raise UsageError(f"{name} is {getattr(settings, name)}: give a share between 0 and 1")


def _one_of(settings: Any, name: str, known: tuple[str, ...]) -> None:
    if getattr(settings, name) not in known:
        raise UsageError(f"{name} is {getattr(settings, name)!r}: give one of {', '.join(known)}")
