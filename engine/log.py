"""Structured logs: one JSON object a line on standard error, for machines.

``LESIONFORGE_LOG`` is ``debug``, ``info``, ``warning`` or ``error``. Where it is not set, workers log from ``info``
on, into their own files under Ray's session folder (``/tmp/ray/session_latest/logs/worker-*.err`` on their node),
and the driver logs nothing, as its standard error talks to a person. Every line about a shard or a sample names it.
No line names a file of a source: reasons are those of the dataset's own index.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any

from lesionforge.generators.types import UserError

VARIABLE = "LESIONFORGE_LOG"
LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error")}

_logger = logging.getLogger("lesionforge")
_logger.addHandler(logging.NullHandler())  # silent in whatever process it is imported, until `start`


class LogError(UserError):
    """The level asked for is none."""


def level() -> str | None:
    """The level that the environment asks for.

    Raises:
        LogError: for a word that is no level.
    """
    asked = os.environ.get(VARIABLE, "").lower() or None
    if asked is not None and asked not in LEVELS:
        raise LogError(f"{VARIABLE}={asked} is no level: use {', '.join(LEVELS)}")
    return asked


def start(role: str, level: str | None) -> None:
    """Log from here on in this process.

    Args:
        role: ``driver`` or ``worker``.
        level: from which level on; nothing where ``None``.
    """
    _logger.propagate = False  # not into the handlers of whoever else lives in this process
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(role))
    _logger.handlers = [handler] if level else []
    _logger.setLevel(LEVELS[level] if level else logging.CRITICAL + 1)


def write(level: str, event: str, **fields: Any) -> None:
    """Log an event with its fields; those that are ``None`` are left out."""
    _logger.log(LEVELS[level], event, extra={"fields": {k: v for k, v in fields.items() if v is not None}})


class _Json(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._fixed = {"role": role, "pid": os.getpid()}

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        head = {"time": when, "level": record.levelname.lower(), "event": record.getMessage(), **self._fixed}
        return json.dumps(head | getattr(record, "fields", {}), default=str)
