"""``recipe.json`` and ``manifest.json``: what a dataset's folder says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lesionforge.sinks import layout
from tests.fuzz.kinds import datasets
from tests.fuzz.mutate import Rng, number, plain, some_bytes, value, word

NOTICED = "error"
told = datasets.told
run = datasets.consume


def build(rng: Rng, folder: Path) -> None:
    """A dataset with one of the two spoiled."""
    name = rng.pick(layout.RECIPE, layout.RECIPE, layout.MANIFEST)
    data = datasets.sound()[name]
    if not rng.sound:
        data = some_bytes(rng, data) if rng.random() < 0.2 else spoil(rng, json.loads(data))
    datasets.write(folder, {name: data})


def spoil(rng: Rng, data: Any) -> bytes:
    """One or two faults in the values."""
    for _ in range(rng.choice((1, 1, 2))):
        if not isinstance(data, dict):
            break
        match rng.randrange(5):
            case 0 if data.get("sources"):
                source = rng.choice(data["sources"])
                if isinstance(source, dict):
                    source[rng.choice(("subjects", "cases_per_subject", "fingerprint", "scheme"))] = value(rng, 6)
            case 1 if isinstance(data.get("recipe"), dict):
                data["recipe"]["generator"] = {
                    "name": rng.choice(("os.path", "x", "os.system", word(rng))),
                    "params": {},
                }
            case 2:
                data[rng.choice(("sample_bytes", "layout", "samples"))] = number(rng, 6)
            case _:
                data = plain(rng, data)
    raw = json.dumps(data)
    return (
        rng.choice((raw.encode("utf-8", "replace"), raw.encode(), b"[" * 100_000, b""))
        if rng.random() < 0.1
        else raw.encode()
    )
