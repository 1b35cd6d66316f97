"""What a dataset that somebody else made may have this machine do: read that dataset, and nothing more.

A ``recipe.json`` names classes and places. To import what it names runs whatever lies under that name, to open what it
names asks servers with this machine's keys, or reads its files. So a dataset that is only looked at gets the generators
and sources that installed packages register, phantoms, and what the user gives again; ``--trust`` gives it the rest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from lesionforge.engine import plugins
from lesionforge.engine.dataset import DatasetDescription, DatasetError
from lesionforge.generators.base import Generator
from lesionforge.sinks import layout

FIX = "add --trust if you know who made it"
# A URL, an absolute path, one that leads upwards, one that a shell or the file system reads as another.
_PLACE = re.compile(r"[A-Za-z][\w.+-]*:|[/\\~]|(.*[/\\])?\.\.([/\\]|$)", re.DOTALL)


def generator(doc: DatasetDescription, trust: bool) -> Generator:
    """The generator of a dataset, for its pictures and statements. It is made, and loads nothing.

    Args:
        doc: what the dataset says of itself.
        trust: whether any name may be imported, as in one's own recipe.

    Raises:
        DatasetError: where it is not registered, not installed, or takes other parameters.
    """
    named = doc.recipe.generator
    if not trust:
        _check_name("generators", "recipe.generator.name", named.name)
    try:
        return plugins.generator(named.name, named.params)
    except plugins.PluginError as error:
        raise DatasetError(f"{layout.RECIPE}: {error}") from None


def check_replay(doc: DatasetDescription, sources: Collection[int], params: Collection[str]) -> None:
    """Refuse to make a sample of a dataset again where that would import or open what nobody but the dataset names.

    Args:
        doc: what the dataset says of itself.
        sources: numbers of those whose place the user gave.
        params: names of the generator's parameters that the user gave.

    Raises:
        DatasetError: naming the field.
    """
    named = doc.recipe.generator
    _check_name("generators", "recipe.generator.name", named.name)
    weights = plugins.load("generators", named.name).places
    for name, value in named.params.items():
        if name not in params and (_places(value) or (name in weights and value)):
            raise DatasetError(
                f"{layout.RECIPE}: recipe.generator.params.{name} names a place, and nothing is opened that a dataset "
                f"names: give it again with --set generator.params.{name}=PLACE, or {FIX}"
            )
    for n, source in enumerate(doc.recipe.inputs):
        field = f"recipe.{doc.recipe.field_of(n)}"
        if n not in sources:
            _check_name("sources", f"{field}.uri", source.scheme)
            if not plugins.load("sources", source.scheme).public_place:
                raise DatasetError(
                    f"{layout.RECIPE}: {field} is no phantom, and no place is opened that a dataset names: give "
                    f"--source {doc.recipe.field_of(n).removeprefix('sources.')}={source.scheme}:PLACE, or {FIX}"
                )
        for name in _places(source.options):
            raise DatasetError(
                f"{layout.RECIPE}: {field}.options.{name} names a place outside of the source, and nothing is opened "
                f"that a dataset names: {FIX}"
            )


def _check_name(kind: plugins.Kind, field: str, name: str) -> None:
    if name not in plugins.names(kind):
        raise DatasetError(
            f"{layout.RECIPE}: {field} is {name[:100]!r}, which no installed package registers, and no code is run "
            f"that a dataset names: {FIX}"
        )


def _places(value: Any, name: str = "") -> list[str]:
    """Names of the values, at any depth, that may lead somewhere."""
    return list(_walk(value, name))


def _walk(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _walk(item, name)
    elif isinstance(value, str) and _PLACE.match(value):
        yield name or value
