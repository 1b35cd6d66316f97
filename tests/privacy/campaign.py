"""The whole job on sources full of identifiers and an environment full of secrets, and a search of all it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.privacy import cluster, mistakes
from tests.privacy.desk import Command, Desk
from tests.privacy.search import Searched

LEFT = ("out", "said", "tmp", "cache", "ray", "own ray")  # all but sources, recipes and profile, which the user wrote


def run(folder: Path) -> dict[str, Any]:
    """The campaign in a new folder; its figures."""
    desk = Desk(folder)
    with cluster.cluster(desk):
        in_process(desk)
    cluster.ports(desk)
    return searched(desk)


def in_process(desk: Desk) -> None:
    """Every command that reads or writes a dataset, and every error that a source can end in."""
    out, recipe = str(desk.folder / "out" / "made"), str(desk.recipe)
    first = desk.run([("generate", {}, ["generate", recipe, "--out", out, "--in-process", "--json"])])
    assert first == {"generate": 0}, desk.said("generate")
    manifest = json.loads((desk.folder / "out" / "made" / "manifest.json").read_text())
    desk.figures |= {"samples": manifest["samples"], "quarantined": manifest["quarantined"]}
    desk.figures["reasons"] = manifest["reasons"]
    desk.figures["flagged as carrying writing"] = manifest["burned_in_text"]
    places = [word for n, s in enumerate(desk.sources) for word in ("--source", f"{n}={s['uri']}")]
    commands: list[Command] = [
        ("again", {}, ["generate", recipe, "--out", out, "--in-process"]),
        ("plan", {}, ["plan", recipe, "--estimate"]),
        ("status", {}, ["status", out]),
        ("verify", {}, ["verify", out, "--json"]),
        ("preview", {}, ["preview", out, "--trust"]),
        ("yolo", {}, ["export", out, "--to", str(desk.folder / "out" / "yolo"), "--format", "yolo"]),
        ("coco", {}, ["export", out, "--to", str(desk.folder / "out" / "coco"), "--format", "coco"]),
        ("nowhere", {}, ["replay", out, "train-0000-00000000", "--trust"]),
        ("gc", {}, ["gc", out, "--dry-run"]),
        ("doctor", {"AWS_SECRET_ACCESS_KEY": desk.secret("key")}, ["doctor", recipe, "--out", out]),
    ]
    for n in (0, 5, 12, 20, 27):
        to = ["--to", str(desk.folder / "out" / "replayed")]
        commands.append((f"replay{n}", {}, ["replay", out, f"train-0000-{n:08d}", "--trust", *places, *to]))
    desk.run(commands + mistakes.sources(desk) + mistakes.secrets(desk))


def searched(desk: Desk) -> dict[str, Any]:
    """Look through all that is left; the figures."""
    found = Searched()
    for name in LEFT:
        if (desk.folder / name).is_dir():
            found.walk(desk.folder / name, desk.canaries)
    leaks = found.leaks
    return {
        **desk.figures,
        "secrets planted": desk.secrets,
        "commands": len(desk.codes),
        "exit codes": desk.codes,
        "files searched": found.files,
        "bytes searched": found.bytes,
        "leaked": sum(leaks.values()),
        "leaks": [f"{place}: {value} ({desk.canaries.where(value)})" for place, value in sorted(leaks)][:50],
    }
