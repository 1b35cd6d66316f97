"""PromptLesion's experiment on phantoms that a CPU can carry: real data alone, and with samples of each backend 1:1.

"Real" are phantoms that are ill by a law of their own (``generators.phantom.ct.disease``), which no backend knows. All
that is added is of the same training subjects: every backend draws on their healthy CT, and the learned ones are fitted
on their lesions alone. Arms: ``texture`` and each learned backend, its lesions drawn again until they measure as they
are labelled (``NAME-unchecked`` takes them as they come); ``copy-paste`` moves the real lesions to other subjects'
places; ``placebo`` adds the healthy CT with nothing drawn; ``fresh`` adds other subjects who are really ill: what a
perfect backend could reach. Fewer subjects are the first ones of more, and each number has fits of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from lesionforge.engine.driver import RecipeFault
from lesionforge.generators.lesion.params import Backend
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import DataPlace
from lesionforge.jobs.studies.runs import Study
from lesionforge.jobs.studies.task import REAL
from lesionforge.sinks import layout

PLACEBO, COPY, TEXTURE, FRESH = "placebo", "copy-paste", "texture", "fresh"
# Learned arms: their backend, and the preset that is fitted.
LEARNED: Final = {name: (name, "tiny") for name in get_args(Backend) if name != TEXTURE} | {
    f"{name}-voxel": (name, "voxel") for name in ("promptlesion", "promptlesion-mask")
}
UNCHECKED: Final = {f"{name}-unchecked": name for name in ("medddpm", "promptlesion-voxel")}
ARMS: Final = (REAL, PLACEBO, COPY, TEXTURE, *LEARNED, *UNCHECKED, FRESH)
LEVELS: Final = {"difftumor": 4, "medddpm": 20, "promptlesion": 20, "promptlesion-mask": 20}
SERIES: Final = {"train": 0, "test": 1, "fresh": 2}  # of the phantoms: other numbers, other subjects
EACH = 3  # samples drawn on each subject, and fresh subjects for each
REDRAWS = 10  # of a learned lesion that measures wrong


@dataclass(frozen=True)
class PhantomDomain:
    """A kind of phantom.

    ``source`` and ``options``: of the subjects. ``window``: the segmentation's domain. ``params``: of the generator
    ``lesion``. ``balance``: classes it draws. ``tolerance``: HU that checked lesions may be off.
    """

    source: str
    options: Mapping[str, Any]
    window: str
    params: Mapping[str, Any]
    balance: Mapping[str, float]
    tolerance: float


DOMAINS: Final[Mapping[str, PhantomDomain]] = {
    "plaques": PhantomDomain(
        "phantom:ccta",
        {"about": "left", "shape": [80, 80, 80], "spacing_mm": [0.6, 0.6, 0.6]},
        "ccta",
        {"plaques": [1, 3], "hu_tolerance": 40},
        {"calcified": 1, "non_calcified": 1},
        200,  # plaques have their class's own range
    ),
    "tumours": PhantomDomain(
        "phantom:abdomen",
        {"shape": [112, 80, 64], "spacing_mm": [2.5, 2.5, 2.5]},
        "abdomen",
        {"early": [1, 2], "early_mm": [5, 9.5], "others": [0, 2], "hu_tolerance": 40},
        {f"{organ}_{stage}": 1 for organ in ("liver", "kidney", "pancreas") for stage in ("early", "late")},
        60,  # tumours are held to their organ's HU less a contrast, by this
    ),
}


def prepare(
    out: Path,
    domain: str,
    subjects: int,
    test: int,
    arms: Sequence[str],
    steps: int,
    tell: Callable[[str], None],
) -> tuple[Study, list[str]]:
    """Make the datasets and fit the models that arms need; what is there is not made again.

    Args:
        out: folder of it all; what depends on the number of subjects lies in ``nNUMBER``, the tests in ``testNUMBER``.
        domain: ``plaques`` or ``tumours``.
        subjects: phantoms to learn from.
        test: phantoms to score on.
        arms: some of ``ARMS``.
        steps: of each latent model's fit; models of voxels have their own number.
        tell: called as each stage begins, and of an arm that cannot be.

    Returns:
        The study, and those of the arms that have a sample: a backend may draw nothing that measures right.

    Raises:
        UsageError: for an unknown domain or arm.
    """
    if domain not in DOMAINS:
        raise UsageError(f"domain {domain!r} is unknown; give {' or '.join(DOMAINS)}")
    if unknown := [arm for arm in arms if arm not in ARMS]:
        raise UsageError(f"arm {unknown[0]!r} is unknown; give some of {', '.join(ARMS)}")
    own, room = DOMAINS[domain], out / f"n{subjects}"

    def made(place: Path, series: str, count: int, disease: bool, times: int, more: Mapping[str, Any]) -> DataPlace:
        tell(f"{domain}: {place.relative_to(out)}")
        recipe = _recipe(own, f"{domain}-{place.name}", series, count, disease) | {"multiply": times, **more}
        return DataPlace(str(_dataset(place, recipe)), recipe["splits"][0], option=place.name)

    tests = made(out / f"test{test}", "test", test, True, 1, _drawn(own, {}, {"healthy": 1}))
    real = made(room / REAL, "train", subjects, True, 1, _drawn(own, {}, {"healthy": 1}))
    data = {}
    for arm in arms:
        if arm == FRESH:
            data[arm] = made(room / arm, "fresh", EACH * subjects, True, 1, _drawn(own, {}, {"healthy": 1}))
        elif arm == PLACEBO:
            data[arm] = made(room / arm, "train", subjects, False, 1, _drawn(own, {}, {"healthy": 1}))
        elif arm == COPY:
            name = "lesionforge.jobs.tasks.segmentation.copy_paste.CopyPaste"
            more: Mapping[str, Any] = {"generator": {"name": name, "params": {"donors": str(room / REAL)}}}
            data[arm] = made(room / arm, "train", subjects, False, EACH, more)
        elif arm == TEXTURE:
            data[arm] = made(room / arm, "train", subjects, False, EACH, _drawn(own, {}, own.balance))
        elif arm != REAL:
            kind, preset = LEARNED[UNCHECKED.get(arm, arm)]
            weights = _fitted(room, own, kind, preset, steps, lambda k: tell(f"fit {k}"))
            check = {"check_hu": False} if arm in UNCHECKED else {"hu_tolerance": own.tolerance}
            params = {"backend": kind, "weights": str(weights), **check}
            try:
                data[arm] = made(room / arm, "train", subjects, False, EACH, _drawn(own, params, own.balance))
            except RecipeFault as fault:
                tell(f"{arm} is left out: {fault}")
    study = Study("segmentation", real, tests, data, {"domain": own.window})
    return study, [arm for arm in arms if arm == REAL or arm in data]


def _recipe(own: PhantomDomain, name: str, series: str, count: int, disease: bool) -> dict[str, Any]:
    """Of a dataset; subjects depend on the series and their number alone."""
    split = "test" if series == "test" else "train"
    options = {**own.options, "count": count, "series": SERIES[series], "disease": disease}
    return {
        "name": name,
        "seed": 7,
        "sources": [{"uri": own.source, "options": options, "split": {"train": 0, "val": 0, "test": 0, split: 1}}],
        "splits": [split],
        "quality": {"redraws": REDRAWS, "max_quarantined": 1},
    }


def _drawn(own: PhantomDomain, params: Mapping[str, Any], balance: Mapping[str, float]) -> dict[str, Any]:
    """The generator ``lesion`` on whole volumes; ``healthy`` leaves them as they are, ill or not."""
    return {
        "generator": {"name": "lesion", "params": {"size": None, **own.params, **params}},
        "balance": dict(balance),
    }


def _dataset(place: Path, recipe: Mapping[str, Any]) -> Path:
    from lesionforge.jobs.commands.generate import generate

    if not (place / layout.SUCCESS).exists():
        generate(recipe, str(place), None, True)
    return place


def _fitted(room: Path, own: PhantomDomain, kind: str, preset: str, steps: int, tell: Callable[[str], None]) -> Path:
    """Weights of a backend, fitted on the real training subjects, and of what it needs first."""
    from lesionforge.jobs.fit.lesion import KINDS, VOXEL, LesionFit, fit_lesion

    name = kind if preset == "tiny" else f"{kind}-{preset}"
    tell(name)
    given: dict[str, Any] = {
        "kind": kind, "preset": preset, "data": (str(room / REAL),), "out": str(room / "fit" / name),
        "classes": tuple(own.balance), "precision": "float32",
    }  # fmt: skip
    if preset == "voxel":
        given |= VOXEL
        return fit_lesion(LesionFit(**given))
    if "vqgan" in KINDS[kind]:
        given["vqgan"] = str(_fitted(room, own, "vqgan", preset, steps, tell))
    return fit_lesion(
        LesionFit(
            batch=8, rate=1e-3, warmup=50, ema=0.99, loaders=0, every=500, steps=steps, adversarial=100_000,
            domain=own.window, levels=LEVELS.get(kind), **given,
        )
    )  # fmt: skip
