"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

Out = Annotated[Path, typer.Option(help="where to write")]
Device = Annotated[str, typer.Option(help="torch device, e.g. cpu or cuda")]
Place = Annotated[
    str, typer.Argument(metavar="OUT", help="where the dataset lies: a folder or a URL such as s3://bucket/name")
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else on standard output")]


def pairs(given: list[str] | None) -> dict[str, Any]:
    """``["a=1", "b=x"]`` as ``{"a": 1, "b": "x"}``; values are read as YAML."""
    out = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE")
        try:
            out[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise typer.BadParameter(f"{name}: {value[:100]!r} is not YAML") from None
    return out
