"""The runs of a study: one JSON file each, several at a time; what is there is not run again."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol, TypeVar


class StudyError(Exception):
    """A study that cannot run or go on; the message says why and what to do."""


class Named(Protocol):
    """One training of a study."""

    @property
    def name(self) -> str:
        """Name of its file."""


Some = TypeVar("Some", bound=Named)
Work = Callable[[Some], dict[str, Any]]


def claim(out: Path, told: Mapping[str, Any], identity: str, hidden: str) -> None:
    """Take a folder for a study, or make sure that it holds this very one or no finished run.

    Args:
        out: folder of the study, made if it is not there.
        told: what is compared, as it may be read by all.
        identity: hash of all that the results depend on.
        hidden: what else ``identity`` stands for, to be named where ``told`` is the same.

    Raises:
        StudyError: where the folder holds another study.
    """
    (out / "runs").mkdir(parents=True, exist_ok=True)
    path = out / "study.json"
    if not path.exists() or not any((out / "runs").glob("*.json")):
        path.write_text(json.dumps(dict(told) | {"identity": identity}, indent=2, sort_keys=True))
    elif (its := json.loads(path.read_text()))["identity"] != identity:
        other = ", ".join(name for name in told if told[name] != its.get(name)) or hidden
        raise StudyError(f"{out} holds a study with another {other}: give a new --out, or the same settings")


def finished(todo: Sequence[Some], out: Path) -> list[Some]:
    """Those whose result is there."""
    return [run for run in todo if file(out, run).exists()]


def results(out: Path, command: str) -> list[dict[str, Any]]:
    """What the finished runs found.

    Raises:
        StudyError: where there is none; it names the ``command`` that makes them.
    """
    found = [json.loads(path.read_text()) for path in sorted((out / "runs").glob("*.json"))]
    if not found:
        raise StudyError(f"{out} holds no finished run: run {command} --out {out} ... first")
    return found


def conduct(
    todo: Sequence[Some], out: Path, work: Work[Some], processes: int, tell: Callable[[dict[str, Any]], None]
) -> int:
    """Run what is not there yet, several at a time, each on one core.

    Args:
        todo: runs.
        out: folder of the study, see ``claim``.
        work: makes a run's result; it is sent to other processes.
        processes: runs at a time.
        tell: called with each result as it comes.

    Returns:
        Runs made now.
    """
    there = {run.name for run in finished(todo, out)}
    left = [run for run in todo if run.name not in there]
    for run, result in _in_parallel(work, left, min(processes, len(left))):
        path = file(out, run)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(result))
        part.replace(path)
        tell(result)
    return len(left)


def file(out: Path, run: Named) -> Path:
    """Where a run's result is, or will be."""
    return out / "runs" / f"{run.name}.json"


def _in_parallel(work: Work[Some], left: Sequence[Some], processes: int) -> Iterator[tuple[Some, dict[str, Any]]]:
    if processes <= 1:
        yield from ((run, work(run)) for run in left)
        return
    # One thread each: independent runs share two cores better than threads of one run do. Set before torch starts.
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, spawn) as pool:
            waiting: dict[Future[dict[str, Any]], Some] = {pool.submit(work, run): run for run in left}
            try:
                for done in as_completed(waiting):
                    yield waiting[done], done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
