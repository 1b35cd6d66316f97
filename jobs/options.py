"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lesionforge.sinks.store import Store

Out = Annotated[Path, typer.Option(help="where to write")]
Device = Annotated[str, typer.Option(help="torch device, e.g. cpu or cuda")]
Place = Annotated[
    str, typer.Argument(metavar="OUT", help="where the dataset lies: a folder or a URL such as s3://bucket/name")
]
Storage = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-options",
        metavar="NAME=VALUE",
        help="as the recipe's storage_options, e.g. endpoint_url=http://127.0.0.1:7480; again for more",
    ),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="import and open what the dataset names: say so only where you know who made it"),
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else on standard output")]


def usable(device: str) -> str:
    """A torch device that this machine has, for what runs here and on no node of a cluster.

    Raises:
        typer.BadParameter: it has none of that name.
    """
    if device != "cpu":
        import torch

        try:
            torch.empty(0, device=device)
        except (AssertionError, RuntimeError):  # torch's for one that it was not built for, or that is not there
            raise typer.BadParameter(f"--device {device}: torch finds none here; give cpu") from None
    return device


def opened(place: str, storage: list[str] | None) -> Store:
    """A dataset's place with its storage options."""
    from lesionforge.engine import secrets
    from lesionforge.sinks.store import Store

    options = pairs(storage)
    if next(secrets.found({"storage_options": options}), None):
        raise typer.BadParameter(f"--storage-options {secrets.FIX}")
    return Store(place, options)


def pairs(given: list[str] | None) -> dict[str, Any]:
    """``["a=1", "b=x"]`` as ``{"a": 1, "b": "x"}``; values are read as YAML."""
    import yaml

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
