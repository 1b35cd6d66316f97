"""PromptLesion's experiment on phantoms that a CPU can carry: real data alone, and with samples of each backend 1:1.

"Real" are phantom CTs with a disease of their own law (``disease`` below): its edges, shapes and numbers are not what
the ``texture`` backend draws by default, so that no backend has the truth's own law for nothing. The learned backends
are fitted on the real training subjects alone; every backend draws on the same subjects without their disease;
``placebo`` adds those healthy CTs with nothing drawn; ``medddpm-checked`` keeps only what measures as it is labelled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import DataPlace
from lesionforge.jobs.studies.runs import Study
from lesionforge.jobs.studies.task import REAL
from lesionforge.sinks import layout

LEARNED = ("difftumor", "medddpm", "promptlesion", "promptlesion-mask")
CHECKED = "medddpm"  # also with its lesions drawn again until they measure as what they are labelled
LEVELS: Final = {"difftumor": 4, "medddpm": 20, "promptlesion": 20, "promptlesion-mask": 20}


@dataclass(frozen=True)
class PhantomDomain:
    """A kind of phantom and its disease.

    ``window``: the segmentation's domain. ``tolerance``: HU of the checked arm. ``fields``: of the recipe, changed.
    ``disease``: parameters of what counts as real.
    """

    recipe: str
    window: str
    tolerance: float
    balance: Mapping[str, float]
    fields: Mapping[str, Any]
    disease: Mapping[str, Any]


DOMAINS: Final[Mapping[str, PhantomDomain]] = {
    "plaques": PhantomDomain(
        "plaque_phantom",
        "ccta",
        200,  # plaques have their class's own range
        {"calcified": 0.5, "non_calcified": 0.5},
        {
            "sources.0.options.shape": [96, 96, 96],
            "sources.0.options.spacing_mm": [0.6, 0.6, 0.6],
            "generator.params.size": 64,
            "generator.params.hu_tolerance": 40,
        },
        {
            "plaques": [1, 3],
            "others": [0, 1],
            "percent_ds": [20, 60],
            "remodelling": [1.15, 1.4],
            "eccentric": [0.3, 0.8],
            "psf_mm": [0.4, 0.55],
        },
    ),
    "tumours": PhantomDomain(
        "lesion_phantom",
        "abdomen",
        60,  # tumours are held to their organ's HU less a contrast, by this
        {f"{organ}_{stage}": 1 / 6 for organ in ("liver", "kidney", "pancreas") for stage in ("early", "late")},
        {
            "sources.0.options.shape": [128, 96, 80],
            "sources.0.options.spacing_mm": [2.5, 2.5, 2.5],
            "generator.params.size": 64,
            "generator.params.hu_tolerance": 40,
            "generator.params.early": [1, 2],
            "generator.params.early_mm": [5, 9.5],
        },
        {"others": [0, 2], "capsule": 0.5, "mass_effect": 0.2, "bend": [0.1, 0.3], "blend": [0.15, 0.3]},
    ),
}


def prepare(out: Path, domain: str, subjects: int, steps: int, tell: Callable[[str], None]) -> Study:
    """Make the datasets and fit the models of a study; what is there is not made again.

    Args:
        out: folder of datasets and models.
        domain: ``plaques`` or ``tumours``.
        subjects: phantoms, half of them for the test.
        steps: of each model's fit.
        tell: called as each stage begins.

    Returns:
        The study, with its default arms: ``real``, and each dataset by its name.

    Raises:
        UsageError: for an unknown domain.
    """
    if domain not in DOMAINS:
        raise UsageError(f"domain {domain!r} is unknown; give {' or '.join(DOMAINS)}")
    own = DOMAINS[domain]

    def made(name: str, more: Mapping[str, Any], splits: tuple[str, ...] = ("train",)) -> DataPlace:
        tell(f"{domain}: {name}")
        return DataPlace(str(_dataset(out / name, own, subjects, splits, more)), option=name)

    disease = {f"generator.params.{name}": value for name, value in own.disease.items()}
    real = made(REAL, disease, ("train", "test"))
    arms = {"placebo": made("placebo", {"balance": {"healthy": 1}}), "texture": made("texture", {})}
    tell(f"{domain}: fit vqgan")
    _fit(out, own, "vqgan", steps)
    for kind in LEARNED:
        tell(f"{domain}: fit {kind}")
        weights = _fit(out, own, kind, steps)
        more: dict[str, Any] = {"generator.params.backend": kind, "generator.params.weights": str(weights)}
        arms[kind] = made(kind, {**more, "generator.params.check_hu": False})
        if kind == CHECKED:
            more |= {"generator.params.hu_tolerance": own.tolerance, "quality.redraws": 40}
            arms[f"{kind}-checked"] = made(f"{kind}-checked", {**more, "quality.max_quarantined": 0.9})
    return Study("segmentation", real, DataPlace(real.uri, "test", option="test"), arms, {"domain": own.window})


def _dataset(place: Path, own: PhantomDomain, subjects: int, splits: tuple[str, ...], more: Mapping[str, Any]) -> Path:
    """The same subjects whatever is drawn on them."""
    from lesionforge.jobs.commands.generate import generate

    if not (place / layout.SUCCESS).exists():
        fields = {
            "sources.0.options.count": subjects,
            "sources.0.split": {"train": 0.5, "val": 0, "test": 0.5},
            "multiply": 1,
            "splits": list(splits),
            "balance": own.balance,
            "quality.max_quarantined": 0.2,
            **own.fields,
            **more,
        }
        changes = [f"{name}={json.dumps(value)}" for name, value in fields.items()]
        generate(own.recipe, str(place), None, True, changes)
    return place


def _fit(out: Path, own: PhantomDomain, kind: str, steps: int) -> Path:
    """A model of the size ``tiny``, fitted on the real training subjects."""
    from lesionforge.jobs.fit.lesion import LesionFit, fit_lesion

    latent = kind not in ("vqgan", "medddpm")
    return fit_lesion(
        LesionFit(
            kind=kind, data=(str(out / REAL),), out=str(out / "fit" / kind), preset="tiny", batch=8, rate=1e-3,
            warmup=50, ema=0.99, precision="float32", loaders=0, every=500, steps=steps, adversarial=100_000,
            domain=own.window, classes=tuple(own.balance), levels=LEVELS.get(kind),
            vqgan=str(out / "fit" / "vqgan" / "model") if latent else None,
        )
    )  # fmt: skip
