"""``lesionforge recipes`` and ``init``: the recipes that come with the package, by name; and any recipe, opened."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from lesionforge.engine import recipe_yaml
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.sources.base import SourceError
from lesionforge.jobs import console

FOLDER = Path(__file__).resolve().parents[1] / "recipes"


@dataclass(frozen=True)
class Shipped:
    """A recipe of the package: its name, what it makes, and what must be there before it can."""

    name: str
    makes: str
    needs: str


@dataclass(repr=False)
class Recipes(console.CommandResult):
    """All of them."""

    recipes: list[Shipped]

    def body(self) -> dict[str, Any]:
        """For machines."""
        return {"recipes": [{**vars(one), "file": str(find(one.name))} for one in self.recipes]}

    def show(self, to: Console = console.out) -> None:
        """For people."""
        for one in self.recipes:
            to.print(f"[bold]{one.name}[/bold]  [dim]needs {one.needs}[/dim]\n    {one.makes}", markup=True)
        to.print("`lesionforge plan NAME` says how much; `lesionforge init NAME > my.yaml` gives the file to change.")


def recipes() -> Recipes:
    """What the package can make, by name."""
    return Recipes([_describe(path.stem) for path in sorted(FOLDER.glob("*.yaml"))])


def find(name: str) -> Path | None:
    """The file of a shipped recipe; hyphens are as good as underscores."""
    path = FOLDER / f"{name.replace('-', '_')}.yaml"
    return path if Path(name).name == name and path.is_file() else None


def init(name: str) -> str:
    """The text of a shipped recipe, comments and all.

    Raises:
        RecipeError: there is none of that name.
    """
    if not (path := find(name)):
        raise recipe_yaml.RecipeError(f"no recipe is shipped as {name!r}{_nearest(name)}")
    return path.read_text(encoding="utf-8")


def load(recipe: str | Path | Mapping[str, Any] | Recipe, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from what a person has of it, checked, with every default filled in.

    Args:
        recipe: a file, the name of a shipped recipe (a file of that name goes before it), a mapping or a `Recipe`.
        overrides: ``a.b=c`` assignments and ``~a.b`` removals.

    Raises:
        RecipeError: with one line per fault.
    """
    if isinstance(recipe, Recipe):
        recipe = recipe.model_dump(mode="json") | {"storage_options": recipe.storage_options}
    if isinstance(recipe, Mapping):
        return recipe_yaml.from_mapping(recipe, overrides=overrides)
    if not isinstance(recipe, str | os.PathLike):
        raise recipe_yaml.RecipeError(
            f"recipe is {repr(recipe)[:100]}: give a file, the name of a shipped recipe, a mapping or a Recipe"
        )
    path, shipped = Path(recipe), find(str(recipe))
    if shipped and path.is_file():
        console.note(f"{recipe} is a file here and a shipped recipe: the file is taken")
    elif shipped:
        path = shipped
    elif isinstance(recipe, str) and path.name == recipe and not path.suffix and not path.exists():
        raise recipe_yaml.RecipeError(f"recipe {recipe}: no such file, nor a shipped recipe{_nearest(recipe)}")
    return recipe_yaml.load(path, overrides)


def opened(checked: Recipe, given: str | Path | Mapping[str, Any] | Recipe) -> Pipeline:
    """A recipe's sources, generator and plan; the places in a shipped recipe are examples, which an error says.

    Args:
        checked: what ``load`` has made of ``given``.

    Raises:
        SourceError, PlanError, PluginError: where it cannot be opened.
    """
    try:
        return Pipeline(checked)
    except SourceError as error:
        if not isinstance(given, str) or not (path := find(given)) or Path(given).is_file():
            raise
        for n, (own, shipped) in enumerate(zip(checked.inputs, recipe_yaml.load(path).inputs, strict=False)):
            field = checked.field_of(n)
            if own.uri == shipped.uri and str(error).startswith(f"{field}.uri "):
                fix = f"give yours with --set {field}.uri={own.scheme}:FOLDER"
                hinted = SourceError(f"{error}; a shipped recipe's place is an example: {fix}")
                hinted.place = error.place
                raise hinted from None
        raise


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, [path.stem for path in FOLDER.glob("*.yaml")], n=1)
    return f"; did you mean {close[0]}?" if close else "; see lesionforge recipes"


def _describe(name: str) -> Shipped:
    """From the first sentence of its comment, and from what it reads."""
    text = init(name)
    head = []
    for line in text.splitlines():
        if not line.startswith("# ") or line.startswith("#  "):
            break
        head.append(line[2:])
    recipe = recipe_yaml.parse(text, name)
    needs = [source.uri for source in recipe.inputs if source.scheme != "phantom"]
    needs += ["fitted weights"] * ("weights" in text) + ["a GPU"] * (recipe.resources.gpus > 0)
    makes = re.split(r"(?<=\.) ", " ".join(head), maxsplit=1)[0]
    return Shipped(name, makes, ", ".join(needs) or "nothing")
