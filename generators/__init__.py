"""Imaging science: cases in, samples with measured labels out. Knows neither Ray nor storage, and imports no torch.

A generator is a ``Generator`` with one method, ``make(case, spec)``; its parameters are a dataclass of ``Parameters``;
``testing.check_generator`` holds it to what the engine asks. Cases: ``Angiogram``, ``Volume``, ``CoronaryTree``.
Names are loaded when first used.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Angiogram": "types",
    "BadCase": "types",
    "Case": "types",
    "CoronaryTree": "types",
    "Generator": "base",
    "Interval": "parameters",
    "Lesion": "types",
    "Panel": "types",
    "Parameters": "parameters",
    "Range": "parameters",
    "Rejected": "types",
    "Sample": "types",
    "SampleSpec": "types",
    "Scene": "types",
    "Stenosis": "types",
    "Volume": "types",
    "check_generator": "testing",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
