"""``lesionforge doctor``: whether this machine, its packages, a recipe and a place are fit for a run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lesionforge.engine.recipe import Recipe
from lesionforge.generators.types import UserError
from lesionforge.jobs import console
from lesionforge.jobs.commands import doctor_machine, doctor_packages
from lesionforge.sinks.card import counted, human_bytes
from lesionforge.sinks.store import Store

SLOW_STORE = 2.0  # seconds for two writes, a read, a list and a delete


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, what was found and what to do about it."""

    name: str
    state: Literal["ok", "warn", "fail"]
    text: str


def examine(recipe_name: str | None, out: str | None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Look at everything; nothing but a probe object is written, and that is removed again.

    Args:
        recipe_name: a recipe to check, with what it needs.
        out: a place to check; the recipe's own where ``None``.
        overrides: changes of the recipe.
    """
    findings = [
        Finding(*found) for found in (*doctor_packages.versions(), *doctor_packages.licences(), *doctor_machine.look())
    ]
    recipe, planned = None, None
    if recipe_name is not None:
        recipe, planned, found = _recipe(recipe_name, overrides)
        findings += found
    findings += [Finding(*found) for found in (*doctor_machine.gpus(recipe), *doctor_machine.ray(recipe))]
    place = out or (recipe.out if recipe else None)
    if place:
        findings += _storage(place, recipe, planned)
    states = [finding.state for finding in findings]
    return {
        "state": "fail" if "fail" in states else "warn" if "warn" in states else "ok",
        "findings": [asdict(finding) for finding in findings],
    }


def _recipe(name: str, overrides: Sequence[str]) -> tuple[Recipe | None, int | None, list[Finding]]:
    """The recipe, the bytes of its whole dataset, whether both could be told, and what may not be expected of it."""
    from lesionforge.jobs.commands import recipes

    recipe = None
    try:
        recipe = recipes.load(name, overrides)
        pipeline = recipes.opened(recipe, name)
    except UserError as error:
        return recipe, None, [Finding("recipe", "fail", str(error))]
    plan = pipeline.plan
    size = "of unknown size" if plan.bytes is None else f"about {human_bytes(plan.bytes)}"
    text = f"{recipe.name}: {counted(len(plan), 'sample')} in {counted(plan.shards, 'shard')}, {size}"
    notes = [Finding("sources", "warn", note) for note in pipeline.notes]
    return recipe, plan.bytes, [Finding("recipe", "ok", text), *notes]


def _storage(place: str, recipe: Recipe | None, planned: int | None) -> Iterator[Finding]:
    """Whether a place can be written, is honest about create-only writes, and holds what is planned."""
    try:
        store = Store(place, recipe.storage_options if recipe else None)
        began = time.perf_counter()
        store.probe()
    except UserError as error:
        yield Finding("storage", "fail", str(error))
        return
    seconds = time.perf_counter() - began
    text = f"{store.url()}: written, read and listed in {1e3 * seconds:.0f} ms"
    if store.conditional:
        text += ", and it refuses the second of two creators (conditional PUT)"
        yield Finding("storage", "warn" if seconds > SLOW_STORE else "ok", text)
    else:
        text += ", but it lets a second creator overwrite: one run at a time, whose driver publishes every shard"
        yield Finding("storage", "warn", text)
    if store.is_local:
        folder = store.local_path()
        free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
        text = f"{human_bytes(free)} free in {folder}"
        if planned is None:
            yield Finding("disk", "ok", text)
        else:
            enough = free > 1.1 * planned
            yield Finding("disk", "ok" if enough else "fail", f"{text}, {human_bytes(planned)} planned")


def show(body: dict[str, Any], to: Console = console.out) -> None:
    """For people."""
    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    grid = Table.grid(padding=(0, 2, 0, 0))
    for f in body["findings"]:
        grid.add_row(Text(f["state"], colours[f["state"]]), Text(f["name"]), Text(f["text"]))
    if to.is_terminal:
        to.print(grid, soft_wrap=False)
    else:  # a line each, for grep
        to.print("\n".join(f"{f['state']:6}{f['name']:10}{f['text']}" for f in body["findings"]), markup=False)
    verdict = {"ok": "all is well", "warn": "fit for a run", "fail": "not fit for a run"}[body["state"]]
    counts = ", ".join(f"{sum(f['state'] == state for f in body['findings'])} {state}" for state in colours)
    to.print(Text(f"{verdict}: {counts}", colours[body["state"]]))
