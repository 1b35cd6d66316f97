"""Reading a source as a job does, for the kinds that are sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.job import Job
from engine.make import Maker
from engine.recipe_file import parse

CASES = 4  # read of each input


def read(uri: str, **options: Any) -> list[str]:
    """Open a source through a recipe, make its identity, read its first cases; the reasons of those that failed.

    Raises:
        the errors of ``jobs.errors``: what ends a job before it began.
    """
    recipe = {
        "name": "fuzz",
        "seed": 1,
        "sources": [{"uri": uri, "options": options, "split": {"train": 1}}],
        "generator": {"name": "tests.faulty.Faulty", "params": {}},
        "splits": ["train"],
    }
    job = Job(parse(json.dumps(recipe)))
    assert len(job.identity) == 64
    maker = Maker(job)
    cases = [maker.read(job.plan[i]) for i in range(min(CASES, len(job.plan)))]
    for i, case in enumerate(cases):
        maker.row(job.plan[i], case)
    return [case for case in cases if isinstance(case, str)]


def told(message: str) -> bool:
    """Sources are named by their place in the recipe, never by their path (promise P8)."""
    return message.startswith("sources.0.uri (") or "sources.0" in message


def odd_files(rng: Any, folder: Path, name: str) -> None:
    """Now and then: what else may lie in a folder under a picture's name."""
    path = folder / name
    if not rng.chance(0.03):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    match rng.randrange(8):
        case 0:
            path.mkdir()
        case 1:
            path.symlink_to(path.name)  # to itself
        case 2:
            path.symlink_to(folder / "nowhere")
        case 3:
            __import__("os").mkfifo(path)
        case 4:
            path.touch()
        case 5:
            with path.open("wb") as file:  # 64 GiB that take no room
                file.truncate(2**36)
        case 6:
            path.with_name("\udcff\udc80\n" + path.name).write_bytes(b"name that is no text")
        case 7:
            path.with_name("n" * 200 + path.name).write_bytes(b"long name")
