"""The command line. Heavy imports happen inside the commands, so that ``--help`` and ``plan`` answer at once."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.jobs import console
from lesionforge.jobs.fit.cli import app as fit
from lesionforge.jobs.options import Json
from lesionforge.jobs.studies import commands as studies

app = typer.Typer(
    name="lesionforge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Make synthetic coronary and lesion imaging datasets: a recipe in, WebDataset shards out.\n\n"
    "Start with `lesionforge plan jobs/recipes/demo.yaml`, "
    "then `lesionforge generate jobs/recipes/demo.yaml --out demo`.",
    epilog="Exit codes: 0 all is well; 1 an error, said in one line; 2 wrong usage; 3 finished, but the dataset is "
    "short of its quota or has problems; 130 interrupted (run the same command again to continue).",
)

train = typer.Typer(no_args_is_help=True, help="Train a downstream model on real data, generated data, or both.")
score = typer.Typer(no_args_is_help=True, help="Measure a dataset, or a model on real data.")
study = typer.Typer(no_args_is_help=True, help="Train and score a downstream model over arms, sizes and seeds.")
report = typer.Typer(no_args_is_help=True, help="Tables and pictures of a study, the paper's numbers beside ours.")
groups = {"train": train, "score": score, "study": study, "report": report}
studies.register(groups)
for group, commands in groups.items():
    app.add_typer(commands, name=group)
app.add_typer(fit, name="fit")

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML recipe, e.g. jobs/recipes/demo.yaml")]
Place = Annotated[
    str, typer.Argument(metavar="OUT", help="where the dataset lies: a folder or a URL such as s3://bucket/name")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="change a field of the recipe; may be given again and again"),
]


@app.command()
def generate(
    recipe: RecipeFile,
    out: Annotated[str | None, typer.Option(help="output folder or URL; before the recipe's own `out`")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="default: as many as have room")] = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="one worker in this process, without Ray, to debug")
    ] = False,
    wait_for_nodes: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="begin with the first worker that has room, and wait this long for it: for clusters that grow",
        ),
    ] = 0,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Make the dataset that a recipe describes. Run the same command again to continue after an interruption.

    On a Ray cluster (RAY_ADDRESS set, or inside `ray job submit`) workers run there; else Ray is started here.
    """
    from lesionforge.jobs.commands.generate import generate as run

    console.own_standard_output()
    result = run(recipe, out, workers, in_process, overrides or (), wait_for_nodes)
    console.emit(result.body(), as_json, result.show)
    raise typer.Exit(console.OK if not result.short and not result.failed else console.SHORT)


@app.command()
def plan(
    recipe: RecipeFile,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="make three samples; tell samples/s, hours and bytes")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="workers to reckon the hours for")] = 1,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Say what a recipe would make: samples per split and class, shards, bytes. Makes nothing."""
    from lesionforge.jobs.commands import plan

    body = plan.plan(recipe, overrides or (), estimate, workers)
    console.emit(body, as_json, lambda: plan.show(body))


@app.command()
def status(
    place: Place,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="keep looking until it is finished (exit code 0, or 3 if short); Ctrl-C ends it"),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say how far a dataset is, from its storage alone. With `--watch --json`, one JSON object a line per change."""
    from lesionforge.jobs.commands import status as look

    if watch:
        body = look.watch(place, as_json)
        raise typer.Exit(console.SHORT if body["state"] == "short" else console.OK)
    body = look.Progress(place).look()
    console.emit(body, as_json, lambda: look.show(body))


@app.command()
def verify(
    place: Place,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="make missing or broken indexes anew from the tars")
    ] = False,
    as_json: Json = False,
) -> None:
    """Re-read the whole dataset: checksums, keys, members, plan and quotas. Exit code 3 where anything is wrong."""
    from lesionforge.jobs.commands import verify

    body = verify.verify(place, rebuild)
    console.emit(body, as_json, lambda: verify.show_verdict(body))
    raise typer.Exit(console.SHORT if body["problems"] else console.OK)


@app.command()
def replay(
    place: Place,
    sample_id: Annotated[str, typer.Argument(metavar="SAMPLE_ID", help="e.g. train-0000-00000012")],
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="N=URI", help="where source N lies; no dataset says it, paths may hold names"),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="write the sample's members into this folder")] = None,
    as_json: Json = False,
) -> None:
    """Make one sample again from recipe and sources, and compare its bytes with the stored ones."""
    from lesionforge.jobs.commands import verify

    body, file = verify.replay(place, sample_id, source or (), to)
    console.emit(body, as_json, lambda: verify.show_replay(body, file))
    raise typer.Exit(console.OK if body["identical"] else console.SHORT)


@app.command()
def preview(
    place: Place,
    samples: Annotated[int, typer.Option(min=1, help="samples to show, spread over splits and classes")] = 48,
    as_json: Json = False,
) -> None:
    """Write a gallery beside the dataset: one self-contained HTML page, to open in any browser."""
    from lesionforge.engine.preview import preview as write
    from lesionforge.sinks.store import Store

    where = write(Store(place), samples)
    console.emit({"preview": where}, as_json, lambda: console.out.print(f"open {where}"))


@app.command()
def gc(
    place: Place,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
    age: Annotated[float, typer.Option(min=0, help="seconds; what is younger stays")] = 3600,
    as_json: Json = False,
) -> None:
    """Remove what interrupted runs have left: temporary files, tars without an index. Never while a run is at work."""
    from lesionforge.jobs.commands import gc

    body = gc.gc(place, dry_run, age)
    console.emit(body, as_json, lambda: gc.show(body))


@app.command()
def export(
    place: Place,
    to: Annotated[Path, typer.Option(help="folder to write; it must be empty or new")],
    layout: Annotated[
        str,
        typer.Option(
            "--format", help="yolo (Ultralytics folder), coco (ARCADE's layout) or nnunet (nnUNet_raw/DatasetNNN_NAME)"
        ),
    ],
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="again for more: severity class (default: all); for nnunet a label, or several as NAME=LABEL,LABEL "
            "(default: what train segmentation learns)",
        ),
    ] = None,
    organs: Annotated[bool, typer.Option("--organs", help="nnunet: the organs or vessels of the lesions too")] = False,
    image: Annotated[
        str | None,
        typer.Option(
            help="image.png (nnunet: ct), or source.png (nnunet: source_ct) for what was there before drawing"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a dataset as a folder that other tools train from: stenoses as boxes, lesions in CT as label maps."""
    from lesionforge.jobs.commands import export

    body = export.export(place, layout, to, classes or (), image, organs)
    console.emit(body, as_json, lambda: export.show(body))


@score.command()
def realism(
    place: Place,
    seeds: Annotated[int, typer.Option(min=1, help="judges, each trained anew")] = 3,
    sheet: Annotated[Path | None, typer.Option(help="write a PNG of the crops that the judge saw")] = None,
    as_json: Json = False,
) -> None:
    """Tell drawn lesions from real ones with a small network: AUC on frames it never saw, and what betrays them."""
    from lesionforge.jobs.tasks.realism import measure

    body = measure.measure(place, seeds, sheet)
    console.emit(body, as_json, lambda: measure.show(body))


@app.command()
def doctor(
    recipe: Annotated[Path | None, typer.Argument(metavar="[RECIPE]", help="a recipe to check as well")] = None,
    out: Annotated[str | None, typer.Option(help="a folder or URL to check; the recipe's own `out` otherwise")] = None,
    as_json: Json = False,
) -> None:
    """Say whether this machine, its packages, a recipe and a place are fit for a run. Exit code 3 where they are not.

    With RAY_ADDRESS set, the cluster as well.
    """
    from lesionforge.jobs.commands import doctor as examination

    console.own_standard_output()
    body = examination.examine(recipe, out)
    console.emit(body, as_json, lambda: examination.show(body))
    raise typer.Exit(console.SHORT if body["state"] == "fail" else console.OK)


@app.command()
def schema(
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The same as a page for people.")] = False,
) -> None:
    """Print the JSON Schema of recipes, with the options of every installed source and generator."""
    from lesionforge.engine import schema as recipes

    if markdown:
        console.out.print(recipes.markdown(), end="", markup=False, highlight=False, soft_wrap=True)
    else:
        console.emit(recipes.schema(), True, lambda: None)


def main() -> None:
    """Run a command; a user's mistake ends in one line that names it, never in a traceback."""
    from lesionforge.jobs.errors import known

    signal.signal(signal.SIGTERM, _interrupt)
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False) or console.OK  # the code of typer.Exit; Ctrl-C is 130
        if code == console.INTERRUPTED:
            _fail("interrupted; what is committed stays, run the same command again to continue", as_json, code)
        sys.exit(code)
    except Exception as error:
        if hasattr(error, "format_message"):  # click's own: wrong usage
            _fail(f"{error.format_message()} (see lesionforge --help)", as_json, 2)
        if not isinstance(error, tuple(known())) or os.environ.get("LESIONFORGE_TRACEBACK"):
            raise
        _fail(str(error), as_json, console.FAILED, getattr(error, "place", ""))


def _fail(message: str, as_json: bool, code: int, place: str = "") -> Any:
    """``place``, of a source, may name a patient: it is said to a terminal and goes into no log."""
    if as_json:
        console.emit({"error": message}, True, lambda: None)
    where = f" [{place}]" if place and console.err.is_terminal else ""
    console.err.print(f"lesionforge: {message}{where}", markup=False, style="red" if console.err.is_terminal else None)
    sys.exit(code)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
