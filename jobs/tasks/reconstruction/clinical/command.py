"""``lesionforge reconstruct``: the tree of a patient's masks, with files, pictures and what to think of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from lesionforge.generators.types import Side
from lesionforge.jobs import console
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.options import Device, Json, usable


def reconstruct(
    masks: Annotated[
        list[Path],
        typer.Argument(metavar="MASK MASK ...", help="vessel masks of two to four views: PNG, vessels bright"),
    ],
    out: Annotated[Path, typer.Option(help="folder for the tree's files and pictures")],
    geometry: Annotated[
        list[str],
        typer.Option(
            metavar="WHAT",
            help="where the C-arm stood, for each mask in their order: JSON (sid, sod, spacing, alpha, beta), the "
            "run's XA DICOM file, or a name such as 'LAO 30 CRA 20' (distances and pixels are then assumed)",
        ),
    ],
    side: Annotated[str, typer.Option(metavar="left|right", help="which coronary tree it is")],
    model: Annotated[
        Path | None,
        typer.Option(help="file that `lesionforge train reconstruction` wrote; without it nothing is learnt"),
    ] = None,
    ostium: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            metavar="X Y Z",
            help="where the tree begins, as tree.swc of a run before says (LPS mm); else at its wide, high end",
        ),
    ] = None,
    vessel_values: Annotated[
        list[int] | None, typer.Option(metavar="N", help="what is vessel in masks of several classes; again for more")
    ] = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Reconstruct a coronary tree in 3-D from vessel masks of two to four views.

    Writes the lumen (NIfTI, STL), centrelines with radii and %DS (VTK, VTP, SWC, JSON), `sheet.png`, `turntable.gif`,
    and `summary.json` with the re-projection over each mask and what the hull of the masks alone would have had.
    """
    if side not in get_args(Side):
        raise typer.BadParameter(f"--side is {side!r}: give {' or '.join(get_args(Side))}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("--out is there and not an empty folder: give another")
    from lesionforge.jobs.tasks.reconstruction.clinical import inputs
    from lesionforge.jobs.tasks.reconstruction.clinical.work import reconstructed

    values = tuple(vessel_values) if vessel_values else None
    angles = inputs.read(masks, geometry, values)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out cannot be made ({error.strerror}): give another folder") from None
    for n, one in enumerate(angles, 1):
        if one.assumed:
            console.note(f"view {n}: nothing but its angles is known; assumed are {one.assumed}")
    body = reconstructed(angles, "left" if side == "left" else "right", out, model, usable(device), ostium)
    for line in body["notes"]:
        console.note(line)
    console.emit(body, as_json, lambda: _show(body, out))


def _show(body: dict[str, Any], out: Path) -> None:
    names = ("dsc", "chamfer", "dsc_eroded", "covered")
    rows = [
        (f"{view['name']}, {who}", *(f"{scores[name]:.3f}" for name in names))
        for n, view in enumerate(body["views"])
        for who, scores in (("tree", body["tree"]["reprojection"][n]), ("hull", body["hull"]["reprojection"][n]))
    ]
    columns = ("re-projection", "DSC", "Chamfer, px", "DSC, eroded", "mask covered")
    console.table(f"{body['side']} tree by {body['method']}", columns, rows)
    found = body["tree"]
    console.out.print(f"{found['branches']} branches, {found['length_mm']:.0f} mm; all files: {out}", markup=False)
