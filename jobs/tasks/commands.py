"""Commands of single tasks beside the four that every task has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lesionforge.jobs import console
from lesionforge.jobs.options import Device, Json, Out, Place, pairs, usable

if TYPE_CHECKING:
    from lesionforge.jobs.tasks.segmentation.arms import Cohort

Domain = Annotated[str, typer.Option(help="plaques (coronary CT) or tumours (abdominal CT)")]
Models = Annotated[str, typer.Option(help="networks, with commas between")]
FitSteps = Annotated[
    int | None, typer.Option(min=1, help="of each learned backend's fit; default: what its kind is known to need")
]
Seeds = Annotated[int, typer.Option(min=1)]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="A=B", help="a setting of the networks, e.g. steps=1500")
]
Processes = Annotated[int | None, typer.Option(min=1, help="runs at a time; default: 2")]


def register(groups: Mapping[str, typer.Typer]) -> None:
    """Hang them into the groups ``train``, ``score``, ``study`` and ``report``."""
    groups["score"].command()(realism)
    groups["score"].command()(track)
    groups["study"].command()(phantoms)
    groups["study"].command()(lesions)


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
    domain: Domain = "plaques",
    models: Models = "unet",
    arms: Annotated[
        str | None, typer.Option(help="what is added to real data, with commas between; default: all there is")
    ] = None,
    subjects: Annotated[int, typer.Option(min=3, help="phantoms to learn from")] = 24,
    test: Annotated[int, typer.Option(min=2, help="phantoms to score on")] = 48,
    fit_steps: FitSteps = None,
    seeds: Seeds = 3,
    changes: Changes = None,
    processes: Processes = None,
    as_json: Json = False,
) -> None:
    """PromptLesion's experiment on phantoms, from nothing: make the datasets, fit the backends, study.

    Hours on two cores; `--arms real,texture --seeds 2` says in half an hour which gain the rest could see ("seen
    from"), `--subjects 4 --test 4 --fit-steps 20 --seeds 1` in minutes that all runs. Every stage resumes: the same
    command goes on where it stopped, with more arms, networks or seeds too. `report segmentation OUT/nSUBJECTS/study`.
    """
    from lesionforge.jobs.tasks.segmentation import phantoms

    cohort = phantoms.cohort(domain, subjects, test)
    wanted = arms.split(",") if arms else cohort.arms
    room, tests = out / f"n{subjects}", out / f"test{test}"
    _experiment(cohort, room, tests, wanted, fit_steps, models, subjects, seeds, changes, processes, as_json)


def lesions(
    data: Annotated[str, typer.Argument(metavar="DATA", help="your own CT with lesion labels: ct:FOLDER")],
    out: Out,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="A=B", help="of the source, e.g. layout=lits")
    ] = None,
    domain: Domain = "tumours",
    models: Models = "unet",
    arms: Annotated[
        str, typer.Option(help="what is added to real data, with commas between; other learned backends as well")
    ] = "real,copy-paste,texture,promptlesion-voxel",
    test_share: Annotated[float, typer.Option(min=0, max=1, help="of the subjects, to score on")] = 0.3,
    fit_steps: FitSteps = None,
    seeds: Seeds = 3,
    changes: Changes = None,
    device: Device = "cpu",
    processes: Processes = None,
    as_json: Json = False,
) -> None:
    """PromptLesion's experiment on your own CT: fit on its lesions, draw more of them, study what that helps.

    The subjects are dealt to those that are learnt from, by the backends and the networks alike, and those that are
    scored on. Lesions are drawn into the training subjects' CT, beside their own. Scans of different voxels need
    `--option spacing_mm=[1,1,1]`; `--option region=[liver]` keeps what is near. Every stage resumes: the same command
    goes on where it stopped, with more arms, networks or seeds too. `report segmentation OUT/study`.
    """
    from lesionforge.jobs.tasks.segmentation import patients

    cohort = patients.cohort(data, pairs(option), domain, test_share, usable(device))
    _experiment(cohort, out, out / "test", arms.split(","), fit_steps, models, None, seeds, changes, processes, as_json)


def _experiment(
    cohort: Cohort,
    room: Path,
    tests: Path,
    arms: Sequence[str],
    fit_steps: int | None,
    models: str,
    size: int | None,
    seeds: int,
    changes: list[str] | None,
    processes: int | None,
    as_json: bool,
) -> None:
    """Make the datasets, fit the backends, study."""
    from lesionforge.jobs.studies import runs, workers
    from lesionforge.jobs.studies.commands import finish
    from lesionforge.jobs.tasks.segmentation.arms import prepare

    console.own_standard_output()
    changed = pairs(changes)
    runs.learners("segmentation", changed, models.split(","))  # wrong ones are told before hours of drawing and fits
    study, there = prepare(cohort, room, tests, arms, fit_steps, lambda stage: console.err.print(stage, markup=False))
    study = replace(study, changes={**study.changes, **changed})
    todo = runs.runs(study, models.split(","), [size], there, seeds)
    finish(study, todo, room / "study", workers.Room(processes), as_json)
