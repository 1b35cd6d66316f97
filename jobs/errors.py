"""What a person who runs a command can mend: wrong wishes, and packages that are not installed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lesionforge.generators.types import UserError

MODULES = {"scikit-learn": "sklearn", "itk-rtk": "itk"}  # distributions whose module has another name


INTERRUPTED = {  # what is true of a command that was ended from outside; of any other, that it has written nothing
    "generate": "what is committed stays, run the same command again to continue",
    "train": "run the same command again to continue from the last checkpoint, if there is one yet",
    "fit": "run the same command again to continue from the last checkpoint, if there is one yet",
    "study": "runs that have ended stay, run the same command again to continue",
    "export": "what was written is removed again",
    "verify": "what --rebuild or --repair has made stays, run it again",
    "redo": "what is made stays, `lesionforge verify OUT --repair` makes the rest",
    "gc": "what is removed is gone, the rest stays: run it again",
}


class UsageError(UserError):
    """Something asked of a job that cannot be done; the message says what, and what to change."""


def positive(name: str, value: object) -> None:
    """Refuse a count that is none.

    Raises:
        UsageError: for what is no integer of 1 or more.
    """
    if not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} is {value!r}: give 1 or more")


def interrupted(words: Sequence[str]) -> str:
    """What a command that was interrupted leaves behind.

    Args:
        words: of the command line after the program's name.
    """
    command = next((word for word in words if not word.startswith("-")), "")
    return f"interrupted; {INTERRUPTED.get(command, 'nothing was written')}"


def require_extra(extra: str) -> None:
    """Say that an optional dependency of this package is not installed, before anything is read.

    Raises:
        UsageError: with the command that installs it.
    """
    from importlib.util import find_spec

    absent = [name for name, of in _modules().items() if of == extra and find_spec(name) is None]
    if absent:
        raise UsageError(_cure(", ".join(absent), extra))


def explain(error: ModuleNotFoundError) -> UsageError | None:
    """The one line for a module that an extra brings; ``None`` for any other."""
    module = (error.name or "").partition(".")[0]
    extra = _modules().get(module)
    return UsageError(_cure(module, extra)) if extra else None


def unreached(error: Exception) -> UsageError | None:
    """The one line for what a network does, without a place (promise P8); ``None`` for any other."""
    from lesionforge.engine.faults import find
    from lesionforge.sinks.store.errors import remedy

    fault = find(error)
    if not fault or fault.kind != "network":
        return None
    return UsageError("; ".join(filter(None, [f"the network failed: {fault}", remedy(error, "the bucket")])))


def _cure(what: str, extra: str) -> str:
    return f"not installed: {what}; this needs the extra {extra}: pip install 'lesionforge[{extra}]'"


def _modules() -> dict[str, str]:
    """Module -> the extra that brings it, for those that nothing else of this package needs."""
    from importlib import metadata

    from packaging.requirements import Requirement

    required = [Requirement(text) for text in metadata.requires("lesionforge") or ()]
    core = {r.name for r in required if not r.marker}
    out: dict[str, str] = {}
    for requirement in required:
        extra = re.search(r"extra == [\"'](\w+)", str(requirement.marker))
        if extra and requirement.name not in core:
            name = re.sub(r"[-.]", "_", requirement.name)
            out.setdefault(MODULES.get(requirement.name, name), extra[1])
    return out
