"""The command line, run in the process of the tests: a process of its own costs seconds."""

import contextlib
import io
import sys
from types import SimpleNamespace
from unittest import mock

import pytest

from lesionforge.jobs import cli


def inside(*words: object, code: int = 0) -> SimpleNamespace:
    """Run ``lesionforge WORDS`` to its end, which must have this exit code; its ``stdout`` and ``stderr``."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["lesionforge", *map(str, words)]),
        mock.patch("signal.signal"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        cli.main()
    assert end.value.code == code, out.getvalue() + err.getvalue()
    return SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue())
