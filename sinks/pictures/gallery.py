"""The gallery: one HTML file that shows a dataset without server or network, and the distributions it draws.

Everything it knows comes from index rows and panels; it knows no generator.
"""

from __future__ import annotations

import json
import math
import statistics
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import Panel
from lesionforge.sinks.pictures.names import hidden, title
from lesionforge.sinks.pictures.sheet import BEFORE, fit, layer_png, overlays, patch_png, picture_before
from lesionforge.sinks.text import page

MARK = "@DATA@"  # where the template takes the data
BINS = 24  # bars of a histogram, about
TEXTS = 20  # different texts of a label that are still categories; names beyond that are not
POINTS = 3000  # of a scatter
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def gallery(data: Mapping[str, Any]) -> bytes:
    """Fill the template with one JSON, written so that no text in it can end the script element."""
    text = json.dumps(page(data), sort_keys=True, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    template = files("lesionforge.sinks.pictures").joinpath("gallery.html").read_text(encoding="utf-8")
    return template.replace(MARK, text, 1).encode()


def panel_data(panel: Panel, edge: int) -> dict[str, Any]:
    """A panel with each layer as a PNG of its own, at most ``edge`` pixels; overlays carry their tint.

    The first is the picture. Where the panel has a picture before an edit as well, that is the second, as a patch over
    the first, and overlays may belong to one of the two (``side``).
    """

    def entry(name: str, layer: NDArray[np.uint8], png: bytes, **more: Any) -> dict[str, Any]:
        size = {"height": layer.shape[0], "width": layer.shape[1]}
        return {"name": name, "png": b64encode(png).decode(), "tint": None, "side": None, **size, **more}

    def small(layer: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return fit(layer, edge) if max(layer.shape) > edge else layer

    first, picture = next(iter(panel.layers.items()))
    now, was = small(picture), picture_before(panel)
    layers = [entry(first, now, layer_png(now))]
    if was is not None:
        layers.append(entry(BEFORE, now, patch_png(small(was), now), side="before"))
    for over in overlays(panel):
        layer = small(over.layer)
        layers.append(entry(over.name, layer, layer_png(layer, over.tint), tint=over.tint, side=over.side))
    return {"title": panel.title, "layers": layers}


def distributions(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Histograms, categories, constants and requested-measured pairs of many samples.

    What no distribution can tell is left out: coordinates and indices (`names.hidden`), what was requested and
    measured (it stands in the pairs), and labels that repeat a measured value.

    Args:
        rows: per sample ``labels`` (nested), ``measured`` and ``redraws``.
    """
    columns: dict[str, list[Any]] = defaultdict(list)
    lengths = _lengths(row["labels"] for row in rows)
    for row in rows:
        for group in ("measured", "labels"):
            for path, value in _flat(row[group], lengths):
                columns[f"{group}.{path}"].append(value)
        columns["labels.redraws"].append(float(row["redraws"]))
    shown = set[tuple[Any, ...]]()
    out: dict[str, Any] = {"histograms": [], "categories": [], "constants": [], "omitted": [], "pairs": _pairs(rows)}
    for path, values in sorted(columns.items(), key=lambda item: (not item[0].startswith("measured."), item[0])):
        group, name = path.split(".", 1)
        different = set(values)
        paired = name.startswith("requested.") and f"measured.{name.removeprefix('requested.')}" in columns
        again = len(different) > 1 and tuple(values) in shown
        if hidden(name) or paired or again or _repeats(path, columns):
            continue
        shown.add(tuple(values))
        alone = path.endswith(".0") and columns.get(f"{path[:-1]}1") == values  # square pixels are one number
        head = {"group": group, "path": name}
        head |= dict(zip(("name", "unit"), title(name.removesuffix(".0") if alone else name), strict=True))
        if len(different) == 1 and len(values) == len(rows) > 1:
            out["constants"].append({**head, "value": values[0]})
        elif all(isinstance(v, float) for v in values):
            out["histograms"].append({**head, **histogram(values)})
        elif len(different) <= TEXTS:
            counts = sorted(Counter(map(str, values)).items(), key=lambda item: (-item[1], item[0]))
            out["categories"].append({**head, "counts": counts})
        else:
            out["omitted"].append({**head, "different": len(different)})
    return out


def histogram(values: Sequence[float]) -> dict[str, Any]:
    """Counts in about ``BINS`` bins of a round width; whole numbers get bins of a whole width."""
    low, high = min(values), max(values)
    whole = all(v == int(v) for v in values)
    raw = (high - low) / BINS or abs(low) / 10 or 1.0
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(s * size for s in STEPS if s * size >= raw * (1 - 1e-9))
    if whole:
        step = max(1.0, math.ceil(step))
    first = math.floor(low / step + 1e-9)
    single = whole and step == 1
    # A largest value on an edge belongs to the bin below it: nothing lies above, and 1.0 is often an upper bound.
    last = first if low == high else math.ceil(high / step - 1e-9) - (0 if single else 1)
    counts = [0] * (last - first + 1)
    for value in values:
        counts[min(math.floor(value / step + 1e-9), last) - first] += 1
    numbers = {"min": low, "median": statistics.median(values), "max": high, "mean": statistics.fmean(values)}
    return {"start": first * step, "step": step, "single": single, "counts": counts, "n": len(values), **numbers}


def _flat(value: Any, lengths: Mapping[str, set[int]], path: str = "", seen: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by path, numbers as float. Lists whose length differs among samples, or is 1, are pooled under ``*``."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, lengths, f"{path}.{key}".lstrip("."), f"{seen}.{key}")
    elif isinstance(value, list) and len(value) == 4 and path.endswith("box"):  # corners; of interest is its size
        yield f"{path}.width_px", float(value[2] - value[0])
        yield f"{path}.height_px", float(value[3] - value[1])
    elif isinstance(value, list):
        differs = len(lengths[seen]) > 1
        pooled = differs or lengths[seen] == {1}
        if differs:
            yield f"{path}.count", float(len(value))
        for n, item in enumerate(value):
            yield from _flat(item, lengths, f"{path}.{'*' if pooled else n}", f"{seen}.*")
    elif isinstance(value, bool | str):
        yield path, value if isinstance(value, str) else ("yes" if value else "no")
    elif isinstance(value, int | float) and math.isfinite(value):
        yield path, float(value)


def _lengths(labels: Iterable[Any]) -> dict[str, set[int]]:
    """Lengths of every list that the samples have, by its path."""
    lengths: dict[str, set[int]] = defaultdict(set)

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                walk(item, f"{path}.{key}")
        elif isinstance(value, list):
            lengths[path].add(len(value))
            for item in value:
                walk(item, f"{path}.*")

    for value in labels:
        walk(value, "")
    return lengths


def _repeats(path: str, columns: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a later component of a vector is its first one again, as in square pixels."""
    before, _, last = path.rpartition(".")
    return last.isdigit() and last != "0" and columns.get(f"{before}.0") == columns[path]


def _pairs(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Values that were asked for and measured under the same name, with bias and largest error."""
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        requested = row["labels"].get("requested")
        for key, wanted in (requested if isinstance(requested, Mapping) else {}).items():
            got = row["measured"].get(key)
            if isinstance(wanted, int | float) and isinstance(got, int | float):
                points[key].append((float(wanted), float(got)))
    out = []
    for key, both in sorted(points.items()):
        name, unit = title(key)
        errors = [got - wanted for wanted, got in both]
        figures = {"bias": statistics.fmean(errors), "worst": max(map(abs, errors))}
        shown = both[:: -(-len(both) // POINTS)]
        out.append({"path": key, "name": name, "unit": unit, "n": len(both), "points": shown, **figures})
    return out
