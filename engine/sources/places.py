"""Places of sources: a path or any URL that fsspec knows, and what is said where nothing is there."""

from __future__ import annotations

import os
from typing import Any

from lesionforge.engine.faults import why
from lesionforge.engine.sources.base import SourceError


def beside(place: str, where: str) -> str:
    """A folder that a source's option names: relative to the source's own place, or a place of its own."""
    return where if "://" in where or os.path.isabs(where) else f"{place.rstrip('/')}/{where}"


def missing(place: str, what: str) -> SourceError:
    """The error for a place that is not there; where a path starts from is said to a terminal alone."""
    if "://" in place or os.path.isabs(place):
        return SourceError(f"no such {what}")
    error = SourceError(f"no such {what}; the path is relative, so it starts from the current folder")
    error.place = os.path.abspath(place)
    return error


def told(error: Exception) -> str:
    """What a place says that fails, and what to do about it, without the place."""
    from lesionforge.sinks.store.errors import remedy

    return "; ".join(filter(None, [why(error), remedy(error, "the bucket")]))


def located(place: str) -> tuple[Any, str]:
    """The fsspec file system of a place, and the path in it.

    Raises:
        SourceError: for a URL that no file system can be made of.
    """
    import fsspec  # not with the module: a plan of phantoms needs none

    try:
        fs, path = fsspec.core.url_to_fs(place)
    except ImportError as error:
        raise SourceError(f"its kind of URL needs a package that is not installed: {error.name or 'unknown'}") from None
    except Exception as error:  # every file system reads its URLs in its own way
        raise SourceError(f"is no path and no URL that can be opened: {told(error)}") from None
    return fs, str(path)
