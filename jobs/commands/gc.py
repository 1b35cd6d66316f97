"""``lesionforge gc``: what interrupted runs have left in a place, removed."""

from __future__ import annotations

from typing import Any

from lesionforge.jobs import console
from lesionforge.sinks.card import counted, human_bytes
from lesionforge.sinks.gc import YOUNG, collect
from lesionforge.sinks.store import Store


def gc(place: str | Store, dry_run: bool = False, young: float = YOUNG) -> dict[str, Any]:
    """Remove leftovers; see ``sinks.gc``.

    Args:
        place: where the dataset lies, or a store.
        dry_run: only say what would go.
        young: seconds; what is younger stays.

    Raises:
        StoreError: a run is at work there, or the place cannot be read or written.
    """
    store = place if isinstance(place, Store) else Store(place)
    found = collect(store, dry_run, young, console.note)
    return {
        "out": store.url(),
        "dry_run": dry_run,
        "removed": [{"name": entry.name, "bytes": entry.size} for entry in found.removed],
        "bytes": sum(entry.size for entry in found.removed),
        "young": [entry.name for entry in found.young],
        "kept": [entry.name for entry in found.kept],
    }


def show(body: dict[str, Any]) -> None:
    """For people."""
    what = "would remove" if body["dry_run"] else "removed"
    for entry in body["removed"]:
        console.out.print(f"{what} {entry['name']} ({human_bytes(entry['bytes'])})", markup=False)
    for name in body["kept"]:
        console.out.print(f"kept {name}: the manifest names it; verify --repair makes its index anew", markup=False)
    if body["young"]:
        console.out.print(f"left alone {counted(len(body['young']), 'object')} for their age (--age)", markup=False)
    count = counted(len(body["removed"]), "object")
    console.out.print(f"{what} {count}, {human_bytes(body['bytes'])}, from {body['out']}", markup=False)
