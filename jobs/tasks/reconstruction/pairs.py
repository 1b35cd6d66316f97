"""What is reconstructed: the views of one tree, and what is true of it; at hand, or where a dataset keeps it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.carm.backproject import hull
from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.occupancy import occupied
from lesionforge.generators.carm.view import View
from lesionforge.generators.types import Side, array_member
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.clinical.calibrate import aligned
from lesionforge.sinks.reader import Samples

REACH = 0.6  # of a cell's footprint that must hold a lit pixel: a tenth of the cells fewer than with all of it
RULES = ("paper", "half")
VOLUME = re.compile(r"volume(\d+)\.")  # a member that is a truth, on so many cells an edge


@dataclass(frozen=True)
class Pair:
    """Silhouettes of one tree from two views or more, in one geometry; ``truth`` where it is known.

    ``shadows``: uint8 (rows, cols) of each view, 1 where a vessel is. ``grid``: what is reconstructed on.
    ``truth``: share of each of its cells that the tree fills. ``target``: the cells that count as the tree's.
    ``full``: cells an edge of the dataset's own grid, which the paper's target (``paper``) is sampled from.
    """

    views: tuple[View, ...]
    shadows: tuple[NDArray[np.uint8], ...]
    grid: Grid
    side: Side
    subject: str
    source_id: str
    truth: NDArray[np.float16] | None = None
    paper: NDArray[np.bool_] | None = None
    sample: str = ""
    full: int = 128

    @cached_property
    def target(self) -> NDArray[np.bool_]:
        """The paper's where it is wanted, else those at least half full, thin vessels as a line of cells."""
        if self.paper is not None:
            return self.paper
        assert self.truth is not None
        return occupied(self.truth.astype(np.float32)) > 0

    @cached_property
    def hull(self) -> NDArray[np.bool_]:
        """The cells that every view leaves."""
        return hull(self.shadows, self.views, self.grid, 1, REACH) > 0

    @property
    def known(self) -> bool:
        """Whether it has a truth: a clinical pair has none."""
        return self.truth is not None or self.paper is not None

    @property
    def view_count(self) -> int:
        """Number of its views."""
        return len(self.views)

    @property
    def learnt_from(self) -> Sequence[NDArray[Any]]:
        """What a training must find again to go on."""
        return (*self.shadows, self.target)

    def read(self) -> Pair:
        """Itself: it is at hand."""
        return self


@dataclass(frozen=True)
class StoredPair:
    """A pair of a dataset, a kilobyte: its pictures and its truth stay in the shards until they are used.

    ``samples``: of the dataset, with the members that a pair needs; ``number``: the pair's. ``size``, ``rule``: see
    ``pair_of_sample``.
    """

    samples: Samples
    number: int
    size: int
    rule: str
    view_count: int
    side: Side
    subject: str
    source_id: str
    sample: str

    @property
    def learnt_from(self) -> Sequence[NDArray[Any]]:
        """The shards' checksums and its place there, in place of the pixels."""
        told = self.samples.fingerprint + f"{self.number} {self.size} {self.rule}".encode()
        return (np.frombuffer(told, np.uint8),)

    def read(self) -> Pair:
        """From its shard."""
        return pair_of_sample(self.samples[self.number], self.size, self.rule)


Item = Pair | StoredPair


def stored_pairs(there: Samples, size: int, rule: str) -> Iterator[StoredPair]:
    """All of a dataset of the ``biplane`` generator, which is asked for nothing but their JSON.

    Args:
        there: the dataset.
        size, rule: see ``pair_of_sample``.

    Raises:
        UsageError: where it lacks what they need.
    """
    records = Samples(there.store, there.split, ["json"])
    first = next(records.read([0]))["json"]
    if not {"views", "grid", "side"} <= first.keys():
        raise UsageError("its samples are no views of trees: give a dataset of the biplane generator")
    count, full = len(first["views"]), first["grid"][0]
    kind = "mask" if "mask0.png" in there.members else "view"
    needed = ["json", *(f"{kind}{n}.png" for n in range(count))]
    if absent := [name for name in needed if name not in there.members]:
        raise UsageError(f"its samples have no {absent[0]}: generate with generator.params.image=silhouette or xray")
    for edge in {size, full} if rule == "paper" else {size}:
        name = array_member(f"volume{edge}", there.members)
        if name is None:
            stored = sorted({int(found[1]) for member in there.members if (found := VOLUME.match(member))})
            raise UsageError(
                f"its samples have no truth on {edge} cells an edge: generate with generator.params.resample={edge}, "
                f"or train with --set size={' or '.join(map(str, stored))}"
            )
        needed.append(name)
    samples = Samples(there.store, there.split, needed)
    for number, sample in enumerate(records.read(range(len(records)))):
        record = sample["json"]
        who = record["side"], record["subject"], record["source_id"], record["sample_id"]
        yield StoredPair(samples, number, size, rule, len(record["views"]), *who)


def papers(volume: NDArray[np.uint8], size: int) -> NDArray[np.bool_]:
    """The paper's target: the volume's occupied cells by trilinear sampling, all that is above 0 (XRA-Diff's code).

    Args:
        volume: (n, n, n), nonzero is occupied.
        size: cells an edge of the result, at most n.
    """
    n = volume.shape[0]
    at = (np.arange(size) + 0.5) * n / size - 0.5
    low = np.floor(at).astype(int)
    high = np.where(at > low, low + 1, low)
    # Which sample a cell is the lower or the higher neighbour of, along an axis; ``size`` where none.
    reached = np.full((2, n), size)
    reached[0, low] = reached[1, high] = np.arange(size)
    cells = np.unravel_index(np.flatnonzero(volume > 0), volume.shape)  # of bool: 5 x as fast
    out = np.zeros((size + 1,) * 3, bool)
    for ends in itertools.product(reached, repeat=3):
        out[tuple(end[along] for end, along in zip(ends, cells, strict=True))] = True
    return out[:size, :size, :size]


def pair_of_sample(sample: Mapping[str, Any], size: int, rule: str = "paper") -> Pair:
    """A bi-plane sample.

    Args:
        sample: its members.
        size: cells an edge of the grid to reconstruct on, whose truth it holds.
        rule: what the target is: ``paper`` (trilinear samples of the full grid's truth above 0) or ``half`` (half
            full, of thinner vessels a line: ``generators.carm.occupancy``).
    """
    record = sample["json"]
    views = tuple(View.from_json({k: v for k, v in one.items() if k != "name"}) for one in record["views"])
    spacing = record["spacing_mm"] * record["grid"][0] / size
    shadows = tuple((_shadow(sample, n) > 0).astype(np.uint8) for n in range(len(views)))
    if record.get("motion"):  # as a clinical pair is: what the pictures tell of it is undone
        shadows, _ = aligned(views, shadows)
    grid = Grid((size,) * 3, spacing)
    paper = papers(_volume(sample, record["grid"][0]), size) if rule == "paper" else None
    who = record["side"], record["subject"], record["source_id"]
    truth = _volume(sample, size).astype(np.float16)
    return Pair(views, shadows, grid, *who, truth, paper, record["sample_id"], record["grid"][0])


def _volume(sample: Mapping[str, Any], edge: int) -> NDArray[Any]:
    found: NDArray[Any] = sample[array_member(f"volume{edge}", sample) or f"volume{edge}.npy"]
    return found


def _shadow(sample: Mapping[str, Any], n: int) -> NDArray[Any]:
    found: Sequence[NDArray[Any]] = [sample[name] for name in (f"mask{n}.png", f"view{n}.png") if name in sample]
    return found[0]
