"""What to make, and who makes it: recipe, plan, pipeline, workers, driver.

The names below are loaded when first used: ``import lesionforge.engine`` alone loads nothing, and a plan needs neither
Ray nor Numba, torch or Arrow.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "DatasetDescription": "dataset",
    "Pipeline": "pipeline",
    "Plan": "plan",
    "Recipe": "recipe",
    "load": "recipe_yaml",
    "parse": "recipe_yaml",
    "run": "driver",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
