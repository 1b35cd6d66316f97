"""Generators and sources by name, through Python entry points: ours and anybody's, registered the same way.

A dotted name, ``package.module.Class``, is imported as it is: for code that is not (yet) packaged.
"""

from __future__ import annotations

import difflib
import importlib
from functools import cache
from importlib.metadata import entry_points
from typing import Any

MODELS = {"sources": "Options", "generators": "Params"}  # what a plugin of each kind has


class UnknownPlugin(Exception):
    """No installed package registers that name."""


def names(kind: str) -> list[str]:
    """Registered names of a kind (``sources`` or ``generators``), sorted."""
    return sorted({point.name for point in entry_points(group=f"lesionforge.{kind}")})


@cache
def load(kind: str, name: str) -> Any:
    """The class registered under that name.

    Raises:
        UnknownPlugin: the message lists what there is and the nearest name.
    """
    module, dot, attribute = name.rpartition(".")
    if dot:
        try:
            found = getattr(importlib.import_module(module), attribute)
        except Exception as error:  # a module may raise anything when it is imported
            said = (str(error).splitlines() or [""])[0]
            raise UnknownPlugin(f"{name[:100]!r} cannot be imported: {said or type(error).__name__}") from None
        if not hasattr(found, MODELS[kind]):
            raise UnknownPlugin(f"{name!r} is no {kind.removesuffix('s')}: it has no {MODELS[kind]}")
        return found
    for point in entry_points(group=f"lesionforge.{kind}", name=name):
        return point.load()
    close = difflib.get_close_matches(name, names(kind), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise UnknownPlugin(
        f"no {kind.removesuffix('s')} is called {name[:100]!r}{hint} (installed: {', '.join(names(kind))})"
    )
