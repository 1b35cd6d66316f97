"""One JSON object a line, from the level that is asked for; nothing unasked from the driver."""

import json
import subprocess
import sys

import pytest

from lesionforge.engine import log
from tests.engine.conftest import ROOT


@pytest.fixture(autouse=True)
def silence():
    yield
    log.start("driver", None)


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_has_its_fields(capsys):
    log.start("worker", "info")
    log.write(
        "warning", "quarantined", shard="train-000001", sample="train-0000-00000012", reason='a "b"\nc', none=None
    )
    (line,) = lines(capsys)
    assert line.pop("time").endswith("Z")
    assert line.pop("pid") > 0
    assert line == {
        "level": "warning", "event": "quarantined", "role": "worker",
        "shard": "train-000001", "sample": "train-0000-00000012", "reason": 'a "b"\nc',
    }  # fmt: skip


def test_the_level_is_a_threshold(capsys):
    log.start("worker", "warning")
    for level in log.LEVELS:
        log.write(level, level)
    assert [line["event"] for line in lines(capsys)] == ["warning", "error"]


def test_a_driver_that_was_not_asked_says_nothing(capsys):
    log.start("driver", None)
    log.write("error", "failed")
    assert lines(capsys) == []


def test_who_never_asked_hears_nothing():
    code = "from lesionforge.engine import log; log.write('error', 'failed')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_environment_asks(monkeypatch):
    monkeypatch.delenv(log.VARIABLE, raising=False)
    assert log.level() is None
    monkeypatch.setenv(log.VARIABLE, "INFO")
    assert log.level() == "info"
    monkeypatch.setenv(log.VARIABLE, "loud")
    with pytest.raises(log.LogError, match="LESIONFORGE_LOG=loud is no level: use debug, info, warning, error"):
        log.level()
