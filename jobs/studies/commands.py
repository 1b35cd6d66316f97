"""``lesionforge train|score|study|report TASK``: one function each, for every task of ``jobs.tasks``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.jobs import console
from lesionforge.jobs.options import Device, Json, Out, pairs, usable
from lesionforge.jobs.progress import steps
from lesionforge.jobs.studies.readers import commands as readers
from lesionforge.jobs.tasks import TASKS

PLACE = "a generated dataset, or a source of real cases such as arcade:FOLDER or ct:FOLDER"

Real = Annotated[str, typer.Option(metavar="DATA", help=f"real data: {PLACE}; of a dataset, the split train")]
MaybeReal = Annotated[
    str | None, typer.Option(metavar="DATA", help=f"real data: {PLACE}; of a dataset, the split train")
]
RealOption = Annotated[list[str] | None, typer.Option(metavar="A=B", help="an option of the real data's source")]
Test = Annotated[str, typer.Option(metavar="DATA", help=f"what to score on: {PLACE}")]
TestOption = Annotated[list[str] | None, typer.Option(metavar="A=B", help="an option of the test data's source")]
TestSplit = Annotated[str, typer.Option(help="split of a dataset to score on")]
Model = Annotated[str | None, typer.Option(help="which learner; default: the task's first")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A=B", help="an option of the task or a setting of its learner, e.g. steps=600"),
]
Models = Annotated[str | None, typer.Option(help="learners, with commas between; default: the task's own")]
Sizes = Annotated[str | None, typer.Option(help="numbers of real items, or all; default: the task's own")]
Arms = Annotated[str | None, typer.Option(help="what is learnt from; default: real, and all that the task knows")]
Synthetic = Annotated[
    list[str] | None,
    typer.Option(metavar="[NAME=]DATA", help="a generated dataset, by the name that arms give it; again for more"),
]


def register(groups: Mapping[str, typer.Typer]) -> None:
    """Hang a command of every task into the groups ``train``, ``score``, ``study`` and ``report``."""
    for name, entry in TASKS.items():
        groups["train"].command(
            name, help=f"Train a network that finds {entry.learns}. The same command again goes on where it was."
        )(_train(name))
        groups["score"].command(
            name, help=f"Score a network that finds {entry.learns}: every measure with its 95 % interval over subjects."
        )(_score(name))
        groups["study"].command(
            name,
            help=f"Train and score networks that find {entry.learns}, for every arm, size and seed. The same command "
            "again continues; with RAY_ADDRESS, on the nodes of that cluster, which must see the data.",
        )(_study(name))
        groups["report"].command(
            name, help="Tables and picture of a study, finished or not, with the paper's numbers beside ours."
        )(_report(name))
    readers.register(groups)


def _train(name: str) -> Callable[..., None]:
    def train(
        out: Out,
        real: MaybeReal = None,
        real_option: RealOption = None,
        synthetic: Annotated[
            str | None, typer.Option(metavar="DATA", help="a generated dataset, its split train")
        ] = None,
        model: Model = None,
        changes: Changes = None,
        real_share: Annotated[
            float, typer.Option(min=0, max=1, help="share of real items among those drawn, where there are both")
        ] = 0.5,
        seed: Annotated[int, typer.Option(min=0)] = 0,
        device: Device = "cpu",
        workers: Annotated[
            int, typer.Option(min=1, help="processes that share every batch, each with its own GPU if --device is cuda")
        ] = 1,
        as_json: Json = False,
    ) -> None:
        from lesionforge.jobs.learning import training
        from lesionforge.jobs.studies import places
        from lesionforge.jobs.studies.places import DataPlace
        from lesionforge.jobs.studies.task import configured

        if real is None and synthetic is None:
            raise typer.BadParameter("give --real, --synthetic or both")
        if workers == 1:
            usable(device)
        task, own = configured(name, pairs(changes))
        learner = task.learner(task.changed(model or task.models[0], own), device)
        given = {
            "--real": DataPlace(real or "", "train", pairs(real_option), "--real"),
            "--synthetic": DataPlace(synthetic or "", option="--synthetic"),
        }
        readings = {option: places.read(task, place) for option, place in given.items() if place.uri}
        bodies = {option: reading.body() for option, reading in readings.items()}
        places.tell(bodies)
        items, made = (readings[option].items if option in readings else [] for option in given)
        task.check([*items, *made], "the training data")
        out.parent.mkdir(parents=True, exist_ok=True)
        console.err.print(f"learning from {len(items):,} real, {len(made):,} synthetic items", markup=False)
        loss = training.train(learner, items, made if items else task.alone(made), real_share, seed, out, workers)
        body = {"out": str(out), "real": len(items), "synthetic": len(made), "places": bodies, "loss": loss}
        console.emit(
            body, as_json, lambda: console.out.print(f"learnt {len(items)} real, {len(made)} synthetic items: {out}")
        )

    return train


def _score(name: str) -> Callable[..., None]:
    def score(
        model: Annotated[Path, typer.Argument(metavar="MODEL", help="file that lesionforge train wrote")],
        test: Test,
        test_split: TestSplit = "test",
        test_option: TestOption = None,
        changes: Changes = None,
        device: Device = "cpu",
        as_json: Json = False,
    ) -> None:
        from lesionforge.jobs.studies import places, runs, summary
        from lesionforge.jobs.studies.places import DataPlace
        from lesionforge.jobs.studies.tables import NONE, dashed
        from lesionforge.jobs.studies.task import configured

        task, own = configured(name, pairs(changes))
        if own:
            raise typer.BadParameter(f"--set {next(iter(own))}: the model is trained; give options of the task alone")
        task, learner = task.load(model, usable(device))
        reading = places.read(task, DataPlace(test, test_split, pairs(test_option), "--test"))
        places.tell({"--test": reading.body()})
        task.check(reading.items, "--test")
        for doubt in task.doubts(learner, reading.items):
            console.note(doubt)
        with steps("scoring") as advance:
            found = runs.scores(task, learner, reading.items, lambda done, of: advance(done, of, ""))
        estimates = {
            measure: summary.estimate([value], [found["draws"][measure]], found["held"][measure], task.bounds(measure))
            for measure, value in found["scores"].items()
            if value is not None
        }
        without = [measure for measure, value in found["scores"].items() if value is None]
        scores = {
            measure: {"value": one.value, "interval": None if one.low is None else [one.low, one.high], "n": one.n}
            for measure, one in estimates.items()
        }
        body = {"model": str(model), "test": found["test"], "places": {"--test": reading.body()}, "scores": scores}
        body |= {"without_value": without, "rows": found["rows"]}
        rows = [
            (measure, dashed(one.value), NONE if one.low is None else f"{dashed(one.low)} – {dashed(one.high)}", one.n)
            for measure, one in estimates.items()
        ]
        title = f"{found['test']['items']} items of {found['test']['subjects']} subjects"
        console.emit(body, as_json, lambda: console.table(title, ("measure", "value", "95 %", "n"), rows))
        if without:
            console.note(f"no value for {', '.join(without)}: no test item holds what they measure")
        if any(one.low is None for one in estimates.values()):
            console.note("an interval needs two subjects that hold what is measured")
        if beware := summary.caution(found["test"]):
            console.note(beware)

    return score


def _study(name: str) -> Callable[..., None]:
    def study(
        out: Out,
        real: Real,
        test: Test,
        real_option: RealOption = None,
        test_split: TestSplit = "test",
        test_option: TestOption = None,
        synthetic: Synthetic = None,
        models: Models = None,
        sizes: Sizes = None,
        arms: Arms = None,
        seeds: Annotated[int, typer.Option(min=1, help="each other weights, real items and samples")] = 3,
        changes: Changes = None,
        device: Device = "cpu",
        processes: Annotated[
            int | None, typer.Option(min=1, help="runs at a time; default: 2 here, all that have room on a cluster")
        ] = None,
        cpus: Annotated[float, typer.Option(min=0.01, help="cores of a run")] = 1,
        gpus: Annotated[
            float | None, typer.Option(min=0, help="GPUs of a run, e.g. 0.5; default: 1 if --device is cuda")
        ] = None,
        in_process: Annotated[
            bool, typer.Option("--in-process", help="one run after the other in this process, without Ray")
        ] = False,
        as_json: Json = False,
    ) -> None:
        from lesionforge.jobs.studies import runs
        from lesionforge.jobs.studies.places import DataPlace
        from lesionforge.jobs.studies.workers import Room

        console.own_standard_output()
        asked = runs.Study(
            name,
            DataPlace(real, "train", pairs(real_option), "--real"),
            DataPlace(test, test_split, pairs(test_option), "--test"),
            _named(synthetic or ()),
            pairs(changes),
            device,
        )
        todo = runs.runs(
            asked,
            models.split(",") if models else None,
            [_size(word) for word in sizes.split(",")] if sizes else None,
            arms.split(",") if arms else None,
            seeds,
        )
        finish(asked, todo, out, Room(processes, cpus, gpus, in_process), as_json)

    return study


def finish(study: Any, todo: Any, out: Path, room: Any, as_json: bool) -> None:
    """Conduct what is left of a study's runs, show each as it ends, and report."""
    from lesionforge.jobs.studies import report as reporting
    from lesionforge.jobs.studies import runs
    from lesionforge.jobs.studies.folder import unfinished
    from lesionforge.jobs.studies.workers import conduct

    left = len(unfinished(todo, out))
    if left:
        held = ", ".join(f"{place.option}: {place.amount()}" for place in study.places())
        console.err.print(f"{left} of {len(todo)} runs to make; {held}", markup=False)
    with steps("runs") as advance:
        done = len(todo) - left
        advance(done, len(todo), "")

        def tell(result: dict[str, Any]) -> None:
            nonlocal done
            done += 1
            advance(done, len(todo), runs.in_words(study, result))

        conduct(study, todo, out, room, tell)
    _tell(reporting.report(out, study.task), as_json)


def _report(name: str) -> Callable[..., None]:
    def report(
        out: Annotated[Path, typer.Argument(metavar="STUDY", help="folder that lesionforge study wrote")],
        as_json: Json = False,
    ) -> None:
        from lesionforge.jobs.studies import report as reporting

        _tell(reporting.report(out, name), as_json)

    return report


def _tell(made: Any, as_json: bool) -> None:
    """Show a report, and on standard error what its runs could not read."""
    from lesionforge.jobs.studies import places

    console.emit(made.body, as_json, made.show)
    places.tell(made.body["places"])


def _named(given: Any) -> dict[str, Any]:
    """``[NAME=]DATA`` by name; a name must be told from an arm, and do for a file's name."""
    from lesionforge.jobs.studies.places import DataPlace
    from lesionforge.jobs.studies.runs import NAME
    from lesionforge.jobs.studies.task import REAL

    out = {}
    for pair in given:
        name, equals, place = pair.partition("=")
        if not equals or "/" in name:
            name, place = "", pair
        elif name == REAL or re.fullmatch(r"(.+)?x\d.*", name) or not re.fullmatch(NAME, name):
            raise typer.BadParameter(f"--synthetic {name}=...: give a plain word, not real, that does not end in xN")
        if name in out:
            raise typer.BadParameter(f"--synthetic {name or 'without a name'} is given twice: name each, NAME=DATA")
        out[name] = DataPlace(place, option=f"--synthetic {name}".strip())
    return out


def _size(word: str) -> int | None:
    if word == "all":
        return None
    if not word.isdecimal() or not int(word):
        raise typer.BadParameter(f"--sizes holds {word!r}: give numbers of 1 or more, or all")
    return int(word)
