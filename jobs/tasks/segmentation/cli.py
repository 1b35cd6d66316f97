"""``lesionforge train|score|report|study segmentation``: the functions that ``jobs.cli`` hangs into itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lesionforge.jobs import console
from lesionforge.jobs.options import Device, Json, Out, pairs
from lesionforge.jobs.progress import follow, steps

PLACE = "dataset of the lesion generator, or a CT source with lesion labels, e.g. ct:FOLDER"

Test = Annotated[str, typer.Option(metavar="DATA", help=f"what to score on: {PLACE}")]
TestSplit = Annotated[str, typer.Option(help="split of the test dataset")]
RealOption = Annotated[list[str] | None, typer.Option(metavar="A=B", help="an option of the real source")]
TestOption = Annotated[list[str] | None, typer.Option(metavar="A=B", help="an option of the test source")]
Domain = Annotated[str, typer.Option(help="ccta (calcified, non-calcified plaque) or abdomen (a class per organ)")]
Preset = Annotated[str, typer.Option(help="paper (published sizes, for a GPU) or tiny (a minute of one CPU core)")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="A=B", help="a setting of the network, e.g. steps=600")
]
Tolerance = Annotated[float, typer.Option(min=0, metavar="MM", help="of surface distances, for NSD")]


def train(
    out: Out,
    real: Annotated[str | None, typer.Option(metavar="DATA", help=f"real scans: {PLACE}")] = None,
    real_option: RealOption = None,
    synthetic: Annotated[str | None, typer.Option(metavar="DATA", help=f"synthetic scans: {PLACE}")] = None,
    network: Annotated[str, typer.Option(help="unet or dynunet")] = "unet",
    domain: Domain = "ccta",
    preset: Preset = "paper",
    settings: Settings = None,
    real_share: Annotated[float, typer.Option(min=0, max=1, help="share of real scans among the patches")] = 0.5,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Train a network that segments plaques or tumours, on the train splits of real data, generated data, or both."""
    from lesionforge.jobs.tasks.segmentation import scans
    from lesionforge.jobs.tasks.segmentation import settings as presets
    from lesionforge.jobs.tasks.segmentation.segmenter import Segmenter

    if real is None and synthetic is None:
        raise typer.BadParameter("give --real, --synthetic or both")
    mine = scans.read(real, "train", domain, pairs(real_option)) if real else []
    made = scans.read(synthetic, "train", domain) if synthetic else []
    scans.require_lesions([*mine, *made], domain, "the training data")
    model = Segmenter(presets.settings(network, preset, pairs(settings)), domain, device)
    losses: list[float] = []
    with steps("training") as advance:

        def tell(step: int, of: int, loss: float) -> None:
            losses.append(loss)
            advance(step, of, f"loss {loss:.3f}")

        model.fit(mine, made, real_share, seed, progress=tell)
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(out)
    body = {"out": str(out), "real": len(mine), "synthetic": len(made), "loss": losses[-1]}
    body |= {"parameters": model.parameters, "classes": list(model.classes)}
    console.emit(
        body, as_json, lambda: console.out.print(f"learnt {len(mine)} real, {len(made)} synthetic scans: {out}")
    )


def score(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="file that lesionforge train segmentation wrote")],
    test: Test,
    test_split: TestSplit = "test",
    test_option: TestOption = None,
    tolerance_mm: Tolerance = 2.0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Score a network on labelled scans: per class Dice by voxel and by lesion, surface Dice, lesions found."""
    from lesionforge.jobs.tasks.segmentation import scans
    from lesionforge.jobs.tasks.segmentation.segmenter import Segmenter
    from lesionforge.jobs.tasks.segmentation.study import scored
    from lesionforge.jobs.tasks.segmentation.summary import SCORES, summarise

    learnt = Segmenter.load(model, device)
    shown = scans.read(test, test_split, learnt.domain, pairs(test_option))
    scans.require_lesions(shown, learnt.domain, "--test")
    with steps("scoring") as advance:
        found = []
        for scan in shown:
            found.append(scored(learnt, scan, tolerance_mm))
            advance(len(found), len(shown), "")
    network, arm = learnt.settings.network, model.stem
    told = {"run": {"network": network, "arm": arm, "seed": 0}, "domain": learnt.domain, "subjects": found}
    summary = summarise([told | {"classes": list(learnt.classes)}])
    cells = {name: [summary.cell(network, arm, name, column) for column in summary.columns] for name in SCORES}
    scores = {
        name: {cell.column: None if cell.mean != cell.mean else cell.mean for cell in row if cell}  # NaN is no JSON
        for name, row in cells.items()
    }
    body = {"model": str(model), "scans": len(shown), "scores": scores, "subjects": found}
    rows = [(name, *("–" if v is None else f"{v:.3f}" for v in row.values())) for name, row in scores.items()]
    title = f"{len(shown)} scans of {len({scan.subject for scan in shown})} subjects"
    console.emit(body, as_json, lambda: console.table(title, ("score", *summary.columns), rows))


def study(
    out: Out,
    real: Annotated[str, typer.Option(metavar="DATA", help=f"real scans, its train split: {PLACE}")],
    test: Test,
    synthetic: Annotated[
        list[str] | None, typer.Option(metavar="NAME=DATA", help="synthetic scans, by the name that arms give them")
    ] = None,
    real_option: RealOption = None,
    test_split: TestSplit = "test",
    test_option: TestOption = None,
    networks: Annotated[str, typer.Option(help="unet, dynunet")] = "unet,dynunet",
    arms: Annotated[
        str | None,
        typer.Option(help="real, NAME (as many patches as real ones), NAMExN (N times as many); default: all"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="each other weights and patches; with --size, other scans")] = 3,
    size: Annotated[int | None, typer.Option(min=1, help="real scans, drawn by seed; default: all")] = None,
    domain: Domain = "ccta",
    preset: Preset = "tiny",
    settings: Settings = None,
    processes: Annotated[int, typer.Option(min=1, help="runs at a time, each on one core")] = 2,
    tolerance_mm: Tolerance = 2.0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Train and score a network for every arm and seed, all for as many steps. The same command again continues."""
    from lesionforge.jobs.tasks.segmentation import report as reporting
    from lesionforge.jobs.tasks.segmentation import study as studying

    named = {}
    for pair in synthetic or ():
        name, equals, place = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"--synthetic {pair!r} is not NAME=DATA")
        named[name] = studying.Place(place)
    asked = studying.Study(
        studying.Place(real, "train", pairs(real_option)),
        studying.Place(test, test_split, pairs(test_option)),
        named,
        domain,
        preset,
        pairs(settings),
        size,
        device,
        tolerance_mm,
    )
    todo = studying.runs(asked, networks.split(","), arms.split(",") if arms else [studying.REAL, *named], seeds)
    follow(
        todo,
        out,
        lambda tell: studying.conduct(asked, todo, out, processes, tell),
        lambda result: f"{studying.Run(**result['run']).name} loss {result['loss']:.3f}",
    )
    body = reporting.report(out)
    console.emit(body, as_json, lambda: reporting.show(out))


def report(
    out: Annotated[Path, typer.Argument(metavar="STUDY", help="folder that lesionforge study segmentation wrote")],
    as_json: Json = False,
) -> None:
    """Tables and picture of a study, finished or not, with PromptLesion's numbers beside ours."""
    from lesionforge.jobs.tasks.segmentation import report as reporting

    body = reporting.report(out)
    console.emit(body, as_json, lambda: reporting.show(out))
