"""A study's folder: ``study.json``, and in ``runs`` a JSON file a run, which is read here alone.

Files are written whole or not at all, but a full disk or a fallen machine leaves others: such a run counts as not made,
so that the same command makes it again, and a report says which it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.runs import Run, Study

KEYS = {"run", "settings", "data", "dataset", "places", "scores", "held", "draws", "test", "fit_cpu_s"}  # of a run


def recorded(out: Path) -> dict[str, Any]:
    """What ``claim`` wrote of the study.

    Raises:
        UsageError: where it is damaged or not there.
    """
    path = out / "study.json"
    with suppress(OSError, ValueError):
        record = json.loads(path.read_text())
        if isinstance(record, dict) and {"task", "options"} <= record.keys():
            return record
    raise UsageError(
        f"{path} is damaged or not there: remove it and run the same lesionforge study again, which writes it"
    )


def result_of(path: Path) -> dict[str, Any]:
    """What a finished run found.

    Raises:
        UsageError: where its file is damaged.
    """
    with suppress(OSError, ValueError, TypeError, AttributeError):
        result = json.loads(path.read_text())
        whole = result.keys() >= KEYS and result["test"].keys() >= {"items", "subjects", "digest"}
        whole = whole and result["scores"].keys() <= result["held"].keys() & result["draws"].keys()
        if whole and Run(**result["run"]).name == path.stem:
            return result  # type: ignore[no-any-return]
    raise UsageError(f"{path} is damaged: run the same lesionforge study again, which makes that run again")


def claim(study: Study, out: Path) -> None:
    """Take a folder for a study, or make sure that it holds this very one or no finished run.

    Raises:
        UsageError: where the folder holds another study, or a run with other settings or on another dataset of the
            same name, also where lesionforge was upgraded in between.
    """
    record, path = study.record(), out / "study.json"
    (out / "runs").mkdir(parents=True, exist_ok=True)
    finished = [made for file in _files(out) if (made := _made(file))]
    if finished and path.exists() and (existing := recorded(out)) != record:
        differ = [name for name in record if record[name] != existing.get(name)]
        raise UsageError(f"{out} holds a study with other {', '.join(differ)}: give a new --out, or the same")
    _write(path, json.dumps(record, indent=2, sort_keys=True))
    content = {name: place.content for name, place in study.synthetic.items()} if finished else {}
    for result in finished:
        run = Run(**result["run"])
        if content.get(result["data"]) not in (None, result["dataset"]):
            raise UsageError(
                f"{out} has run {run.name} on another dataset {result['data']!r}: give it another name, or move that "
                "run away"
            )
        settings = study.settings(run.model)
        if differ := [name for name in settings if settings[name] != result["settings"].get(name)]:
            raise UsageError(f"{out} has run {run.name} with other {', '.join(differ)}: give a new --out, or the same")


def results(out: Path, task: str) -> list[dict[str, Any]]:
    """What the finished runs found.

    Raises:
        UsageError: where there is none, one's file is damaged, or the study is of another task.
    """
    files = _files(out)
    if not files:
        raise UsageError(f"{out} holds no finished run: run lesionforge study {task} --out {out} ... first")
    if (its := recorded(out)["task"]) != task:
        raise UsageError(f"{out} holds a study of {its}: run lesionforge report {its} {out}")
    return [result_of(file) for file in files]


def unfinished(todo: Sequence[Run], out: Path) -> list[Run]:
    """Those whose result is not there, or damaged."""
    return [run for run in todo if not _made(file_of(out, run))]


def file_of(out: Path, run: Run) -> Path:
    """Where a run's result is, or will be."""
    return out / "runs" / f"{run.name}.json"


def keep(out: Path, run: Run, result: Mapping[str, Any]) -> None:
    """Write a run's result, whole or not at all; its checkpoints go."""
    _write(file_of(out, run), json.dumps(result, allow_nan=False))
    shutil.rmtree(out / "checkpoints" / run.name, ignore_errors=True)
    (out / "checkpoints" / f"{run.name}.lock").unlink(missing_ok=True)


def tidy(out: Path, finished: bool) -> None:
    """Remove what nothing goes on from: what a finished study's runs shared, and what is empty."""
    if finished:
        shutil.rmtree(out / "inputs", ignore_errors=True)
    for name in ("inputs", "checkpoints", "runs"):
        with suppress(OSError):  # not there, or not empty
            (out / name).rmdir()
    if not (out / "runs").exists() and not (out / "checkpoints").exists():
        (out / "study.json").unlink(missing_ok=True)


def _files(out: Path) -> list[Path]:
    return sorted((out / "runs").glob("*.json"))


def _made(file: Path) -> dict[str, Any] | None:
    try:
        return result_of(file)
    except UsageError:
        return None


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)
