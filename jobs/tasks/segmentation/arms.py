"""PromptLesion's experiment, made from nothing: datasets of every arm, fits of the backends, and the study of them.

All that is added to the real scans is of the same training subjects (``Cohort``), 1:1. The learned backends are fitted
on these subjects' lesions alone. Arms: ``texture`` and each learned backend, its lesions drawn again until they measure
as they are labelled (``NAME-unchecked`` takes them as they come); ``difftumor-COLUMN`` is fitted, as published, on the
lesions of one column of the paper's tables, and draws no others; ``copy-paste`` moves the real lesions to other
subjects' places. Where what is drawn on is healthy, ``placebo`` adds it with nothing drawn; where there are more real
subjects, ``fresh`` adds them: what a perfect backend could reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

from lesionforge.engine.driver import RecipeFault
from lesionforge.generators.lesion.classes import PLAQUES, TUMOURS
from lesionforge.generators.lesion.params import Backend
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit import datasets
from lesionforge.jobs.studies.places import DataPlace
from lesionforge.jobs.studies.runs import Study
from lesionforge.jobs.studies.task import REAL
from lesionforge.jobs.tasks.segmentation.paper import COLUMNS
from lesionforge.jobs.tasks.segmentation.targets import class_of

PLACEBO, COPY, TEXTURE, FRESH = "placebo", "copy-paste", "texture", "fresh"
LATENT_STEPS = 1000  # of each latent model's fit
KEEPS_CALCIUM: Final = {"domain": "all", "factor": 2, "steps": 2000}  # of plaques' autoencoder: the published does not
LEVELS: Final = {"difftumor": 4, "medddpm": 20, "promptlesion": 20, "promptlesion-mask": 20}
EACH = 3  # samples drawn on each subject
REDRAWS = 10  # of a learned lesion that measures wrong
SEED = 7  # of all datasets: subjects are dealt to the splits, and named, alike in each


@dataclass(frozen=True)
class Domain:
    """A kind of lesions.

    ``window``: the segmentation's domain. ``classes``: of the generator. ``params``: of the generator ``lesion``.
    ``tolerance``: HU that checked lesions of learned backends may be off.
    """

    window: str
    classes: Sequence[str]
    params: Mapping[str, Any]
    tolerance: float


DOMAINS: Final[Mapping[str, Domain]] = {
    # Plaques have their class's own range; tumours are held to their organ's HU less a contrast, by this.
    "plaques": Domain("ccta", PLAQUES, {"plaques": [1, 3], "hu_tolerance": 40}, 200),
    "tumours": Domain("abdomen", TUMOURS, {"early": [1, 2], "hu_tolerance": 40}, 60),
}


class Learned(NamedTuple):
    """A learned arm: its backend and the preset that is fitted.

    ``checked``: lesions are drawn again until they measure as labelled. ``only``: column of the paper's tables of
    whose lesions alone it is.
    """

    kind: str
    preset: str = "tiny"
    checked: bool = True
    only: str = ""


def learned(domain: Domain) -> dict[str, Learned]:
    """The learned arms of a domain."""
    arms = {f"difftumor-{column}": Learned("difftumor", only=column) for column in COLUMNS[domain.window]}
    arms |= {name: Learned(name) for name in get_args(Backend) if name not in (TEXTURE, "difftumor")}
    arms |= {f"{name}-voxel": Learned(name, "voxel") for name in ("promptlesion", "promptlesion-mask")}
    unchecked = {f"{name}-unchecked": arms[name]._replace(checked=False) for name in ("medddpm", "promptlesion-voxel")}
    return arms | unchecked


@dataclass(frozen=True)
class Cohort:
    """Whose CT is learnt from, scored on and drawn on: sources as a recipe names them, each with its split.

    Attributes:
        domain: one of ``DOMAINS``.
        real: subjects to learn from, with the lesions that they have; split train.
        test: subjects to score on; split test.
        drawn_on: the training subjects' CT that lesions are drawn on; ``real`` itself keeps its lesions beside them.
        balance: shares of the classes that are drawn, from the datasets of those to learn from and to score on.
        fresh: other subjects with lesions, split train; None: there are none.
        params: of the generator ``lesion``, beside the domain's.
        device: torch's, of fits and networks.
    """

    domain: str
    real: Mapping[str, Any]
    test: Mapping[str, Any]
    drawn_on: Mapping[str, Any]
    balance: Callable[[DataPlace, DataPlace], Mapping[str, float]]
    fresh: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def arms(self) -> tuple[str, ...]:
        """Those that can be made of it."""
        healthy, more = (PLACEBO,) * (self.drawn_on != self.real), (FRESH,) * (self.fresh is not None)
        return (REAL, *healthy, COPY, TEXTURE, *learned(DOMAINS[self.domain]), *more)


def domain_of(name: str) -> Domain:
    """One of ``DOMAINS``.

    Raises:
        UsageError: for an unknown one.
    """
    if name not in DOMAINS:
        raise UsageError(f"domain {name!r} is unknown; give {' or '.join(DOMAINS)}")
    return DOMAINS[name]


def prepare(
    cohort: Cohort,
    room: Path,
    tests: Path,
    arms: Sequence[str],
    steps: int | None,
    tell: Callable[[str], None],
) -> tuple[Study, list[str]]:
    """Make the datasets and fit the models that arms need; what is there is not made again.

    Args:
        cohort: whose CT.
        room: folder of what is learnt from, and of the fits.
        tests: folder of what is scored on.
        arms: some of the cohort's.
        steps: of each fit; None: by the kind of model.
        tell: called as each stage begins, and of what is left out.

    Returns:
        The study, and those of the arms that have a sample: a backend may draw nothing that measures right.

    Raises:
        UsageError: for an unknown arm, or subjects of whom no such study can be.
    """
    if unknown := [arm for arm in arms if arm not in cohort.arms]:
        raise UsageError(f"arm {unknown[0]!r} is unknown here; give some of {', '.join(cohort.arms)}")
    domain = DOMAINS[cohort.domain]

    def made(place: Path, source: Mapping[str, Any], times: int, more: Mapping[str, Any]) -> DataPlace | None:
        tell(f"{cohort.domain}: {place.relative_to(tests.parent)}")
        split = "test" if place == tests else "train"
        recipe = {
            "name": f"{cohort.domain}-{place.name}",
            "seed": SEED,
            "sources": [source],
            "splits": [split],
            "quality": {"redraws": REDRAWS, "max_quarantined": 1},
            "multiply": times,
            **more,
        }
        samples = datasets.made(str(place), place.name, recipe, tell, again=place in (tests, room / REAL))
        return DataPlace(str(place), split, option=place.name) if samples else None

    def drawn(params: Mapping[str, Any], balance: Mapping[str, float]) -> dict[str, Any]:
        params = {"size": None, **domain.params, **cohort.params, **params}
        return {"generator": {"name": "lesion", "params": params}, "balance": dict(balance)}

    as_they_are = drawn({}, {"healthy": 1})  # whole volumes with nothing drawn, ill or not
    test, real = made(tests, cohort.test, 1, as_they_are), made(room / REAL, cohort.real, 1, as_they_are)
    if test is None or real is None:
        raise UsageError(
            f"no scan to {'learn from' if real is None else 'score on'} can be read: the line above says why"
        )
    balance = cohort.balance(real, test)

    backends = learned(domain)

    @cache
    def learnt() -> dict[str, float]:
        return _learnt(real, balance, tell)

    def asked(arm: str) -> tuple[Mapping[str, Any], int, Mapping[str, Any]]:
        """The source of an arm, how often it is gone through, and what else its recipe has."""
        if arm == FRESH and cohort.fresh is not None:
            return cohort.fresh, 1, as_they_are
        if arm == PLACEBO:
            return cohort.drawn_on, 1, as_they_are
        if arm == COPY:
            name = "lesionforge.jobs.tasks.segmentation.copy_paste.CopyPaste"
            return cohort.drawn_on, EACH, {"generator": {"name": name, "params": {"donors": str(room / REAL)}}}
        if arm == TEXTURE:
            return cohort.drawn_on, EACH, drawn({}, balance)
        own = backends[arm]
        given = {"data": (str(room / REAL),), "classes": tuple(learnt()), "device": cohort.device}
        shares = {name: share for name, share in learnt().items() if class_of(name).startswith(own.only)}
        if not shares:
            raise RecipeFault(f"no subject has a lesion of {own.only}")
        weights = _fitted(room / "fit", own, tuple(shares), domain.window, steps, given, lambda k: tell(f"fit {k}"))
        check = {"hu_tolerance": domain.tolerance} if own.checked else {"check_hu": False}
        return cohort.drawn_on, EACH, drawn({"backend": own.kind, "weights": str(weights), **check}, shares)

    data: dict[str, DataPlace] = {}
    for arm in (arm for arm in arms if arm != REAL):
        try:
            place = made(room / arm, *asked(arm))
        except RecipeFault as fault:
            tell(f"{arm}: {fault}")
            place = None
        if place is None:
            tell(f"{arm} is left out: it has no sample")
        else:
            data[arm] = place
    study = Study("segmentation", real, test, data, {"domain": domain.window}, cohort.device)
    return study, [arm for arm in arms if arm == REAL or arm in data]


def _learnt(real: DataPlace, balance: Mapping[str, float], tell: Callable[[str], None]) -> dict[str, float]:
    """The shares of those classes that the subjects to learn from have: of no other there is a learned model."""
    from lesionforge.jobs.fit.volumes import Volumes

    there = Volumes((real.uri,), real.split).learnable
    if lacking := [name for name in balance if name not in there]:
        tell(f"learned backends do not draw {', '.join(lacking)}: no subject has one that can be learnt from")
    return {name: share for name, share in balance.items() if name in there}


def _fitted(
    room: Path,
    arm: Learned,
    classes: tuple[str, ...],
    window: str,
    steps: int | None,
    given: Mapping[str, Any],
    tell: Callable[[str], None],
) -> Path:
    """Weights of a backend, fitted on the real training subjects; what it needs first sees all of their classes."""
    from lesionforge.jobs.fit.lesion import KINDS, VOXEL, LesionFit, fit_lesion
    from lesionforge.jobs.learning import training

    kind, preset = arm.kind, arm.preset
    name = "-".join((kind, *(part for part in (preset, arm.only) if part not in ("tiny", ""))))
    tell(name)
    own: dict[str, Any] = {
        "kind": kind, "preset": preset, "out": str(room / name), "precision": "float32", **given, "classes": classes,
    }  # fmt: skip
    if preset == "voxel":
        own |= VOXEL | ({"steps": steps} if steps else {})
    else:
        own |= {
            "batch": 8, "rate": 1e-3, "warmup": 50, "ema": 0.99, "loaders": 0, "every": 500, "levels": LEVELS.get(kind),
            "steps": LATENT_STEPS, "adversarial": 100_000, "domain": window,
        }  # fmt: skip
        own |= KEEPS_CALCIUM if (kind, window) == ("vqgan", "ccta") else {}
        own |= {"steps": steps} if steps else {}
        if "vqgan" in KINDS[kind]:
            vqgan = Learned("vqgan", preset)
            own["vqgan"] = str(_fitted(room, vqgan, given["classes"], window, steps, given, tell))
    with training.shown("fitting") as progress:
        return fit_lesion(LesionFit(**own), progress=progress)
