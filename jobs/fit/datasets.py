"""Datasets that commands make on their way from CT; what a person must know of them is told as they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lesionforge.engine import dataset
from lesionforge.engine.dataset import DatasetError
from lesionforge.engine.recipe import SourceRecipe
from lesionforge.jobs.errors import UsageError
from lesionforge.sinks import layout, limits
from lesionforge.sinks.store import Store


def made(place: str, name: str, recipe: Mapping[str, Any], tell: Callable[[str], None], again: bool = True) -> int:
    """Make a dataset, say what is not in it, and how many samples are.

    Args:
        place: folder of the dataset.
        name: of it, where something is told.
        recipe: of ``lesionforge generate``.
        tell: called with each line.
        again: look at one that is there, and refuse it if its subjects or the recipe are others by now.

    Raises:
        DatasetError, UsageError: another one is there.
    """
    from lesionforge.jobs.commands.generate import generate

    store = Store(place)
    if store.exists(layout.SUCCESS) and not again:
        manifest = limits.parsed(store.get(layout.MANIFEST, limits.DOCUMENT))
    else:
        try:
            result = generate(recipe, place, None, True)
        except DatasetError as error:
            raise _with_shares(error, store, recipe) from None
        manifest = result.manifest
        for note in result.notes if again else ():  # the others' sources are the same
            tell(f"{name}: {note}")
    if lost := manifest["quarantined"]:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in manifest["reasons"].items())
        tell(f"{name}: {lost} of {lost + manifest['samples']} are left out: {reasons}")
    return int(manifest["samples"])


def _with_shares(error: DatasetError, store: Store, recipe: Mapping[str, Any]) -> Exception:
    """What is refused because other subjects go to other splits: of the shares the engine says nothing."""
    try:
        there = dataset.read(store).recipe.inputs
    except DatasetError:
        return error
    for begun, now in zip(there, map(SourceRecipe.model_validate, recipe["sources"]), strict=False):
        before, after = (
            ", ".join(f"{split} {share:.4g}" for split, share in sorted(source.split.items()) if share)
            for source in (begun, now)
        )
        if before != after:
            return UsageError(
                f"{store.url()} was made with these shares of the subjects: {before}; now they are {after}: give the "
                "same again, or choose another --out"
            )
    return error
