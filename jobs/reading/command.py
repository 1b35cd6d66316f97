"""``lesionforge read``: a patient's runs, from frames of full contrast to a grade."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from lesionforge.generators.types import Side
from lesionforge.jobs import console
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.options import Device, Json, usable


def read(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN ...", help="runs of one patient: XA DICOM files, or folders of frames (JPEG, PNG)"),
    ],
    out: Annotated[Path | None, typer.Option(help="folder for reading.json, and a page and a film of each run")] = None,
    frames: Annotated[Path | None, typer.Option(help="model of `train frames`; else a threshold on ridges")] = None,
    view: Annotated[
        list[Path] | None,
        typer.Option(help="model of `train view`, of side or view; again for the other; else the header's angles"),
    ] = None,
    detector: Annotated[Path | None, typer.Option(help="model of `train detection`; else none is sought")] = None,
    severity: Annotated[
        Path | None, typer.Option(help="model of `train severity`; else the classes of the detector's boxes")
    ] = None,
    side: Annotated[str | None, typer.Option(metavar="left|right", help="the tree that all runs show")] = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Read angiographic runs: frames of full contrast, side and view, stenoses, a grade per artery and patient.

    Every answer names the model or baseline that gave it; what cannot be said is null, with the reason.
    """
    if side is not None and side not in get_args(Side):
        raise typer.BadParameter(f"--side is {side!r}: give {' or '.join(get_args(Side))}")
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("--out is there and not an empty folder: give another")
    from lesionforge.jobs.reading.film import film
    from lesionforge.jobs.reading.opened import one_patient, opened
    from lesionforge.jobs.reading.parts import Files, Parts
    from lesionforge.jobs.reading.picture import picture
    from lesionforge.jobs.reading.reading import Reading, patient

    parts = Parts(Files(frames, view or (), severity, detector), usable(device))
    found = [opened(path, f"run {n}") for n, path in enumerate(runs, 1)]
    one_patient(found)
    readings = [Reading.of(one, parts, side) for one in found]
    body = patient(readings)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            (out / "reading.json").write_text(json.dumps(body, indent=1, allow_nan=False), encoding="utf-8")
            for n, reading in enumerate(readings, 1):
                picture(reading).save(out / f"run{n}.png")
                (out / f"run{n}.webp").write_bytes(film(reading))
        except OSError as error:
            raise UsageError(f"--out cannot be written ({error.strerror}): give another folder") from None
    for n, one in enumerate(readings, 1):
        for line in one.opened.notes:
            console.note(f"run {n}: {line}")
    console.emit(body, as_json, lambda: _show(body, readings, out))


def _show(body: Mapping[str, Any], readings: Any, out: Path | None) -> None:
    from lesionforge.jobs.reading.picture import findings, title

    for n, reading in enumerate(readings, 1):
        console.out.print(f"run {n}: {title(reading)}", markup=False)
        for line in findings(reading):
            console.out.print(f"  {line}", markup=False)
    for name, said in {**body["arteries"], "patient": body["patient"]}.items():
        sure = f" {said['probabilities'][said['class']]:.2f}" if said["class"] else ""
        console.out.print(f"{name}: {said['class'] or said['why']}{sure}", markup=False)
    console.out.print(body["intent"] + (f"; all files: {out}" if out else ""), markup=False)
