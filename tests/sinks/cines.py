"""Small datasets in the layout of the cine generator's samples, committed as a worker commits them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lesionforge.sinks.commit import commit
from lesionforge.sinks.encode import encode
from lesionforge.sinks.index import Row, place, row_of
from lesionforge.sinks.store import Store
from lesionforge.sinks.tar import Tar
from tests.sinks.samples import RECIPE, VERSION

ROWS, COLUMNS = 65, 67  # odd: their product is, and DICOM wants pixels of an even length
VIEWS = (("RAO 30 CAU 20", -30.25, -20.0), ("LAO 40 CRA 25", 40.0, 25.1))


def frames(i: int) -> np.ndarray:
    """uint8 (5 or 6, rows, cols): a dark vessel that fills, over noise; sample 3 is a still."""
    count = 1 if i == 3 else 5 + i % 2
    rng = np.random.default_rng(i)
    run = rng.normal(150, 8, (count, ROWS, COLUMNS))
    run[:, 10:50, 30:34] -= 80 * np.clip(np.arange(count) / 3, 0 if count > 1 else 1, 1)[:, None, None]
    return np.clip(run, 0, 255).astype(np.uint8)


def meta(i: int, split: str = "train") -> dict[str, Any]:
    """The ``json`` member."""
    name, primary, secondary = VIEWS[i % 2]
    told = {"sample_id": f"{split}-0000-{i:08d}", "split": split, "variant": i % 2, "source": 0, "case": i}
    told |= {"target": None, "subject": f"{i // 2:016x}", "source_id": f"id{i}", "redraws": 0, "generator": "cine"}
    told |= {"recipe": RECIPE, "drawn": {}, "measured": {}, "side": ("left", "right")[i % 2], "dominance": "right"}
    view = {"name": name, "primary_deg": primary, "secondary_deg": secondary, "sid_mm": 1034.5, "sod_mm": 744.8867774}
    told |= {"view": view | {"rows": ROWS, "cols": COLUMNS, "pixel_mm": [0.2789, 0.2785]}}
    return told | {"fps": 7.5 * (1 + i % 2), "begin": 3, "end": 4, "stenoses": [], "arteries": {}}


def write(store: Store, samples: int = 4, split: str = "train") -> Sequence[str]:
    """Commit one shard; the ids of its samples."""
    body, rows = Tar(), list[Row]()
    for i in range(samples):
        told, run = meta(i, split), frames(i)
        pictures = {f"frame{n:03d}.png": one for n, one in enumerate(run)} if len(run) > 1 else {"image.png": run[0]}
        more = {"points.npy.zst": np.zeros((4, 4), np.float32), "json": told}
        members = {name: encode(name, value) for name, value in (pictures | more).items()}
        rows.append(place(row_of(told), body.add(told["sample_id"], members)))
    commit(store, f"{split}-000000", RECIPE, VERSION, rows, body)
    return [row.sample_id for row in rows]
