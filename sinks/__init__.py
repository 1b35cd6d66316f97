"""Datasets where they lie: storage, shards, commit records, reading, pictures, exports.

The names below are loaded when first used: ``import lesionforge.sinks`` alone loads nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Reader": "reader",
    "Samples": "reader",
    "collate": "reader",
    "loader": "reader",
    "Store": "store",
    "StoreError": "store",
    "export": "exports",
    "export_volumes": "exports",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
