"""``lesionforge export``: a dataset as a folder that detectors' own tools read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs import console
from jobs.errors import UsageError
from sinks.exports import export as write
from sinks.exports.frames import SEVERITIES


def export(place: str, layout: str, to: Path, classes: Sequence[str], image: str) -> dict[str, Any]:
    """Write the folder; what was written and left out, counted.

    Raises:
        UsageError: for an unknown layout, a folder that is not empty or cannot be written, or a dataset without
            lesions or that picture.
    """
    try:
        return write(place, to, layout, classes or SEVERITIES, image=image)
    except ValueError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or to}: {error.strerror or error}") from None


def show(body: Mapping[str, Any]) -> None:
    """For people."""
    rows = [
        [split, images, *(body["boxes"][split][name] for name in body["classes"])]
        for split, images in body["images"].items()
    ]
    console.table(f"{body['format']} in {body['to']}", ["split", "pictures", *body["classes"]], rows)
    for reason, count in body["left_out"].items():
        console.out.print(f"left out: {count:,} lesions, {reason}", markup=False)
    if body["clipped"]:
        console.out.print(f"{body['clipped']:,} boxes clipped at the frame's border")
