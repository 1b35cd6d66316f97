"""``lesionforge train|score|report|study detection``: the functions that ``jobs.cli`` hangs into its command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.jobs import console
from lesionforge.jobs.options import Device, Json, Out, pairs
from lesionforge.jobs.progress import follow, steps

REAL_HELP = "source of real frames, e.g. arcade:FOLDER; its options follow as --real-option part=train"

Real = Annotated[str | None, typer.Option(metavar="URI", help=REAL_HELP)]
RealOption = Annotated[list[str] | None, typer.Option(metavar="A=B", help="an option of the real frames' source")]
Test = Annotated[str, typer.Option(metavar="URI", help="source of the frames to score on")]
TestOption = Annotated[list[str] | None, typer.Option(metavar="A=B", help="an option of the test frames' source")]
Synthetic = Annotated[str | None, typer.Option(metavar="OUT", help="generated dataset: a folder or URL")]
Model = Annotated[str, typer.Option("--detector", help="centre, or an Ultralytics model such as yolo11l")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="A=B", help="a setting of the detector, e.g. steps=600")
]
Share = Annotated[float, typer.Option(min=0, max=1, help="share of real frames among the pictures drawn")]


def train(
    out: Out,
    real: Real = None,
    real_option: RealOption = None,
    synthetic: Synthetic = None,
    model: Model = "centre",
    settings: Settings = None,
    real_share: Share = 0.5,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Train a detector of stenoses on real frames, on a generated dataset, or on both."""
    from lesionforge.jobs.tasks.detection import detector, frames

    if real is None and synthetic is None:
        raise typer.BadParameter("give --real, --synthetic or both")
    mine = list(frames.from_source(real, pairs(real_option))) if real else []
    made = list(frames.from_dataset(synthetic)) if synthetic else []
    made = made if mine else [frame.only_drawn() for frame in made]
    learner = detector.make(model, device, **pairs(settings))
    losses: list[float] = []
    with steps("training") as advance:

        def tell(step: int, of: int, loss: float) -> None:
            losses.append(loss)
            advance(step, of, f"loss {loss:.2f}")

        learner.fit(mine, made, real_share, seed, progress=tell)
    out.parent.mkdir(parents=True, exist_ok=True)
    learner.save(out)
    body = {"out": str(out), "real": len(mine), "synthetic": len(made), "loss": losses[-1] if losses else None}
    console.emit(
        body, as_json, lambda: console.out.print(f"learnt {len(mine)} real, {len(made)} synthetic frames: {out}")
    )


def score(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="file that lesionforge train detection wrote")],
    test: Test,
    test_option: TestOption = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Score a detector on real frames: every metric with its 95 % bootstrap interval over subjects."""
    from lesionforge.jobs.tasks.detection import detector, frames, metrics
    from lesionforge.jobs.tasks.detection.study import DRAWS

    shown = list(frames.from_source(test, pairs(test_option)))
    if not shown:
        raise frames.FrameError("--test holds no frame to score on")
    found = detector.load(model, device).predict([frame.image for frame in shown])
    scores = metrics.Scores(shown, found)
    draws = scores.bootstrap(DRAWS)
    body: dict[str, Any] = {"model": str(model), "frames": len(shown), "lesions": sum(len(f.boxes) for f in shown)}
    body["scores"] = {
        name: {"value": value, "interval": metrics.interval(draws[name])}
        for name, value in scores.values().items()
        if value == value  # a class without lesions has none
    }
    rows = [
        (name, f"{s['value']:.3f}", f"{s['interval'][0]:.3f} – {s['interval'][1]:.3f}")
        for name, s in body["scores"].items()
    ]
    title = f"{body['frames']} frames, {body['lesions']} lesions"
    console.emit(body, as_json, lambda: console.table(title, ("score", "value", "95 %"), rows))


def study(
    out: Out,
    real: Annotated[str, typer.Option(metavar="URI", help=REAL_HELP)],
    test: Test,
    real_option: RealOption = None,
    test_option: TestOption = None,
    synthetic: Synthetic = None,
    sizes: Annotated[str, typer.Option(help="numbers of real frames")] = "50,100,200",
    arms: Annotated[str, typer.Option(help="real, xN, xN-natural, xN-placebo, xN-synthetic")] = (
        "real,x4,x1,x2,x4-placebo,x4-synthetic,x4-natural"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="each draws other real frames and other samples")] = 6,
    processes: Annotated[int, typer.Option(min=1, help="runs at a time, each on one core")] = 2,
    model: Model = "centre",
    settings: Settings = None,
    real_share: Share = 0.5,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Train and score a detector for every arm, size and seed. Run the same command again to continue."""
    from lesionforge.jobs.tasks.detection import report as reporting
    from lesionforge.jobs.tasks.detection import study as studying

    asked = studying.Study(
        studying.Place(real, pairs(real_option)),
        studying.Place(test, pairs(test_option)),
        synthetic,
        model,
        pairs(settings),
        device,
        real_share,
    )
    todo = studying.runs([int(n) for n in sizes.split(",")], arms.split(","), seeds)

    def note(result: dict[str, Any]) -> str:
        scores = result["scores"]
        return f"{studying.Run(**result['run']).name} AP50 {scores['ap50']:.3f} AP20 {scores['ap20']:.3f}"

    follow(todo, out, lambda tell: studying.conduct(asked, todo, out, processes, tell), note)
    body = reporting.report(out)
    console.emit(body, as_json, lambda: reporting.show(out))


def report(
    out: Annotated[Path, typer.Argument(metavar="STUDY", help="folder that lesionforge study detection wrote")],
    as_json: Json = False,
) -> None:
    """Tables and picture of a study, finished or not, with the paper's numbers beside ours."""
    from lesionforge.jobs.tasks.detection import report as reporting

    body = reporting.report(out)
    console.emit(body, as_json, lambda: reporting.show(out))
