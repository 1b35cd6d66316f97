"""Commands of single tasks beside the four that every task has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lesionforge.jobs import console
from lesionforge.jobs.options import Json, Out, Place, pairs


def register(groups: Mapping[str, typer.Typer]) -> None:
    """Hang them into the groups ``train``, ``score``, ``study`` and ``report``."""
    groups["score"].command()(realism)
    groups["score"].command()(track)
    groups["study"].command()(phantoms)


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


def track(
    test: Annotated[str, typer.Option(metavar="DATA", help="a dataset of runs (generator cine)")],
    test_split: Annotated[str, typer.Option(help="split of it")] = "test",
    trackers: Annotated[
        str | None,
        typer.Option(help="csrt (the paper's), template, still, with commas between; default: all that are here"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow lesions' boxes from one frame through their runs: overlap and distance by how far away a frame is."""
    from lesionforge.jobs.tasks.track import measure

    body = measure.measure(test, test_split, trackers.split(",") if trackers else [])
    console.emit(body, as_json, lambda: measure.show(body))


def phantoms(
    out: Out,
    domain: Annotated[str, typer.Option(help="plaques (coronary CT) or tumours (abdominal CT)")] = "plaques",
    models: Annotated[str, typer.Option(help="networks, with commas between")] = "unet",
    arms: Annotated[
        str | None, typer.Option(help="what is added to real data, with commas between; default: all there is")
    ] = None,
    subjects: Annotated[int, typer.Option(min=3, help="phantoms to learn from")] = 24,
    test: Annotated[int, typer.Option(min=2, help="phantoms to score on")] = 48,
    fit_steps: Annotated[int, typer.Option(min=1, help="of each learned backend's fit")] = 2000,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="A=B", help="a setting of the networks, e.g. steps=1500")
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="runs at a time; default: 2")] = None,
    as_json: Json = False,
) -> None:
    """PromptLesion's experiment on phantoms, from nothing: make the datasets, fit the backends, study.

    Hours on two cores; `--arms real,texture --seeds 2` says in half an hour which gain the rest could see ("seen
    from"), `--subjects 4 --test 4 --fit-steps 20 --seeds 1` in minutes that all runs. Every stage resumes: the same
    command goes on where it stopped, with more arms, networks or seeds too. `report segmentation OUT/nSUBJECTS/study`.
    """
    from lesionforge.jobs.studies import runs, workers
    from lesionforge.jobs.studies.commands import finish
    from lesionforge.jobs.tasks.segmentation.phantoms import ARMS, prepare

    console.own_standard_output()
    wanted = arms.split(",") if arms else list(ARMS)
    study, there = prepare(
        out, domain, subjects, test, wanted, fit_steps, lambda stage: console.err.print(stage, markup=False)
    )
    study = replace(study, changes={**study.changes, **pairs(changes)})
    todo = runs.runs(study, models.split(","), [subjects], there, seeds)
    finish(study, todo, out / f"n{subjects}" / "study", workers.Room(processes), as_json)
