"""The commands that take a recipe; heavy imports happen inside them."""

from __future__ import annotations

from typing import Annotated

import typer

from lesionforge.jobs import console
from lesionforge.jobs.options import Json

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="a YAML file, or the name of a recipe of `lesionforge recipes`")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="change a field of the recipe; may be given again and again"),
]
Removals = Annotated[
    list[str] | None,
    typer.Option("--unset", metavar="A.B", help="remove a field of the recipe, before any --set; again for more"),
]


def generate(
    recipe: RecipeName,
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
    mix_versions: Annotated[
        bool,
        typer.Option("--mix-versions", help="go on with other versions of libraries than the dataset was begun with"),
    ] = False,
    overrides: Overrides = None,
    removals: Removals = None,
    as_json: Json = False,
) -> None:
    """Make the dataset that a recipe describes. Run the same command again to continue after an interruption.

    On a Ray cluster (RAY_ADDRESS set, or inside `ray job submit`) workers run there; else Ray is started here.
    "Missing authentication token" is Ray's word for RAY_AUTH_MODE=token, to be set for `ray job submit` as well.
    """
    from lesionforge.jobs.commands.generate import generate as run

    console.own_standard_output()
    result = run(recipe, out, workers, in_process, _changes(removals, overrides), wait_for_nodes, mix_versions)
    console.emit(result.body(), as_json, result.show)
    raise typer.Exit(console.OK if not result.short and not result.failed else console.SHORT)


def plan(
    recipe: RecipeName,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="make three samples; tell samples/s, hours and bytes")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="workers to reckon the hours for")] = 1,
    overrides: Overrides = None,
    removals: Removals = None,
    as_json: Json = False,
) -> None:
    """Say what a recipe would make: samples per split and class, shards, bytes. Makes nothing.

    Exit code 3 where `--estimate` could make none of its samples.
    """
    from lesionforge.jobs.commands.plan import plan as run

    result = run(recipe, _changes(removals, overrides), estimate, workers)
    console.emit(result.body(), as_json, result.show)
    if result.estimate and not result.estimate["samples_made"]:
        raise typer.Exit(console.SHORT)


def recipes(as_json: Json = False) -> None:
    """List the recipes that come with this package: what each makes, and what it needs."""
    from lesionforge.jobs.commands.recipes import recipes as run

    result = run()
    console.emit(result.body(), as_json, result.show)


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="of `lesionforge recipes`")], as_json: Json = False
) -> None:
    """Print a shipped recipe, to change it: `lesionforge init demo > my.yaml`."""
    from lesionforge.jobs.commands.recipes import init as run

    text = run(name)
    console.emit({"name": name, "recipe": text}, as_json, lambda: console.out.file.write(text))


def doctor(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="a recipe to check as well: a file or a shipped one's name")
    ] = None,
    out: Annotated[str | None, typer.Option(help="a folder or URL to check; the recipe's own `out` otherwise")] = None,
    overrides: Overrides = None,
    removals: Removals = None,
    as_json: Json = False,
) -> None:
    """Say whether this machine, its packages, a recipe and a place are fit for a run. Exit code 3 where they are not.

    With RAY_ADDRESS set, the cluster as well.
    """
    from lesionforge.jobs.commands import doctor as examination

    console.own_standard_output()
    body = examination.examine(recipe, out, _changes(removals, overrides))
    console.emit(body, as_json, lambda: examination.show(body))
    raise typer.Exit(console.SHORT if body["state"] == "fail" else console.OK)


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


def _changes(removals: list[str] | None, overrides: list[str] | None) -> list[str]:
    return [*(f"~{path}" for path in removals or ()), *(overrides or ())]
