"""Boxes of neighbouring frames that are the same lesion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lesionforge.jobs.reading.said import Found

STEP = 0.08  # of the frame's longer side: how far a lesion's box moves between two frames at most (65 mm/s at 7.5/s)
GAP = 8  # frames looked through that may miss it in between: about a beat, after which it is back where it was


def linked(frames: Mapping[int, Sequence[Found]], shape: tuple[int, ...]) -> dict[int, list[Found]]:
    """The boxes with the numbers of their lesions, from 1: the one that most frames show first.

    Each box goes on with the nearest lesion that was seen in one of the last frames, nearest pairs first.

    Args:
        frames: boxes by frame, of the frames that were looked through, in time.
        shape: (rows, cols) of a frame.
    """
    last: dict[int, tuple[int, np.ndarray]] = {}  # lesion -> when it was seen last, and where its centre was
    out: dict[int, list[Found]] = {}
    lesions = 0
    for when, (number, found) in enumerate(frames.items()):
        centres = [np.array([one.box[0] + one.box[2], one.box[1] + one.box[3]]) / 2 for one in found]
        live = {lesion: where for lesion, (seen, where) in last.items() if when - seen <= GAP + 1}
        pairs = sorted(
            (float(np.linalg.norm(centre - where)), n, lesion)
            for n, centre in enumerate(centres)
            for lesion, where in live.items()
        )
        of: dict[int, int] = {}
        for distance, n, lesion in pairs:
            if distance <= STEP * max(shape) and n not in of and lesion not in of.values():
                of[n] = lesion
        for n in range(len(found)):
            if n not in of:
                lesions += 1
                of[n] = lesions
            last[of[n]] = when, centres[n]
        out[number] = [replace(one, lesion=of[n]) for n, one in enumerate(found)]
    often = Counter(one.lesion for found in out.values() for one in found)
    name = {lesion: n for n, (lesion, _) in enumerate(often.most_common(), 1)}
    return {number: [replace(one, lesion=name[one.lesion]) for one in found] for number, found in out.items()}
