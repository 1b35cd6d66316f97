"""``lesionforge report readers``: what readers answered against the key, as tables for terminal, Markdown and JSON."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.readers.making import KEY, PAGE
from lesionforge.jobs.studies.readers.measures import Measured, auc, pooled, share
from lesionforge.jobs.studies.report import Report
from lesionforge.jobs.studies.tables import Table, dashed, short

FORMAT = "lesionforge-reading"
MEASURES = ("accuracy", "sensitivity", "specificity", "auc")
NOTE = (
    "Sensitivity: share of the drawn that were called drawn; specificity: share of the real called real. AUC: of the "
    "call with its confidence, ten steps from surely real to surely drawn, ties counted half. .5: readers cannot tell. "
    "95 % intervals: of one reader Wilson's (shares) and DeLong's (AUC), every crop counted as a case of its own; of "
    "all readers a bootstrap over subjects of their mean ({draws} draws): for these readers, other patients. Crops "
    "that a reader left out count for none; all readers together are of the crops that each of them read."
)


@dataclass(frozen=True)
class Answers:
    """One reader's: by crop, whether it was called drawn, and how surely (1 to 5)."""

    reader: str
    years: float | None
    called: Mapping[str, tuple[bool, int]]
    seconds: float | None  # median a crop


def report(out: Path, given: Sequence[Path]) -> Report:
    """Measure answers against the key; write ``report.md`` and ``report.json`` beside it.

    Args:
        out: folder that ``lesionforge study readers`` wrote.
        given: files of answers; none takes the folder's ``answers*.json``.

    Raises:
        UsageError: for a folder without a key, no answers, or answers that are of another test or damaged.
    """
    key = _key(out)
    files = list(given) or sorted(out.glob("answers*.json"))
    if not files:
        raise UsageError(f"no answers: put the readers' answers*.json into {out}, or name them after it")
    every = [_answers(file, key) for file in files]
    if twice := [name for name, n in Counter(one.reader for one in every).items() if n > 1]:
        raise UsageError(f"reader {twice[0]} is there twice: name one file of answers for each reader")
    items, total = key["items"], len(key["items"])
    readers = {one.reader: _of(one, items) | _told(one, total) for one in every}
    common = [name for name in items if all(name in one.called for one in every)]
    together = _together(every, common, items) if len(every) > 1 and common else None
    columns = ["", "crops", "accuracy", "sensitivity", "specificity", "AUC", "s a crop"]
    rows = [
        [
            name,
            f"{one['read']} of {total}",
            *(_words(one[m]) for m in MEASURES),
            dashed(one["seconds"], lambda v: f"{v:.0f}"),
        ]
        for name, one in readers.items()
    ]
    if together:
        rows.append([f"all {len(every)}", str(len(common)), *(_words(together[m]) for m in MEASURES), ""])
    by_class = _by_class(every, items)
    tables = [
        Table("Real or drawn", columns, rows),
        Table(
            "Called drawn, by what it was",
            ["", "crops", *(one.reader for one in every)],
            [[f"{side} {kind}", str(n), *shares] for (side, kind), (n, shares) in by_class.items()],
        ),
    ]
    drawn = sum(item["drawn"] for item in items.values())
    head = f"Reading test {key['study']}: {drawn} drawn and {total - drawn} real crops of "
    head += f"{len({item['subject'] for item in items.values()})} subjects; {key['display']}; readers: {len(every)}."
    note = NOTE.format(draws="2,000")
    text = "\n\n".join(
        ["## Can people tell drawn lesions from real ones?", head, *(t.markdown() for t in tables), note]
    )
    body = {
        "out": str(out),
        "study": key["study"],
        "head": head,
        "note": note,
        "items": total,
        "readers": {
            name: {k: v.body() if isinstance(v, Measured) else v for k, v in one.items()}
            for name, one in readers.items()
        },
        "together": together and {"crops": len(common)} | {name: one.body() for name, one in together.items()},
        "called_drawn": [
            {"truth": side, "class": kind, "crops": n, "share": shares}
            for (side, kind), (n, shares) in by_class.items()
        ],
    }
    (out / "report.md").write_text(text + "\n", encoding="utf-8")
    (out / "report.json").write_text(json.dumps(body, indent=1, allow_nan=False), encoding="utf-8")
    return Report(body, tables, f"{head}\n{note}", ("report.md", "report.json"))


def _of(one: Answers, items: Mapping[str, Any]) -> dict[str, Any]:
    """A reader's measures."""
    drawn = np.array([items[name]["drawn"] for name in one.called], bool)
    called = np.array([call for call, _ in one.called.values()], bool)
    scores = _scores(one, list(one.called))
    return {
        "accuracy": share(int((called == drawn).sum()), len(drawn)),
        "sensitivity": share(int(called[drawn].sum()), int(drawn.sum())),
        "specificity": share(int((~called[~drawn]).sum()), int((~drawn).sum())),
        "auc": auc(scores[drawn], scores[~drawn]),
    }


def _told(one: Answers, total: int) -> dict[str, Any]:
    return {"read": len(one.called), "left_out": total - len(one.called), "years": one.years, "seconds": one.seconds}


def _together(every: Sequence[Answers], common: Sequence[str], items: Mapping[str, Any]) -> dict[str, Measured]:
    drawn = np.array([items[name]["drawn"] for name in common], bool)
    called = np.array([[one.called[name][0] for name in common] for one in every], bool)
    scores = np.array([_scores(one, common) for one in every])
    return pooled(called == drawn, scores, drawn, [items[name]["subject"] for name in common])


def _scores(one: Answers, names: Sequence[str]) -> Any:
    return np.array([sure if call else -sure for call, sure in (one.called[name] for name in names)], float)


def _by_class(every: Sequence[Answers], items: Mapping[str, Any]) -> dict[tuple[str, str], tuple[int, list[str]]]:
    out = {}
    for side, kind in sorted({("drawn" if i["drawn"] else "real", i["class"]) for i in items.values()}):
        names = [name for name, i in items.items() if i["class"] == kind and i["drawn"] == (side == "drawn")]
        shares = []
        for one in every:
            read = [one.called[name][0] for name in names if name in one.called]
            shares.append(f"{sum(read)} of {len(read)}")
        out[side, kind] = len(names), shares
    return out


def _words(one: Measured) -> str:
    interval = "" if one.low is None or one.high is None else f" ({short(one.low)} to {short(one.high)})"
    return dashed(one.value) + interval


def _key(out: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, TypeError, AttributeError):
        key = json.loads((out / KEY).read_text(encoding="utf-8"))
        if isinstance(key["study"], str) and all(
            isinstance(i["drawn"], bool) and isinstance(i["class"], str) and isinstance(i["subject"], str)
            for i in key["items"].values()
        ):
            return dict(key)
    raise UsageError(f"{out / KEY} is damaged or not there: give the folder that lesionforge study readers wrote")


def _answers(file: Path, key: Mapping[str, Any]) -> Answers:
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
        if body["format"] != FORMAT or not isinstance(body["answers"], list):
            raise ValueError
        name, study = str(body["reader"])[:40], str(body["study"])
        called = {str(a["id"]): (a["drawn"], a["confidence"]) for a in body["answers"]}
        times = sorted(float(a["ms"]) / 1000 for a in body["answers"])
        years = None if body.get("years") is None else float(body["years"])
    except (OSError, ValueError, TypeError, LookupError):
        raise UsageError(f"{file} holds no answers: give what {PAGE} downloads") from None
    if study != key["study"]:
        raise UsageError(f"{file} answers reading test {study}, the key is of {key['study']}: give its own folder")
    for one, (drawn, sure) in called.items():
        if one not in key["items"] or not isinstance(drawn, bool) or type(sure) is not int or not 1 <= sure <= 5:
            raise UsageError(f"{file}: the answer to {one[:40]!r} is none to a crop of this test: download it again")
    if len(called) < len(body["answers"]) or not called:
        raise UsageError(f"{file} answers a crop twice, or none: download it again")
    reader = re.sub(r"[^\w .-]", "", name).strip() or file.stem
    return Answers(reader, years, called, times[len(times) // 2] if times else None)
