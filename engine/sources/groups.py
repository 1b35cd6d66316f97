"""Cases that must not be parted by a split, such as the runs of one patient, laid out as the plan counts subjects.

A plan knows subjects with the same number of cases each (``Source.cases_per_subject``); patients have one picture or
twenty. So patients are put together in bins as large as the largest of them: a bin is what the plan calls a subject,
and no patient stands in two. A bin that stays unfilled gives its first cases again.
"""

from __future__ import annotations

from collections.abc import Sequence


def pack(groups: Sequence[Sequence[int]]) -> tuple[int, list[int]]:
    """Lay groups of cases out in bins of equal size, best fit first.

    Args:
        groups: numbers of the cases of each group; no group is empty.

    Returns:
        The size of a bin, and the cases bin by bin; with single cases alone that is 1 and the cases as given.
    """
    size = max((len(group) for group in groups), default=1)
    bins: list[list[int]] = []
    room: dict[int, list[int]] = {free: [] for free in range(size + 1)}  # bins by what is free in them
    for group in sorted(groups, key=len, reverse=True):  # stable: groups of one size stay in order
        free = next((f for f in range(len(group), size) if room[f]), None)
        if free is None:
            bins.append([])
            free, place = size, len(bins) - 1
        else:
            place = room[free].pop(0)
        bins[place] += group
        room[free - len(group)].append(place)
    filled = [[b[i % len(b)] for i in range(size)] for b in bins]
    return size, [case for b in filled for case in b]


def grouped(names: Sequence[str]) -> list[list[int]]:
    """Numbers of the cases under each name, in the order the names first come."""
    groups: dict[str, list[int]] = {}
    for case, name in enumerate(names):
        groups.setdefault(name, []).append(case)
    return list(groups.values())
