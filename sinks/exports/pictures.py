"""The pictures of a sample, each with the lesions in it, whichever generator made them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

STILL = "image.png"
RUN = re.compile(r"frame(\d+)\.png")
VIEW = re.compile(r"view(\d+)\.png")
MASKS = {"image": "mask", "source": "source_mask", "frame": "mask"}  # member's stem before its number -> its mask's
OF_FRAME = ("phase", "contrast", "time_s")  # of a run's frame, beside its boxes


@dataclass(frozen=True)
class Marked:
    """A lesion in one picture: all that is known of it, its box as it is stored, and whether the picture shows it."""

    record: Mapping[str, Any]
    box: Any
    shown: bool = True


@dataclass(frozen=True)
class Picture:
    """One picture of a sample.

    ``name``: what tells it from the sample's others, empty where it is the only one. ``member``, ``mask``: where they
    lie. ``number``: of a run's frame from 0, or of a view. ``told``: what is known of that frame alone.
    """

    name: str
    member: str
    mask: str | None
    lesions: list[Marked]
    number: int | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def pictures(record: Mapping[str, Any], members: Collection[str], image: str | None = None) -> Iterator[Picture]:
    """A still's picture, a run's frames in their order, or the angiograms beside a CT.

    A lesion that a frame hides (foreshortened, under another vessel, before contrast is there) is not ``shown``; in
    frames before any contrast there is none.

    Args:
        record: the sample's decoded ``json``.
        members: names that the sample has.
        image: only this member.

    Raises:
        ValueError: where the sample has no list of lesions, or the lists are not as the generators write them.
    """
    names = {image} if image is not None else _all(members)
    for name in sorted(names):
        run, view = RUN.fullmatch(name), VIEW.fullmatch(name)
        stem = "frame" if run else name.removesuffix(".png")
        mask = MASKS[stem] + (run[1] if run else "") + ".png" if stem in MASKS else None
        found = mask if mask in members else None
        try:
            if view:
                n = int(view[1])
                yield Picture(name.removesuffix(".png"), name, found, _in_view(record, n), n)
            elif run or "stenoses" in record:
                n = int(run[1]) if run else 0
                frame = record["frames"][n]
                told = {key: frame[key] for key in OF_FRAME if key in frame} if run else {}
                lesions = _in_frame(record, frame)
                yield Picture(f"frame{run[1]}" if run else "", name, found, lesions, n if run else None, told)
            else:
                yield Picture("", name, found, [Marked(one, one["box"]) for one in _listed(record, "lesions")])
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(
                f"its json does not tell the lesions of {name}: `lesions` with a `box` each, a run's `frames` with "
                f"`boxes`, or `projections` ({type(error).__name__}: {error})"
            ) from None


def _all(members: Collection[str]) -> set[str]:
    """A sample's pictures; those of a run or of views are many."""
    for form in (RUN, VIEW):
        if found := {name for name in members if form.fullmatch(name)}:
            return found
    return {STILL}


def _listed(record: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = record.get(key)
    if not isinstance(found, list):
        raise ValueError(f"it has no list `{key}` in its json: nothing to export")
    return found


def _in_frame(record: Mapping[str, Any], frame: Mapping[str, Any]) -> list[Marked]:
    """A run's stenoses, as one frame shows them."""
    if frame.get("phase") == "before":
        return []
    known = _listed(record, "stenoses")
    return [
        Marked({"synthetic": True, **known[box["stenosis"]], **box, "true_ds": known[box["stenosis"]]["percent_ds"]},
               box["box"], bool(box["visible"]))
        for box in frame["boxes"]
    ]  # fmt: skip


def _in_view(record: Mapping[str, Any], number: int) -> list[Marked]:
    """Plaques as a view shows them; one on a tree that was not filmed has no projections."""
    out = []
    for plaque in _listed(record, "lesions"):
        if plaque.get("projections"):
            seen = plaque["projections"][number]
            if seen["box"] is not None:
                out.append(Marked({"synthetic": True, **plaque, **seen}, seen["box"], bool(seen["visible"])))
    return out
