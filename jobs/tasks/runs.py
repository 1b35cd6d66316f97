"""Angiographic runs: what the tasks that look at films learn from and are scored on. A still is a run of one frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import Angiogram, Side
from lesionforge.jobs.errors import UsageError
from lesionforge.sinks.reader import Samples

FPS = 15.0  # frames a second where nobody said


class Film(Protocol):
    """Frames by number, read as they are asked for.

    Attributes:
        learnt_from: what a training must find again to go on: the pixels, or what stands for them.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, n: int) -> NDArray[np.uint8]:
        """Frame ``n`` from 0: uint8 (rows, cols), vessels dark."""

    @property
    def learnt_from(self) -> Sequence[NDArray[Any]]: ...


@dataclass(frozen=True)
class HeldFilm:
    """A film in memory; ``frames`` uint8 (rows, cols), all of one size."""

    frames: Sequence[NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, n: int) -> NDArray[np.uint8]:
        return self.frames[n]

    @property
    def learnt_from(self) -> Sequence[NDArray[Any]]:
        """Its pixels."""
        return self.frames


@dataclass(frozen=True)
class StoredFilm:
    """A film of a dataset, which stays in its shard: a frame is read when it is asked for.

    ``samples``: of the dataset, with all their members; ``number``: the film's; ``names``: of its frames.
    """

    samples: Samples
    number: int
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, n: int) -> NDArray[np.uint8]:
        frame: NDArray[np.uint8] = self.samples.member(self.number, self.names[n])
        return frame

    @property
    def learnt_from(self) -> Sequence[NDArray[Any]]:
        """The shards' checksums and its place there, in place of the pixels."""
        return (np.frombuffer(self.samples.fingerprint + str(self.number).encode(), np.uint8),)


@dataclass(frozen=True)
class Run:
    """One film and what is known of it.

    Attributes:
        subject, source_id: see ``jobs.studies.task``.
        film: its frames.
        fps: frames a second.
        side, view: of the tree and the named view; None where nobody said.
        angles: positioner primary (LAO +) and secondary (cranial +) angle in degrees.
        pixel_mm: (row, col) at the isocentre.
        begin, end: first and last frame of full contrast, inclusive; None where the vessels never fill, or nobody said.
        frames: the labels of each frame as the ``cine`` generator writes them (``phase``, ``contrast``, ``boxes``);
            empty where nobody labelled any. A labelled real still has ``boxes`` alone.
        stenoses: as the generator writes them, ``boxes`` name them by number; of a real still ``severity_class`` and
            ``percent_ds`` alone.
        arteries: worst %DS by artery.
        dominance: ``right``, ``left`` or ``balanced``.
        sample_id: empty for a real run.
    """

    subject: str
    source_id: str
    film: Film
    fps: float = FPS
    side: Side | None = None
    view: str | None = None
    angles: tuple[float, float] | None = None
    pixel_mm: tuple[float, float] | None = None
    begin: int | None = None
    end: int | None = None
    frames: Sequence[Mapping[str, Any]] = ()
    stenoses: Sequence[Mapping[str, Any]] = ()
    arteries: Mapping[str, float] = field(default_factory=dict)
    dominance: str | None = None
    sample_id: str = ""

    @property
    def phased(self) -> bool:
        """Whether somebody said of every frame how much contrast it has."""
        return bool(self.frames) and "phase" in self.frames[0]

    @property
    def full(self) -> range:
        """Numbers of the frames of full contrast; all where nobody said which are."""
        if not self.phased:
            return range(len(self.film))
        return range(0) if self.begin is None or self.end is None else range(self.begin, self.end + 1)

    @cached_property
    def learnt_from(self) -> Sequence[NDArray[Any]]:
        """The film's, and the labels that the pixels do not tell."""
        told = (self.side, self.view, self.begin, self.end, self.frames, self.stenoses, self.arteries)
        return (*self.film.learnt_from, np.frombuffer(repr(told).encode(), np.uint8))


def of_sample(sample: Mapping[str, Any]) -> Run:
    """A decoded sample of the ``cine`` generator, its frames held in memory.

    Raises:
        UsageError: it is no run.
    """
    return _labelled(sample["json"], HeldFilm([sample[name] for name in _frames(sample["json"], list(sample))]))


def stored_runs(there: Samples) -> Iterator[Run]:
    """All runs of a dataset, of which nothing but the JSON is read before its frames are asked for.

    Args:
        there: the dataset, with all its members.

    Raises:
        UsageError: it holds no runs.
    """
    records = Samples(there.store, there.split, ["json"])
    for number, sample in enumerate(records.read(range(len(records)))):
        names = _frames(sample["json"], there.names(number))
        yield _labelled(sample["json"], StoredFilm(there, number, tuple(names)))


def of_case(case: Angiogram) -> Run:
    """A source's frame, as a run of one."""
    boxes = [{"stenosis": n, "box": list(one.box), "visible": True} for n, one in enumerate(case.lesions)]
    stenoses = [{"severity_class": one.severity_class, "percent_ds": one.percent_ds} for one in case.lesions]
    return Run(
        case.subject,
        case.source_id,
        HeldFilm((case.image,)),
        side=case.side,
        angles=case.view_deg,
        pixel_mm=None if case.pixel_mm is None else (case.pixel_mm, case.pixel_mm),
        frames=({"boxes": boxes},) if boxes else (),
        stenoses=stenoses,
    )


def _frames(record: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Names of the members that are frames, in their order."""
    found = sorted(name for name in names if name.startswith("frame") and name.endswith(".png"))
    if not found and "image.png" in names:
        found = ["image.png"]
    if not found or "begin" not in record:
        raise UsageError(f"sample {record.get('sample_id')} is no run: give a dataset of the cine generator")
    return found


def _labelled(record: Mapping[str, Any], film: Film) -> Run:
    view = record["view"]
    nearer = view["sod_mm"] / view["sid_mm"]
    return Run(
        record["subject"] or "",
        record["source_id"] or "",
        film,
        fps=record["fps"],
        side=record["side"],
        view=view["name"],
        angles=(view["primary_deg"], view["secondary_deg"]),
        pixel_mm=(view["pixel_mm"][0] * nearer, view["pixel_mm"][1] * nearer),
        begin=record["begin"],
        end=record["end"],
        frames=record["frames"],
        stenoses=record["stenoses"],
        arteries=record["arteries"],
        dominance=record.get("dominance"),
        sample_id=record["sample_id"],
    )
