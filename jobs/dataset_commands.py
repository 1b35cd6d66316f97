"""The commands that take a dataset; heavy imports happen inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lesionforge.jobs import console
from lesionforge.jobs.options import Json, Place, Storage, Trust, opened

Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        metavar="N=URI",
        help="where source N (or backgrounds) lies; no dataset says it, paths may hold names",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="A.B=C", help="generator.params.weights=FOLDER of a learned backend, or resources of workers"
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="default: as many as have room")]
MixVersions = Annotated[
    bool,
    typer.Option("--mix-versions", help="make shards again with other versions of libraries; their bytes may differ"),
]
InProcess = Annotated[bool, typer.Option("--in-process", help="one worker in this process, without Ray")]


def status(
    place: Place,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="keep looking until it is finished, or no run is at work any more (exit code 0, or 3 if short)",
        ),
    ] = False,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Say how far a dataset is, from its storage alone. With `--watch --json`, one JSON object a line per change."""
    from lesionforge.jobs.commands import status as look

    store = opened(place, storage)
    if watch:
        body = look.watch(store, as_json)
        raise typer.Exit(console.OK if body["state"] == "complete" else console.SHORT)
    body = look.Progress(store).look()
    console.emit(body, as_json, lambda: look.show(body))


def verify(
    place: Place,
    repair: Annotated[
        bool, typer.Option("--repair", help="make again what is missing or bad, shards too, and write the rest anew")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="only make missing or broken indexes anew from the tars")
    ] = False,
    source: Sources = None,
    changes: Changes = None,
    workers: Workers = None,
    in_process: InProcess = False,
    mix_versions: MixVersions = False,
    trust: Trust = False,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Re-read the whole dataset: checksums, members, plan, quotas, splits, and every file that describes it.

    Exit code 3 where anything is wrong. `--repair` is a run: it makes shards again from recipe and sources, which no
    dataset says the places of (`--source 0=ct:/data`), and never believes a tar against a hash that is known.
    """
    from lesionforge.jobs.commands import repair as mending
    from lesionforge.jobs.commands.verify import verify as run

    console.own_standard_output()
    store = opened(place, storage)
    given = (source or (), changes or (), workers, in_process, mix_versions, trust)
    verdict = mending.repair(store, *given) if repair else run(store, rebuild)
    console.emit(verdict.body(), as_json, verdict.show)
    raise typer.Exit(console.SHORT if verdict.problems else console.OK)


def redo(
    place: Place,
    reason: Annotated[
        list[str] | None,
        typer.Option(help="part of a reason of `lesionforge status`: the shards with samples quarantined for it"),
    ] = None,
    sample: Annotated[list[str] | None, typer.Option(metavar="ID", help="the shard of this sample")] = None,
    shard: Annotated[list[str] | None, typer.Option(metavar="NAME", help="this shard, e.g. train-000012")] = None,
    source: Sources = None,
    changes: Changes = None,
    workers: Workers = None,
    in_process: InProcess = False,
    mix_versions: MixVersions = False,
    trust: Trust = False,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Make chosen shards again, once what failed their samples is mended, and finish the dataset as `generate` does."""
    from lesionforge.jobs.commands.repair import redo as run

    console.own_standard_output()
    store = opened(place, storage)
    given = (source or (), changes or (), workers, in_process, mix_versions, trust)
    result = run(store, reason or (), sample or (), shard or (), *given)
    console.emit(result.body(), as_json, result.show)
    raise typer.Exit(console.OK if not result.short and not result.failed else console.SHORT)


def replay(
    place: Place,
    sample_id: Annotated[str, typer.Argument(metavar="SAMPLE_ID", help="e.g. train-0000-00000012")],
    source: Sources = None,
    weights: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="generator.params.weights=FOLDER", help="where a learned backend's weights lie"),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="write the sample's members into this folder")] = None,
    trust: Trust = False,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Make one sample again from recipe and sources, and compare its bytes with the stored ones."""
    from lesionforge.jobs.commands.again import moved, placed
    from lesionforge.jobs.commands.replay import replay as run

    result = run(opened(place, storage), sample_id, moved(source or ()), placed(weights or ()), trust)
    if to is not None:
        result.write(to)
    console.emit(result.body(), as_json, result.show)
    raise typer.Exit(console.OK if result.identical else console.SHORT)


def preview(
    place: Place,
    samples: Annotated[int, typer.Option(min=1, help="samples to show, spread over splits and classes")] = 48,
    to: Annotated[Path | None, typer.Option(help="write the page into this folder, not beside the dataset")] = None,
    trust: Trust = False,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Write a gallery beside the dataset: one self-contained HTML page, to open in any browser."""
    from lesionforge.jobs.commands.preview import preview as run

    result = run(opened(place, storage), samples, to, trust)
    console.emit(result.body(), as_json, result.show)


def gc(
    place: Place,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
    age: Annotated[float, typer.Option(min=0, help="seconds; what is younger stays")] = 3600,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Remove what interrupted runs have left: temporary files, tars without an index. Never while a run is at work."""
    from lesionforge.jobs.commands import gc

    body = gc.gc(opened(place, storage), dry_run, age)
    console.emit(body, as_json, lambda: gc.show(body))


def export(
    place: Place,
    to: Annotated[Path, typer.Option(help="folder to write; it must be empty or new")],
    layout: Annotated[
        str,
        typer.Option(
            "--format",
            help="yolo (Ultralytics folder), coco (ARCADE's layout), nnunet (nnUNet_raw/DatasetNNN_NAME) or dicom (a "
            "multi-frame XA file a run)",
        ),
    ],
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="again for more: a severity that is a class of boxes (default: all three); for nnunet a label, or "
            "several as NAME=LABEL,LABEL (default: what train segmentation learns)",
        ),
    ] = None,
    lesions: Annotated[
        str | None,
        typer.Option(
            help="of boxes, what lesions without a class become, as real ones that nobody graded: classes (a class "
            "stenosis after the severities; the default), ignore (coco: iscrowd), or one (all lesions are one class)"
        ),
    ] = None,
    organs: Annotated[bool, typer.Option("--organs", help="nnunet: the organs or vessels of the lesions too")] = False,
    image: Annotated[
        str | None,
        typer.Option(
            help="only this member, e.g. source.png (nnunet: source_ct) for what was there before drawing; default: "
            "all pictures of a sample (nnunet: ct)"
        ),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OUT",
            help="nnunet, again for more: another dataset, as a synthetic one, whose training samples are added; no "
            "fold validates on them",
        ),
    ] = None,
    storage: Storage = None,
    as_json: Json = False,
) -> None:
    """Write a dataset as a folder for other tools: stenoses as boxes, lesions in CT as label maps, runs as DICOM."""
    from lesionforge.jobs.commands import export

    more = [opened(other, storage) for other in add or ()]
    body = export.export(opened(place, storage), layout, to, classes or (), image, organs, lesions, more)
    console.emit(body, as_json, lambda: export.show(body))
