"""C-arm geometry, sparse cone-beam projector and back-projection.

The names below are loaded when first used: a plan needs the geometry, and not Numba.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Grid": "grid",
    "View": "view",
    "adjoint": "backproject",
    "hull": "backproject",
    "project": "projector",
    "project_views": "projector",
    "silhouette": "projector",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
