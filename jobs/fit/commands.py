"""``lesionforge fit KIND DATA``: fit the models of generators that learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.jobs import console
from lesionforge.jobs.options import Json, pairs, usable

app = typer.Typer(no_args_is_help=True, help="Fit the models of generators that learn.")

KINDS = {
    "finder": "Fit the vessel finder, on stills of the cine generator.",
    "stenosis": "Fit the diffusion backend of the stenosis generator.",
    "vqgan": "Fit the autoencoder that difftumor and promptlesion work on.",
    "difftumor": "Fit DiffTumor's latent diffusion, which knows no classes.",
    "medddpm": "Fit Med-DDPM: voxels from the mask of all classes.",
    "promptlesion": "Fit PromptLesion: every class from one model.",
    "promptlesion-mask": "Fit PromptLesion with a transformer over the mask in place of one-hot classes.",
}
AGAIN = "The same command again goes on where it was. OUT/model is what a recipe takes; look at OUT/sheets."


def _listing(context: typer.Context, wanted: bool) -> None:
    if wanted:
        _list(str(context.info_name))
        raise typer.Exit()


Data = Annotated[
    list[str], typer.Argument(metavar="DATA...", help="datasets made by the generator; or CT with lesions: ct:FOLDER")
]
Options = Annotated[
    list[str] | None, typer.Option("--option", metavar="A=B", help="of a source among DATA, e.g. layout=lits")
]
Out = Annotated[Path, typer.Option(help="folder for checkpoint, losses, sheets and the fitted model")]
Preset = Annotated[str, typer.Option(help="size of the model: see --settings")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="A=B", help="a setting, e.g. steps=600: see --settings")
]
Listing = Annotated[
    bool, typer.Option("--settings", is_eager=True, callback=_listing, help="list presets and settings, and end")
]
Seed = Annotated[int, typer.Option(min=0, help="of weights and items")]
Device = Annotated[str | None, typer.Option(help="torch device; default: cuda where there is one")]
Workers = Annotated[
    int, typer.Option(min=1, help="processes that share a batch, under Ray Train, a GPU each; 1: this one")
]


def _fit(kind: str) -> Callable[..., None]:
    def fit(
        data: Data,
        out: Out,
        preset: Preset = "small",
        changes: Changes = None,
        option: Options = None,
        settings: Listing = False,
        seed: Seed = 0,
        device: Device = None,
        workers: Workers = 1,
        as_json: Json = False,
    ) -> None:
        console.own_standard_output()
        if device and workers == 1:
            usable(device)
        begin, asked = _prepared(kind, data, out, preset, seed, device, pairs(changes))
        asked = replace(asked, data=tuple(_datasets(kind, data, pairs(option), out)))
        from lesionforge.jobs.learning import training

        def work() -> None:
            with training.shown("fitting") as progress:
                begin(asked, progress=progress)

        if workers == 1:
            work()
        else:
            training.on_ray(work, workers, asked.device != "cpu", out)
        body = {"model": str(out / "model"), "sheets": str(out / "sheets"), "losses": str(out / "losses.jsonl")}
        console.emit(body, as_json, lambda: console.out.print(f"fitted: {out / 'model'} (look at {out / 'sheets'})"))

    return fit


def _datasets(kind: str, data: Sequence[str], options: dict[str, Any], out: Path) -> list[str]:
    """DATA as datasets: CT with its own lesions is made one of whole volumes, with nothing drawn, in OUT/data.

    Raises:
        UsageError: a source for what learns from drawn pairs; options without a source; no scan that can be read.
    """
    from lesionforge.jobs.errors import UsageError
    from lesionforge.jobs.fit import datasets
    from lesionforge.jobs.studies.places import DataPlace

    if options and not any(DataPlace(place).is_source for place in data):
        raise UsageError("--option is of a source: give DATA as ct:FOLDER")
    out_of = []
    for number, place in enumerate(data):
        if DataPlace(place).is_source:
            if kind in ("finder", "stenosis"):
                raise UsageError(f"{place}: fit {kind} learns from datasets, give what `lesionforge generate` wrote")
            recipe = {
                "name": f"whole-{number}",
                "seed": 0,
                "sources": [{"uri": place, "options": options, "split": {"train": 1}}],
                "splits": ["train"],
                "generator": {"name": "lesion", "params": {"size": None}},
                "balance": {"healthy": 1},
                "quality": {"max_quarantined": 1},
            }
            uri, place = place, str(out / "data" / str(number))
            if not datasets.made(place, uri, recipe, console.note):
                raise UsageError(f"{uri}: no scan can be read: the line above says why")
        out_of.append(place)
    return out_of


def _prepared(
    kind: str, data: Sequence[str], out: Path, preset: str, seed: int, device: str | None, changes: dict[str, Any]
) -> tuple[Callable[..., Path], Any]:
    """The fit of a kind, and its settings.

    Raises:
        UsageError: an unknown setting, or one that cannot be.
    """
    from lesionforge.engine.validation import Invalid, nearest, validate
    from lesionforge.jobs.errors import UsageError

    begin, model, own, _ = _kind(kind, preset)
    for name in changes:
        if name not in own:
            raise UsageError(f"--set {name}: no such setting{nearest(name, list(own))}")
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    given = {"data": tuple(data), "out": str(out.absolute()), "preset": preset, "seed": seed, "device": device}
    given |= {} if kind in ("finder", "stenosis") else {"kind": kind}
    try:
        return begin, validate(model, {**own, **given, **changes})
    except Invalid as error:
        raise UsageError(f"--set {error}") from None


def _kind(kind: str, preset: str = "") -> tuple[Callable[..., Path], Any, dict[str, Any], Sequence[str]]:
    """How a kind is fitted, the class of its settings, those that it has with their defaults, and its presets."""
    from lesionforge.generators.lesion.learned.settings import PRESETS
    from lesionforge.generators.stenosis.diffusion.preset import PRESETS as STENOSIS_PRESETS
    from lesionforge.jobs.fit import finder, lesion, settings, stenosis

    def free(model: Any) -> dict[str, Any]:
        return {f.name: f.default for f in fields(model) if "text" in f.metadata}

    if kind == "finder":
        return finder.fit_finder, finder.FinderFit, free(finder.FinderFit), ["small"]
    if kind == "stenosis":
        return stenosis.fit_stenosis, stenosis.StenosisFit, free(stenosis.StenosisFit), list(STENOSIS_PRESETS)
    common = free(settings.FitSettings) | {"batch": lesion.BATCH.get(kind, 4)}
    own = {name: value for name, value in free(lesion.LesionFit).items() if name in lesion.KINDS[kind]}
    if preset in PRESETS and PRESETS[preset].voxels:
        common |= lesion.VOXEL
        own = {name: value for name, value in own.items() if name in lesion.VOXEL_HAS}
    presets = [name for name, one in PRESETS.items() if not one.voxels or kind in lesion.VOXEL_KINDS]
    return lesion.fit_lesion, lesion.LesionFit, {**own, **common}, presets


def _list(kind: str) -> None:
    """The presets, and the settings of each: those with the same ones together."""
    alike: dict[str, list[str]] = {}
    for preset in _kind(kind)[3]:
        _, model, own, _ = _kind(kind, preset)
        texts = {f.name: f.metadata.get("text", "") for f in fields(model)}
        told = {name: f"{name}={'none' if value in (None, ()) else value}" for name, value in own.items()}
        lines = "\n".join(f"  {default:<18} {texts[name]}" for name, default in told.items())
        alike.setdefault(lines, []).append(preset)
    for lines, some in alike.items():
        console.out.print(f"preset {', '.join(some)}; settings of --set, with their defaults:\n{lines}", markup=False)


for name, text in KINDS.items():
    app.command(name, help=f"{text} {AGAIN}", short_help=text)(_fit(name))
