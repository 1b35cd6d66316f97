"""Small datasets in the layout of the stenosis generator's samples, committed as a worker commits them."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from lesionforge.sinks.commit import commit
from lesionforge.sinks.encode import encode
from lesionforge.sinks.index import Row, place, row_of
from lesionforge.sinks.store import Store
from lesionforge.sinks.tar import Tar
from tests.sinks.samples import RECIPE, VERSION

CLASSES = ("mild", "moderate", "severe")
ROWS, COLUMNS = 48, 64


def lesions(i: int) -> list[dict[str, Any]]:
    """Zero to two lesions of sample ``i``, the second one drawn; positions are no whole numbers."""
    real = {"box": [3.25, 4.1, 17.7, 20.9], "severity_class": CLASSES[i % 3], "synthetic": False}
    made = {"box": [30.123456789 + i / 7, 10.5, 55.0, 41.0 + 1 / 3], "severity_class": CLASSES[(i + 1) % 3]}
    real |= {"edit_box": None, "requested_ds": None, "measured_ds": None}
    made |= {"edit_box": [28, 8, 57, 44], "requested_ds": 55.0, "measured_ds": 54.2, "synthetic": True}
    return [real, made][: i % 3]


def meta(i: int, split: str = "train") -> dict[str, Any]:
    """The ``json`` member."""
    told = {"sample_id": f"{split}-0000-{i:08d}", "split": split, "variant": 0, "source": 0, "case": i}
    told |= {"target": CLASSES[i % 3], "subject": f"{i // 2:016x}", "source_id": f"id{i}", "redraws": 0}
    told |= {"generator": "stenosis", "recipe": RECIPE, "drawn": {}, "measured": {"percent_ds": 54.2}}
    return told | {"lesions": lesions(i), "side": ("left", "right")[i % 2], "requested": {"percent_ds": 55.0}}


def fields(i: int) -> dict[str, np.ndarray]:
    """Arrays: a noisy frame with a dark vessel, the frame before, the vessel's mask."""
    rng = np.random.default_rng(i)
    mask = np.zeros((ROWS, COLUMNS), np.uint8)
    mask[:, 40:44] = 255
    source = np.clip(rng.normal(150, 8, mask.shape) - mask * 0.3, 0, 255).astype(np.uint8)
    image = source.copy()
    image[20:28, 42:44] = 150
    return {"image.png": image, "source.png": source, "mask.png": mask}


def write(
    store: Store, samples: int = 20, split: str = "train", shard: int = 6, lost: Collection[int] = (), first: int = 0
) -> Sequence[str]:
    """Commit shards of a split; the samples in ``lost`` are quarantined. Returns the ids of the others, in order."""
    kept = list[str]()
    for k in range(-(-samples // shard)):
        body, rows = Tar(), list[Row]()
        for i in range(first + k * shard, first + min(samples, (k + 1) * shard)):
            told = meta(i, split)
            if i in lost:
                rows.append(Row(told["sample_id"], split, 0, 0, i, told["target"], "quarantined", "quality: no"))
                continue
            kept.append(told["sample_id"])
            members = {name: encode(name, value) for name, value in {**fields(i), "json": told}.items()}
            rows.append(place(row_of(told), body.add(told["sample_id"], members)))
        commit(store, f"{split}-{k:06d}", RECIPE, VERSION, rows, body)
    return kept
