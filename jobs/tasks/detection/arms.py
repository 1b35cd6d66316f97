"""The arms of the study: which frames a detector learns from, drawn by seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from lesionforge.generators.types import stream
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.task import REAL, TrainingSet
from lesionforge.jobs.tasks.detection.frames import CLASSES, Frame, Kind

NAMES = (
    "real, xN, xN-natural, xN-placebo or xN-synthetic, N = 1, 2, 4 ..., NAMExN... with --synthetic NAME=DATA; of "
    "runs BG, NL or BGNL"
)
KINDS = ("balanced", "natural", "placebo", "synthetic")
NEGATIVES: Final[Mapping[str, tuple[Kind, ...]]] = {"BG": ("bare",), "NL": ("healthy",), "BGNL": ("bare", "healthy")}


@dataclass(frozen=True)
class Arm:
    """What is added to n real frames.

    ``data``: name of the dataset that samples are of, None for ``real``. ``times``: synthetic samples per real frame.
    ``kind``: ``balanced`` (as many moderate as severe targets), ``natural`` (the class ratio of the n frames' own
    lesions, the paper's imbalanced set), ``placebo`` (the balanced samples' boxes over the frames before anything was
    drawn) or ``synthetic`` (the balanced samples alone, real lesions in them neither labelled nor held against the
    detector).

    ``negatives``: kinds of frames without lesions that are added, the two-step paper's arms ``BG`` (without contrast),
    ``NL`` (healthy vessels) and ``BGNL``; its B is ``real``. No other arm learns from them.
    """

    data: str | None
    times: int
    kind: str
    negatives: tuple[Kind, ...] = ()

    @classmethod
    def parse(cls, name: str) -> Arm:
        """An arm by its name: ``real``, ``x4``, ``x4-natural``, ``x4-placebo``, ``x4-synthetic``, ``NAMEx4``.

        Raises:
            UsageError: for another name.
        """
        if name == REAL:
            return cls(None, 0, KINDS[0])
        if name in NEGATIVES:
            return cls(None, 0, KINDS[0], NEGATIVES[name])
        known = re.fullmatch(r"(.*?)x([1-9]\d*)(?:-(natural|placebo|synthetic))?", name)
        if not known:
            raise UsageError(f"arm {name!r} is unknown; give {NAMES}")
        return cls(known[1], int(known[2]), known[3] or KINDS[0])


def training_set(
    arm: Arm, size: int | None, seed: int, real: Sequence[Frame], synthetic: Sequence[Frame], real_share: float
) -> TrainingSet[Frame]:
    """The frames of one run, real ones among those that a lesion can be drawn on.

    A seed draws the same real frames for every arm, and x2's samples are among x4's. Of frames without lesions the same
    share is drawn as of the others. Boxes of drawn lesions are sized
    by the annotators' habit, see ``sized``, in every arm that has them.

    Args:
        arm: which arm.
        size: how many real frames; None takes all.
        seed: draws frames and samples.
        real: the pool of real frames.
        synthetic: samples made from frames of the pool, of which those of the drawn frames are taken; or from other
            cases altogether.
        real_share: of the pictures drawn, where there are both kinds.

    Raises:
        UsageError: where the pool is smaller than ``size``.
    """
    others = [frame for frame in real if frame.kind in arm.negatives]
    real = [frame for frame in real if frame.masked and frame.kind in ("", "full")]
    size = len(real) if size is None else size
    if size > len(real):
        raise UsageError(f"{size} real frames are asked for; the source has {len(real)} that a lesion can be drawn on")
    key = f"detection/{seed}".encode()
    chosen = [real[i] for i in stream(key, f"frames/{size}").permutation(len(real))[:size]]
    share = round(len(others) * size / len(real)) if real else 0
    without = [others[i] for i in stream(key, f"negatives/{size}").permutation(len(others))[:share]]
    if arm.negatives and not without:
        raise UsageError(f"no frame is {' or '.join(arm.negatives)}: give a dataset of runs that has such")
    place = {frame.source_id: at for at, frame in enumerate(chosen)}
    if {frame.source_id for frame in real}.isdisjoint(frame.source_id for frame in synthetic):
        mine = list(synthetic)  # of no frame of the pool: made from other cases
        place = {source: at for at, source in enumerate(dict.fromkeys(frame.source_id for frame in mine))}
    else:
        mine = [frame for frame in synthetic if frame.source_id in place]
    if arm.times and not mine:
        raise UsageError("no synthetic sample was made from these real frames: give the dataset made from this source")
    picked = []
    wanted = arm.times * size
    severe = _severe_share(chosen) if arm.kind == "natural" else 0.5
    quotas = {CLASSES[1]: round(wanted * severe), CLASSES[0]: wanted - round(wanted * severe)}
    for name, quota in quotas.items():
        some = [frame for frame in mine if frame.target == name]
        order = stream(key, f"samples/{size}/{name}").permutation(len(some))
        # Every frame once before any frame twice; the classes begin at opposite ends, so that x1 has every frame.
        queue: dict[int, list[Frame]] = {}
        for i in order:
            queue.setdefault(place[some[i].source_id], []).append(some[i])
        frames = sorted(queue, reverse=name == CLASSES[0])
        depth = max(map(len, queue.values()), default=0)
        picked += [queue[f][turn] for turn in range(depth) for f in frames if turn < len(queue[f])][:quota]
    picked = sized(picked, chosen)
    if arm.kind == "placebo":
        picked = [frame.undrawn() for frame in picked]
    if arm.kind == "synthetic":
        chosen, picked = [], [frame.only_drawn() for frame in picked]
    used = [*chosen, *picked]
    if not used:
        raise UsageError("no frame shows a lesion: give more of them, or larger ones (a lesion too fine is left out)")
    boxes = {
        "real": sum(int((~frame.drawn).sum()) for frame in used),
        "drawn": sum(int(frame.drawn.sum()) for frame in used),
    }
    # Fewer samples than wanted where the dataset holds too few of a class.
    notes = {"wanted": wanted, "boxes": boxes, **({"without lesions": len(without)} if arm.negatives else {})}
    return TrainingSet([*chosen, *without], picked, real_share, notes)


def sized(samples: Sequence[Frame], real: Sequence[Frame]) -> list[Frame]:
    """Give the boxes of drawn lesions the sizes of the real ones, rank by rank, each about its own centre.

    How large a square an annotator puts round a lesion is a habit of the labels that are scored on (DiGDA's: median
    side 51 px), no property of the lesion: concentric squares of 34 and 51 px have an IoU of .44.
    """
    sides = [_sides(frame.boxes[frame.drawn]) for frame in samples]
    habit = np.concatenate([_sides(frame.boxes) for frame in real]) if real else np.zeros(0)
    drawn = np.concatenate(sides) if sides else np.zeros(0)
    if not len(habit) or not len(drawn):
        return list(samples)
    wanted = np.quantile(habit, (rankdata(drawn) - 0.5) / len(drawn), method="hazen")
    out, at = [], 0
    for frame, own in zip(samples, sides, strict=True):
        boxes, grown = frame.boxes.copy(), wanted[at : at + len(own)] / own
        at += len(own)
        centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        half[frame.drawn] *= grown[:, None].astype(np.float32)
        out.append(replace(frame, boxes=np.concatenate([centre - half, centre + half], 1)))
    return out


def _sides(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Side of the square of the same area."""
    return np.asarray(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1)), np.float64)


def _severe_share(frames: Sequence[Frame]) -> float:
    grades = np.concatenate([frame.classes for frame in frames])
    graded = grades[grades >= 0]
    if not len(graded):
        raise UsageError("the real frames' lesions are not graded: their natural class ratio is unknown")
    return float((graded == 1).mean())
