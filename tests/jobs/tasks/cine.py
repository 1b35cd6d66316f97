"""Small datasets in the layout of the cine generator's samples: one dark line a tree, which fills and empties."""

from typing import Any

import numpy as np

from lesionforge.sinks.commit import commit
from lesionforge.sinks.encode import encode
from lesionforge.sinks.index import Row, place, row_of
from lesionforge.sinks.store import Store
from lesionforge.sinks.tar import Tar
from tests.sinks.samples import RECIPE, VERSION

SIDE = 64
VIEWS = {"left": ("RAO 20 CAU 20", (-20.0, -20.0)), "right": ("LAO 40", (40.0, 0.0))}
RAMP = 3  # frames between empty and full


def contrast(frames: int, begin: int | None, end: int | None) -> np.ndarray:
    """A trapezoid: 1 from ``begin`` to ``end``, both inclusive, 0 from ``RAMP`` frames beyond."""
    if begin is None or end is None:
        return np.zeros(frames)
    n = np.arange(frames)
    return np.clip(1 - np.maximum(begin - n, n - end) / RAMP, 0, 1)


def case(i: int) -> dict[str, Any]:
    """What run ``i`` is: every fourth is full throughout, every fourth has no wash-out, and one never fills."""
    rng = np.random.default_rng(1000 + i)
    frames = int(rng.integers(14, 26))
    begin, end = int(rng.integers(4, 7)), frames - int(rng.integers(4, 7))
    if i % 4 == 1:
        end = frames - 1
    if i % 4 == 3:
        begin, end = 0, frames - 1
    if i == 4:
        begin = end = None
    return {"frames": frames, "begin": begin, "end": end, "side": ("left", "right")[i % 2]}


def film(i: int) -> list[np.ndarray]:
    """Frames of run ``i``: a slanted line for a left tree, a curved one for a right one, over noise."""
    rng, told = np.random.default_rng(i), case(i)
    yy, xx = np.mgrid[:SIDE, :SIDE] / SIDE
    bent = 0.0 if told["side"] == "left" else 1.6
    x0 = rng.uniform(0.35, 0.5)
    line = np.abs(xx - x0 - (0.5 * (yy - 0.5) if not bent else bent * (yy - 0.5) ** 2)) < 0.035
    levels = contrast(told["frames"], told["begin"], told["end"])
    ground = 150 + 30 * np.sin(5 * xx + i) + 20 * yy
    return [
        np.clip(ground * (1 - 0.45 * c * line) + rng.normal(0, 3, line.shape), 1, 255).astype(np.uint8) for c in levels
    ]


def meta(i: int, split: str = "train") -> dict[str, Any]:
    """The ``json`` member."""
    told, levels = case(i), contrast(*(case(i)[k] for k in ("frames", "begin", "end")))
    name, (primary, secondary) = VIEWS[told["side"]]
    out = {"sample_id": f"{split}-0000-{i:08d}", "split": split, "variant": 0, "source": 0, "case": i}
    out |= {"target": "severe", "subject": f"{i // 2:016x}", "source_id": f"id{i}", "redraws": 0}
    out |= {"generator": "cine", "recipe": RECIPE, "drawn": {}, "measured": {}}
    view = {"name": name, "primary_deg": primary + i % 5, "secondary_deg": secondary, "sid_mm": 1000.0, "sod_mm": 750.0}
    view |= {"rows": SIDE, "cols": SIDE, "pixel_mm": [0.2, 0.2]}
    phases = ["full" if c == 1 else "before" if c == 0 else "filling" for c in levels]
    frames = [{"time_s": n / 15, "phase": p, "contrast": float(levels[n]), "boxes": []} for n, p in enumerate(phases)]
    stenoses = [{"segment": "6", "artery": "LAD", "percent_ds": 75.0, "severity_class": "severe"}]
    out |= {"side": told["side"], "dominance": "right", "view": view, "fps": 15.0}
    out |= {"begin": told["begin"], "end": told["end"], "stenoses": stenoses, "arteries": {"LAD": 75.0}}
    return out | {"frames": frames, "modelled_ifr": {"LAD": 0.8}}


def write(store: Store, samples: int = 12, split: str = "train", first: int = 0, still: bool = False) -> None:
    """Commit one shard of a split; ``still``: the middle frame of each run as ``image.png``."""
    body, rows = Tar(), list[Row]()
    for i in range(first, first + samples):
        told, frames = meta(i, split), film(i)
        members: dict[str, Any] = {f"frame{n:03d}.png": frame for n, frame in enumerate(frames)}
        if still:
            told |= {"begin": 0, "end": 0, "frames": [told["frames"][len(frames) // 2]]}
            members = {"image.png": frames[len(frames) // 2]}
        packed = {name: encode(name, value) for name, value in {**members, "json": told}.items()}
        rows.append(place(row_of(told), body.add(told["sample_id"], packed)))
    commit(store, f"{split}-000000", RECIPE, VERSION, rows, body)
