"""A patient's runs, read: what is said of each, of each artery, of the patient. Frames count from 1, as in viewers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lesionforge.jobs.reading.opened import Opened
from lesionforge.jobs.reading.parts import Parts, worst
from lesionforge.jobs.reading.said import Boxes, Contrast, Found, Grade, Side

ARTERIES = {"left": "LCA", "right": "RCA"}
NO_SIDE = "the angles of a C-arm do not tell the side: give --side, or --view FILE (lesionforge train view)"
INTENT = "research use only: no medical device, and no finding of a physician"


@dataclass(frozen=True)
class Reading:
    """One run and what is said of it."""

    opened: Opened
    contrast: Contrast
    side: Side
    boxes: Boxes
    grade: Grade

    @classmethod
    def of(cls, opened: Opened, parts: Parts, side: str | None = None) -> Reading:
        """Ask every part; ``side``: of the tree, where a person knows it."""
        run = opened.run
        contrast = parts.contrast(run)
        which = parts.side(run, contrast, side)
        boxes = parts.boxes(run, contrast)
        return cls(opened, contrast, which, boxes, parts.grade(run, contrast, which, boxes))

    @property
    def shown(self) -> int:
        """The frame that is marked on the page and held in the film."""
        return self.boxes.shown(self.contrast)

    @property
    def artery(self) -> str | None:
        """``LCA`` or ``RCA``; None where the side is not known."""
        return ARTERIES.get(self.side.side or "")

    def body(self) -> dict[str, Any]:
        """As plain data."""
        run, why = self.opened.run, self.opened.why
        rows, cols = run.film[0].shape
        unknown = {key: why[key] for key in ("fps", "angles", "pixel_mm") if key in why}
        known = {
            "frames": len(run.film),
            "rows": rows,
            "cols": cols,
            "fps": _short(self.opened.fps),
            "angles_deg": run.angles and {"primary": run.angles[0], "secondary": run.angles[1]},
            "pixel_mm": run.pixel_mm and _short(run.pixel_mm[0]),
        }
        return {
            **known,
            "unknown": unknown,
            "notes": self.opened.notes,
            "contrast": self._contrast(),
            "view": self._view(),
            "stenoses": self._stenoses(),
            "grade": self._grade(),
        }

    def _contrast(self) -> dict[str, Any]:
        said = self.contrast
        begin, end = (None, None) if said.ends is None else (said.ends[0] + 1, said.ends[1] + 1)
        amount = (said.amount / max(float(said.amount.max()), 1e-9)).round(3).tolist()
        return {"by": said.by, "begin": begin, "end": end, "best": said.best + 1, "amount": amount, "why": said.why}

    def _view(self) -> dict[str, Any]:
        said = self.side
        return {
            "side": said.side,
            "side_by": said.by,
            "side_probability": _short(said.sure),
            "artery": self.artery,
            "view": said.view,
            "view_by": said.view_by,
            "view_probabilities": said.views and {name: _short(p) for name, p in said.views.items()},
            "why": "; ".join(([] if said.side else [NO_SIDE]) + ([] if said.view else [self.opened.why["angles"]])),
        }

    def _stenoses(self) -> dict[str, Any]:
        said = self.boxes
        looked = sorted(said.frames)
        lesions = []
        for number, seen in said.lesions().items():
            at = max(seen, key=lambda n: seen[n].sure)
            lesions.append({"lesion": number, **_box(at, seen[at]), "seen_in": [n + 1 for n in seen]})
        each = [_box(n, one) | {"lesion": one.lesion} for n in looked for one in said.frames[n]]
        if not said.graded:
            for one in [*lesions, *each]:
                one |= {"moderate": None, "severe": None}
        counts = {"looked_through": [n + 1 for n in looked], "lesions": lesions if said.by else None}
        return {"by": said.by, **counts, "boxes": each if said.by else None, "why": said.why}

    def _grade(self) -> dict[str, Any]:
        said = self.grade
        each = {str(n + 1): [_short(p) for p in shares] for n, shares in said.each.items()}
        run = pooled(said.names, [said.shares] if said.shares else [])
        return {"by": said.by, **run, "frames": each, "why": said.why}


def pooled(names: Sequence[str], rows: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The class and its probabilities of several images, runs or arteries, the worst of each; None without any."""
    if not rows:
        return {"class": None, "probabilities": None}
    shares = worst(rows)
    best = max(range(len(shares)), key=shares.__getitem__)
    return {"class": names[best], "probabilities": {n: _short(p) for n, p in zip(names, shares, strict=True)}}


def patient(readings: Sequence[Reading]) -> dict[str, Any]:
    """All that is said of a patient, as plain data."""
    names = readings[0].grade.names
    arteries: dict[str, Any] = {}
    for artery in ARTERIES.values():
        own = [n for n, one in enumerate(readings) if one.artery == artery]
        shares = [said for n in own if (said := readings[n].grade.shares)]
        why = "" if shares else f"no run of it {'is graded' if own else 'is known to be here'}"
        arteries[artery] = {**pooled(names, shares), "runs": [n + 1 for n in own], "why": why}
    every = [said for one in readings if (said := one.grade.shares)]
    return {
        "frames_count_from": 1,
        "intent": INTENT,
        "runs": [one.body() for one in readings],
        "arteries": arteries,
        "patient": {**pooled(names, every), "why": "" if every else readings[0].grade.why},
    }


def _box(number: int, found: Found) -> dict[str, Any]:
    moderate, severe = (_short(score) for score in found.scores)
    at = {"frame": number + 1, "box": [round(v, 1) for v in found.box], "confidence": _short(found.sure)}
    return at | {"moderate": moderate, "severe": severe}


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
