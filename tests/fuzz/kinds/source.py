"""Reading a source as a job does, for the kinds that are sources."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe_yaml import parse
from lesionforge.engine.sample import Maker
from lesionforge.sinks.quarantine import Quarantined
from tests.fuzz.command import command
from tests.fuzz.mutate import Rng

SMALL: dict[str, dict[str, Any]] = {"biplane": {"grid": 24}, "stenosis": {}, "lesion": {"size": 24}}  # params
CASES = 4  # read of each input


def read(rng: Rng, folder: Path, uri: str, generator: str = "stenosis", **options: Any) -> list[str]:
    """Open a source through a recipe, make its identity, read its first cases; the reasons of those that failed.

    Of one input in ten a sample is made of each case that could be read, so that generators meet strange cases, too.

    Raises:
        the errors of ``jobs.errors``: what ends a job before it began.
    """
    recipe: dict[str, Any] = {
        "name": "fuzz",
        "seed": 1,
        "sources": [{"uri": uri, "options": options, "split": {"train": 1}}],
        "generator": {"name": generator, "params": SMALL[generator]},
        "splits": ["train"],
    }
    if rng.chance(0.03):
        return job_itself(rng, folder, recipe)
    job = Pipeline(parse(json.dumps(recipe)))
    assert len(job.identity) == 64
    maker = Maker(job)
    cases = [maker.read(job.plan[i]) for i in range(min(CASES, len(job.plan)))]
    reasons = [case for case in cases if isinstance(case, Quarantined)]
    making = rng.sound or rng.chance(0.1)
    for i, case in enumerate(cases):
        maker.row(job.plan[i], case)
        if making and not isinstance(case, Quarantined):
            (sample,) = maker.make([case], [job.plan[i]])
            if isinstance(sample, Quarantined) and not rng.sound:
                reasons.append(sample)
    return reasons


def job_itself(rng: Rng, folder: Path, recipe: dict[str, Any]) -> list[str]:
    """The whole job through the command line: it ends with a dataset, which may be short, or with an error's line."""
    path, out = folder / "recipe.yaml", folder / "out"
    path.write_text(json.dumps(recipe))
    code = command(["generate", str(path), "--out", str(out), "--in-process"])
    if code == 0 or not (out / "manifest.json").exists():
        return [] if code == 0 else ["refused in one line"]
    return list(json.loads((out / "manifest.json").read_text())["reasons"])


def told(message: str) -> bool:
    """Sources are named by their place in the recipe, never by their path (promise P8)."""
    return message.startswith("sources.0.uri (") or "sources.0" in message


def odd_files(rng: Rng, folder: Path, name: str) -> None:
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
            os.mkfifo(path)
        case 4:
            path.touch()
        case 5:
            with path.open("wb") as file:  # 64 GiB that take no room
                file.truncate(2**36)
        case 6:
            path.with_name("\udcff\udc80\n" + path.name).write_bytes(b"name that is no text")
        case 7:
            path.with_name("n" * 200 + path.name).write_bytes(b"long name")
