"""``lesionforge study readers``: the page that readers open, and the key, which they do not."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from lesionforge.generators.types import stream
from lesionforge.jobs import console
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.places import DataPlace
from lesionforge.jobs.studies.readers.cases import Found, group, of_dataset, of_source, pick, window_of
from lesionforge.jobs.studies.readers.crops import Crop, Window
from lesionforge.sinks.card import counted
from lesionforge.sinks.png import png
from lesionforge.sinks.quarantine import Reasons

PAGE, KEY = "reading.html", "key.json"
MARK = "@DATA@"  # where the template takes the data


def make(
    synthetic: DataPlace, real: DataPlace, out: Path, each: int, classes: Sequence[str], seed: int
) -> dict[str, Any]:
    """Write ``reading.html`` and ``key.json`` into a folder.

    Args:
        synthetic: a generated dataset.
        real: a source of real cases with lesions, or a dataset of them.
        out: an empty or new folder; what readers answer may be put beside.
        each: crops of drawn, and as many of real lesions.
        classes: of both, only these; none takes all. Drawn ones are then of as many of a class as the real ones.
        seed: draws which, where they are cut, and their order.

    Returns:
        What was written, counted.

    Raises:
        UsageError: where there are fewer lesions, the data are of two kinds, or the folder is not empty.
    """
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty: a reading test there may have answers; give a new --out")
    window = window_of(synthetic.uri)
    reasons, seen = Reasons(), set[bytes]()
    rng = stream(b"readers", f"{seed}/real")
    found = (
        of_source(real, classes, window, rng, reasons.add)
        if real.is_source
        else of_dataset(real, False, classes, window, rng)
    )
    truly = _enough(pick(found, each, {}, seen), each, real, "real", classes)
    wanted = Counter(group(crop.kind) for crop in truly)
    found = of_dataset(synthetic, True, classes, window, stream(b"readers", f"{seed}/drawn"))
    drawn = _matched(found, each, wanted, seen)
    crops = [*truly, *_enough(drawn, each, synthetic, "drawn", classes)]
    order = stream(b"readers", f"{seed}/order").permutation(len(crops)).tolist()
    body = _write([crops[n] for n in order], window, out, seed)
    kinds = {side: dict(Counter(c.kind for c in crops if c.drawn == (side == "drawn"))) for side in ("real", "drawn")}
    lost = dict(reasons)
    return body | {"items": len(crops), "kinds": kinds, "seed": seed, "unreadable": lost}


def show(body: Mapping[str, Any]) -> None:
    """For people."""
    rows = [
        [side, sum(kinds.values()), ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))]
        for side, kinds in body["kinds"].items()
    ]
    console.table(f"reading test {body['study']}", ["", "crops", "of class"], rows)
    console.out.print(
        f"for readers: {body['page']} ({body['display']})\nthe key, not for them: {body['key']}", markup=False
    )
    console.out.print(f"then: lesionforge report readers {body['out']} ANSWERS.json ...", markup=False)


def _matched(found: Any, each: int, wanted: Mapping[str, int], seen: set[bytes]) -> list[Crop]:
    """Drawn crops of the real ones' classes as far as there are any; the rest of any class."""
    kept: list[Found] = []
    for crop, frame in found:
        if frame not in seen:
            kept.append((crop, frame))
        if len(kept) >= 8 * each:  # enough to choose from
            break
    there = Counter(group(crop.kind) for crop, _ in kept)
    return pick(iter(kept), each, {name: min(n, there[name]) for name, n in wanted.items()}, seen)


def _enough(crops: list[Crop], each: int, place: DataPlace, what: str, classes: Sequence[str]) -> list[Crop]:
    if len(crops) < each:
        of = f" of class {', '.join(classes)}" if classes else ""
        raise UsageError(
            f"{place.option} {place.uri} gives {counted(len(crops), 'crop')} about {what} lesions{of}, one of a frame "
            f"that was not shown yet: give --each {len(crops)} or less, or more data"
        )
    return crops


def _write(crops: Sequence[Crop], window: Window | None, out: Path, seed: int) -> dict[str, Any]:
    ids = stream(b"readers", f"{seed}/ids").integers(16**8, size=len(crops)).tolist()
    shown = [
        {"id": f"{name:08x}", "mark": list(crop.mark), "images": [b64encode(png(one)).decode() for one in crop.pixels]}
        for name, crop in zip(ids, crops, strict=True)
    ]
    display = str(window) if window else "grey levels as stored"
    study = hashlib.blake2b(json.dumps(shown).encode(), digest_size=6).hexdigest()
    data = {
        "study": study,
        "display": display,
        "ct": window is not None,
        "edge": len(crops[0].pixels[0]),
        "items": shown,
    }
    template = files("lesionforge.jobs.studies.readers").joinpath("page.html").read_text(encoding="utf-8")
    key = {
        "study": study,
        "display": display,
        "seed": seed,
        "items": {
            item["id"]: {"drawn": crop.drawn, "class": crop.kind, "group": group(crop.kind), "subject": crop.subject}
            for item, crop in zip(shown, crops, strict=True)
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / PAGE).write_text(template.replace(MARK, json.dumps(data), 1), encoding="utf-8")
    (out / KEY).write_text(json.dumps(key, indent=1), encoding="utf-8")
    return {"study": study, "out": str(out), "page": str(out / PAGE), "key": str(out / KEY), "display": display}
