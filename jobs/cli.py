"""The command line. Heavy imports happen inside the commands, so that ``--help`` and ``plan`` answer at once."""

from __future__ import annotations

import copy
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from lesionforge.generators.types import UserError
from lesionforge.jobs import console, errors
from lesionforge.jobs import dataset_commands as dataset
from lesionforge.jobs import recipe_commands as recipe
from lesionforge.jobs.fit.commands import app as fit
from lesionforge.jobs.reading.command import read
from lesionforge.jobs.studies import commands as studies
from lesionforge.jobs.tasks import commands as tasks
from lesionforge.jobs.tasks.reconstruction.clinical.command import reconstruct

app = typer.Typer(
    name="lesionforge",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Make synthetic coronary and lesion imaging datasets: a recipe in, WebDataset shards out.\n\n"
    "Start with `lesionforge plan demo`, then `lesionforge generate demo --out demo`; "
    "`lesionforge recipes` lists what else is ready to run.",
    epilog="Exit codes: 0 all is well; 1 an error, said in one line; 2 wrong usage; 3 finished, but the dataset is "
    "short of its quota or has problems; 130 interrupted (the line says what stays).",
)


class Learning(TyperCommand):
    """A command that needs the extra ``train``, and says so before it reads anything."""

    def invoke(self, ctx: Any) -> Any:
        """Look for the packages once the arguments are read: ``--help`` needs none of them."""
        errors.require_extra("train")
        return super().invoke(ctx)


RECIPES, DATASETS, MODELS = "From a recipe to a dataset", "A dataset", "Models and studies"
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    RECIPES: (recipe.recipes, recipe.init, recipe.plan, recipe.generate, recipe.doctor, recipe.schema),
    DATASETS: (
        dataset.status,
        dataset.verify,
        dataset.redo,
        dataset.replay,
        dataset.preview,
        dataset.export,
        dataset.gc,
    ),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command(rich_help_panel=MODELS, cls=Learning)(reconstruct)
app.command(rich_help_panel=MODELS, cls=Learning)(read)

train = typer.Typer(no_args_is_help=True, help="Train a downstream model on real data, generated data, or both.")
score = typer.Typer(no_args_is_help=True, help="Measure a dataset, or a model on real data.")
study = typer.Typer(no_args_is_help=True, help="Train and score a downstream model over arms, sizes and seeds.")
report = typer.Typer(no_args_is_help=True, help="Tables and pictures of a study, the paper's numbers beside ours.")
groups = {"train": train, "score": score, "study": study, "report": report}
studies.register(groups)
tasks.register(groups)
for verb, group in groups.items():
    app.add_typer(group, name=verb, rich_help_panel=MODELS)
app.add_typer(fit, name="fit", rich_help_panel=MODELS)


def _version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        console.out.print(f"lesionforge {metadata.version('lesionforge')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version, and end")
    ] = False,
) -> None:
    """Options before any command; the help of all is the app's own."""


for group in (train, score, study, fit):
    for registered in group.registered_commands:
        registered.cls = Learning


def main() -> None:
    """Run a command; a user's mistake ends in one line that names it, never in a traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # to find none, it asks all installed packages
    as_json = "--json" in sys.argv
    try:
        code = _alone(*sys.argv[1:2])(standalone_mode=False) or console.OK  # the code of typer.Exit; Ctrl-C is 130
        if code == console.INTERRUPTED:
            _fail(errors.interrupted(sys.argv[1:]), as_json, code)
        sys.exit(code)
    except Exception as error:
        if hasattr(error, "format_message"):  # click's own: wrong usage
            _fail(f"{error.format_message()} (see lesionforge --help)", as_json, 2)
        if isinstance(error, ModuleNotFoundError) and (explained := errors.explain(error)):
            error = explained
        elif not isinstance(error, UserError) and (unreached := errors.unreached(error)):
            error = unreached
        if not isinstance(error, UserError) or os.environ.get("LESIONFORGE_TRACEBACK"):
            raise
        _fail(str(error), as_json, console.FAILED, getattr(error, "place", ""))


def _alone(name: str = "") -> typer.Typer:
    """The app with one command or group only: Typer builds all it has, a tenth of what ``plan`` takes. Else the app."""
    one = copy.copy(app)
    one.registered_commands = [c for c in app.registered_commands if c.callback and c.callback.__name__ == name]
    one.registered_groups = [group for group in app.registered_groups if group.name == name]
    return one if one.registered_commands or one.registered_groups else app


def _fail(message: str, as_json: bool, code: int, place: str = "") -> Any:
    """``place``, of a source, may name a patient: it is said to a terminal and goes into no log."""
    if as_json:
        console.emit({"error": message}, True, lambda: None)
    where = f" [{place}]" if place and console.err.is_terminal else ""
    console.err.print(f"lesionforge: {message}{where}", markup=False, style="red" if console.err.is_terminal else None)
    sys.exit(code)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
