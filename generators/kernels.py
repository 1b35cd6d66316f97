"""How every kernel of this package is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Machine code cached on disk, without the interpreter lock; no fast-math: the same bits everywhere."""
    compiled: F = numba.njit(nogil=True, cache=True, boundscheck=False, error_model="numpy")(function)
    return compiled


def inline(function: F) -> F:
    """Inlined before the vectoriser looks: a loop that calls is left scalar, three times slower."""
    options = {"nogil": True, "cache": True, "boundscheck": False, "error_model": "numpy", "inline": "always"}
    compiled: F = numba.njit(**options)(function)
    return compiled
