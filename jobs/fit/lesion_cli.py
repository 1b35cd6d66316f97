"""``lesionforge fit vqgan|difftumor|medddpm|promptlesion``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.jobs import console
from lesionforge.jobs.learning.progress import line
from lesionforge.jobs.options import Json

Data = Annotated[list[str], typer.Argument(metavar="DATA...", help="datasets made by the lesion generator")]
Out = Annotated[Path, typer.Option(help="folder for checkpoint, losses, sheets and the fitted model")]
Preset = Annotated[str, typer.Option(help="paper, small (meant for one GPU) or tiny (toy)")]
Vqgan = Annotated[Path, typer.Option(help="the model that `lesionforge fit vqgan` wrote")]
Domain = Annotated[str, typer.Option(help="of the HU window: abdomen (-175 ... 250) or ccta (-200 ... 900)")]
Classes = Annotated[str, typer.Option(help="of lesions, with commas; default: all that the datasets' lesions have")]
Steps = Annotated[int, typer.Option(help="optimizer steps in all; more of them continue a finished fit")]
BatchSize = Annotated[int, typer.Option("--batch", help="cubes of a step, over all processes")]
Rate = Annotated[float, typer.Option(help="learning rate")]
Warmup = Annotated[int, typer.Option(help="steps over which the rate rises")]
Precision = Annotated[str, typer.Option(help="bf16 or no")]
Every = Annotated[int, typer.Option(help="steps between checkpoints, each with a sample sheet")]
Loaders = Annotated[int, typer.Option(help="processes that read cubes ahead")]
Seed = Annotated[int, typer.Option(help="of weights and cubes")]
Cpu = Annotated[bool, typer.Option("--cpu", help="stay on the CPU")]
Workers = Annotated[int, typer.Option(min=1, help="processes, under Ray Train, one GPU each; 1: this one")]


def vqgan(
    data: Data,
    out: Out,
    preset: Preset = "small",
    domain: Domain = "abdomen",
    adversarial: Annotated[int, typer.Option(help="step from which the discriminators take part")] = 10_000,
    features: Annotated[
        Path | None, typer.Option(help="VGG-16 as safetensors, for the perceptual loss; default: random features")
    ] = None,
    steps: Steps = 20_000,
    batch: BatchSize = 4,
    rate: Rate = 1e-4,
    warmup: Warmup = 500,
    precision: Precision = "bf16",
    every: Every = 1000,
    loaders: Loaders = 2,
    seed: Seed = 0,
    cpu: Cpu = False,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Fit the autoencoder that difftumor and promptlesion work on. The same command again resumes where it was."""
    given = {"domain": domain, "adversarial": adversarial, "features": str(features) if features else None}
    _fit("vqgan", data, out, given, locals(), workers, as_json)


def difftumor(
    data: Data,
    out: Out,
    vqgan: Vqgan,
    preset: Preset = "small",
    classes: Classes = "",
    levels: Annotated[int, typer.Option(help="noise levels: 4 (early tumours) or 200 (late ones)")] = 4,
    steps: Steps = 20_000,
    batch: BatchSize = 8,
    rate: Rate = 1e-4,
    warmup: Warmup = 500,
    precision: Precision = "bf16",
    every: Every = 1000,
    loaders: Loaders = 2,
    seed: Seed = 0,
    cpu: Cpu = False,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Fit DiffTumor's latent diffusion, which knows no classes. The same command again resumes where it was."""
    given = {"vqgan": str(vqgan), "levels": levels, "classes": _names(classes)}
    _fit("difftumor", data, out, given, locals(), workers, as_json)


def medddpm(
    data: Data,
    out: Out,
    preset: Preset = "small",
    domain: Domain = "abdomen",
    classes: Classes = "",
    levels: Annotated[int, typer.Option(help="noise levels")] = 250,
    steps: Steps = 20_000,
    batch: BatchSize = 4,
    rate: Rate = 1e-4,
    warmup: Warmup = 500,
    precision: Precision = "bf16",
    every: Every = 1000,
    loaders: Loaders = 2,
    seed: Seed = 0,
    cpu: Cpu = False,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Fit Med-DDPM: voxels from the mask of all classes. The same command again resumes where it was."""
    given = {"domain": domain, "levels": levels, "classes": _names(classes)}
    _fit("medddpm", data, out, given, locals(), workers, as_json)


def promptlesion(
    data: Data,
    out: Out,
    vqgan: Vqgan,
    mask_prompt: Annotated[
        bool, typer.Option("--mask-prompt", help="a transformer over the mask in place of one-hot classes")
    ] = False,
    preset: Preset = "small",
    classes: Classes = "",
    levels: Annotated[int, typer.Option(help="noise levels")] = 200,
    empty: Annotated[float, typer.Option(help="share of prompts left away, for guidance")] = 0.1,
    guidance: Annotated[
        float, typer.Option(help="of the prompt against none when sampling, stored with the model; 1: none")
    ] = 1.0,
    steps: Steps = 20_000,
    batch: BatchSize = 8,
    rate: Rate = 1e-4,
    warmup: Warmup = 500,
    precision: Precision = "bf16",
    every: Every = 1000,
    loaders: Loaders = 2,
    seed: Seed = 0,
    cpu: Cpu = False,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Fit PromptLesion: every class from one model. The same command again resumes where it was."""
    given = {"vqgan": str(vqgan), "levels": levels, "classes": _names(classes), "empty": empty, "guidance": guidance}
    _fit("promptlesion-mask" if mask_prompt else "promptlesion", data, out, given, locals(), workers, as_json)


_SHARED = ("preset", "steps", "batch", "rate", "warmup", "precision", "every", "loaders", "seed", "cpu")


def _fit(
    kind: str,
    data: list[str],
    out: Path,
    own: dict[str, Any],
    options: dict[str, Any],
    workers: int,
    as_json: bool,
) -> None:
    """One command's work; ``options``: all it was given, of which the shared ones are taken."""
    console.own_standard_output()
    try:
        from lesionforge.jobs.fit.lesion_fit import LesionFitConfig, fit_lesion
    except ImportError as error:
        from lesionforge.jobs.errors import UsageError

        raise UsageError(f"{error}: fitting needs the extra, pip install 'lesionforge[train]'") from None
    shared = {name: options[name] for name in _SHARED}
    config = LesionFitConfig(kind=kind, data=tuple(data), out=str(out), **own, **shared)
    if workers == 1:
        folder = fit_lesion(config, tell=line(config.steps))
    else:
        from lesionforge.jobs.learning.cluster import fit_on_ray

        folder = fit_on_ray(config, workers, fit_lesion)
    body: dict[str, Any] = {"model": str(folder), "sheets": str(out / "sheets"), "losses": str(out / "losses.jsonl")}
    console.emit(body, as_json, lambda: console.out.print(f"fitted: {folder} (look at {out / 'sheets'})"))


def _names(classes: str) -> tuple[str, ...]:
    from lesionforge.generators.lesion.classes import CLASSES
    from lesionforge.jobs.errors import UsageError

    names = tuple(name for name in classes.split(",") if name)
    for name in names:
        if name not in CLASSES[1:]:
            raise UsageError(f"--classes: no class {name!r}, give some of {', '.join(CLASSES[1:])}")
    return names
