"""The command line, run inside a process of the campaign."""

from __future__ import annotations

import contextlib
import io
import sys
from unittest import mock

from rich.console import Console

from lesionforge.jobs import cli, console


def command(arguments: list[str]) -> int:
    """Run ``lesionforge`` with these arguments in this process.

    Raises:
        AssertionError: where it ends in anything but its documented exit codes, or in an error that is no message.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["lesionforge", *arguments]),
        mock.patch.object(console, "err", Console(file=err, soft_wrap=True)),
        mock.patch.object(console, "out", Console(file=out, soft_wrap=True)),
    ):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    said = err.getvalue()
    assert "Traceback" not in said, said[-500:]
    assert code in (0, 1, 2, 3), f"exit code {code}"
    assert code in (0, 3) or "lesionforge: " in said, f"exit code {code} without a message: {said[-300:]}"
    return code
