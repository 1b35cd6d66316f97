"""Generators and sources by name, through Python entry points: ours and anybody's, registered the same way.

A dotted name, ``package.module.Class``, is imported as it is: for code that is not (yet) packaged. This is the one
place where a plug-in is looked up, its shape is checked, and its parameters are made.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoints, PackageNotFoundError, distribution, entry_points
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from lesionforge.engine.validation import Invalid, validate
from lesionforge.generators.base import Generator, faults
from lesionforge.generators.types import UserError

Kind = Literal["sources", "generators"]
MODELS: dict[Kind, str] = {"sources": "Options", "generators": "Params"}  # what a plug-in of each kind has


class PluginError(UserError):
    """A plug-in that is not there, is none, or does not take its parameters; the message says which, and the fix."""


def names(kind: Kind) -> list[str]:
    """Registered names of a kind, sorted."""
    _points.cache_clear()  # a notebook may have installed more since
    return sorted({point.name for point in _points(kind)})


@cache
def _points(kind: Kind) -> EntryPoints:
    """Entry points of a kind. All installed packages are asked, which takes tens of milliseconds."""
    return entry_points(group=f"lesionforge.{kind}")


@cache
def _own() -> EntryPoints:
    """Those of this package, which are looked at first; none where it is not installed."""
    with suppress(PackageNotFoundError):
        return distribution("lesionforge").entry_points
    return EntryPoints(())


@cache
def load(kind: Kind, name: str) -> Any:
    """The class of that name.

    Raises:
        PluginError: what there is and the nearest name, or what the class lacks.
    """
    found = _found(kind, name)
    if lacking := "; ".join(_faults(kind, found)):
        raise PluginError(f"{name[:100]!r} is no {kind.removesuffix('s')}: {lacking}")
    return found


def model(kind: Kind, name: str) -> Any:
    """The class of a plug-in's parameters."""
    return getattr(load(kind, name), MODELS[kind])


def parameters(kind: Kind, name: str, values: Any, field: str) -> Any:
    """A plug-in's parameters as an instance of its own class, unknown keys refused whatever that class does.

    Args:
        kind: of plug-in.
        name: registered or dotted.
        values: as they stand in a recipe.
        field: where that is, such as ``generator.params``.

    Raises:
        PluginError: as ``load``, and with every fault of the values.
    """
    try:
        return validate(model(kind, name), values, tuple(field.split(".")))
    except Invalid as error:
        raise PluginError(str(error)) from None


def generator(name: str, params: Any) -> Generator:
    """The generator that a recipe names.

    Raises:
        PluginError: as ``parameters``, or where the class refuses them.
    """
    values = parameters("generators", name, params, "generator.params")
    try:
        made: Generator = load("generators", name)(values)
    except (ValueError, TypeError) as error:
        raise PluginError(f"generator {name} cannot be made: {_first(error)}") from None
    return made


def _found(kind: Kind, name: str) -> Any:
    module, dot, attribute = name.rpartition(".")
    points = list(_own().select(group=f"lesionforge.{kind}", name=name) or _points(kind).select(name=name))
    if not points and name in names(kind):
        points = list(_points(kind).select(name=name))
    if dot or points:
        if dot and (here := str(Path.cwd())) not in sys.path:
            sys.path.append(here)  # last, so that it hides nothing: the user's own file beside the recipe is found
        try:
            return getattr(importlib.import_module(module), attribute) if dot else points[0].load()
        except Exception as error:  # a module may raise anything when it is imported
            raise PluginError(f"{name[:100]!r} cannot be imported: {_first(error)}") from None
    close = difflib.get_close_matches(name, names(kind), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise PluginError(
        f"no {kind.removesuffix('s')} is called {name[:100]!r}{hint} (installed: {', '.join(names(kind))})"
    )


def _faults(kind: Kind, found: Any) -> Iterator[str]:
    """What keeps a class from being a plug-in of its kind."""
    if not isinstance(found, type):
        yield f"it is a {type(found).__name__}, not a class"
        return
    model = getattr(found, MODELS[kind], None)
    if model is None:
        yield f"it has no {MODELS[kind]}"
    elif not isinstance(model, type) or not (dataclasses.is_dataclass(model) or issubclass(model, BaseModel)):
        yield f"its {MODELS[kind]} is no dataclass or pydantic model"
    if kind == "sources":
        yield from (f"it has no {name}" for name in ("fingerprint", "read") if not callable(getattr(found, name, None)))
    else:
        yield from faults(found)


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
