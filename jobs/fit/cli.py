"""``lesionforge fit``: fit the models of generators that learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.jobs import console
from lesionforge.jobs.fit import lesion_cli
from lesionforge.jobs.learning.progress import line

app = typer.Typer(no_args_is_help=True, help="Fit the models of generators that learn.")


@app.command()
def stenosis(
    data: Annotated[
        list[str], typer.Argument(metavar="DATA...", help="datasets made by the stenosis generator (attenuation)")
    ],
    out: Annotated[Path, typer.Option(help="folder for checkpoint, losses, sheets and the fitted model")],
    preset: Annotated[str, typer.Option(help="sd15 (the paper's), small (minutes on one GPU) or tiny (toy)")] = "small",
    base: Annotated[
        Path | None, typer.Option(help="local Stable Diffusion folder in diffusers' layout, for sd15")
    ] = None,
    steps: Annotated[int, typer.Option(help="optimizer steps in all; more of them continue a finished fit")] = 20_000,
    batch: Annotated[int, typer.Option(help="crops of a step, over all processes")] = 32,
    rate: Annotated[float, typer.Option(help="learning rate (AdamW)")] = 1e-4,
    empty: Annotated[float, typer.Option(help="share of prompts left empty, for guidance")] = 0.5,
    precision: Annotated[str, typer.Option(help="bf16 or no")] = "bf16",
    checkpointing: Annotated[bool, typer.Option(help="gradient checkpointing: less memory, slower")] = False,
    every: Annotated[int, typer.Option(help="steps between checkpoints, each with a sample sheet")] = 1000,
    loaders: Annotated[int, typer.Option(help="processes that read crops ahead")] = 2,
    seed: Annotated[int, typer.Option(help="of weights and crops")] = 0,
    cpu: Annotated[bool, typer.Option("--cpu", help="stay on the CPU")] = False,
    workers: Annotated[int, typer.Option(min=1, help="processes, under Ray Train, one GPU each; 1: this one")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
) -> None:
    """Fit the diffusion backend of the stenosis generator. The same command again resumes where it was.

    The fitted model, `OUT/model`, is what `generator.params.weights` of a recipe takes. Look at `OUT/sheets`.
    """
    console.own_standard_output()
    try:
        from lesionforge.jobs.fit.trainer import FitConfig, fit
    except ImportError as error:
        from lesionforge.jobs.errors import UsageError

        raise UsageError(f"{error}: fitting needs the extra, pip install 'lesionforge[train]'") from None
    config = FitConfig(
        data=tuple(data), out=str(out), preset=preset, base=str(base) if base else None, steps=steps, batch=batch,
        rate=rate, empty=empty, precision=precision, checkpointing=checkpointing, every=every, loaders=loaders,  # type: ignore[arg-type]
        seed=seed, cpu=cpu,
    )  # fmt: skip
    if workers == 1:
        folder = fit(config, tell=line(steps))
    else:
        from lesionforge.jobs.learning.cluster import fit_on_ray

        folder = fit_on_ray(config, workers)
    body: dict[str, Any] = {"model": str(folder), "sheets": str(out / "sheets"), "losses": str(out / "losses.jsonl")}
    console.emit(body, as_json, lambda: console.out.print(f"fitted: {folder} (look at {out / 'sheets'})"))


for command in (lesion_cli.vqgan, lesion_cli.difftumor, lesion_cli.medddpm, lesion_cli.promptlesion):
    app.command()(command)
