"""Fixtures every room's tests can use."""

import os
import signal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before any library reads it: on a busy machine threads wait for threads

import hypothesis
import pytest

from lesionforge.jobs import console

hypothesis.settings.register_profile("here", deadline=None)  # a busy machine is no defect of an example
hypothesis.settings.load_profile("here")

pytest_plugins = ["tests.fixtures_s3"]

#: Folders and files that take minutes. They come first: at the end, the last of them would have a core for itself. What
#: waits for others (faults, clusters) runs beside what computes, not beside its like.
LONG = (
    "chaos/test_chaos.py", "test_types.py", "docs/", "jobs/fit/", "chaos/", "jobs/tasks/", "test_wheel.py", "jobs/",
    "gpu/", "privacy/", "fuzz/", "engine/ray/",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files before short ones, and otherwise as they were."""
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        name = item.path.relative_to(here).as_posix() if item.path.is_relative_to(here) else ""
        return next((n for n, long in enumerate(LONG) if name.startswith(long)), len(LONG))

    items.sort(key=rank)


def heed_sigint() -> None:
    """For ``Popen(preexec_fn=)``: a background job of a script ignores SIGINT, and so would all its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def own_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that takes standard output for itself would keep it from all later tests of the process."""
    monkeypatch.setattr(console, "own_standard_output", lambda: None)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data, from LESIONFORGE_DATA or beside the checkout; the test is skipped without it."""
    given = os.environ.get("LESIONFORGE_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set LESIONFORGE_DATA to its folder")
    return folder
