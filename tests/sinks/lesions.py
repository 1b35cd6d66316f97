"""Small datasets in the layout of the lesion generator's samples, committed as a worker commits them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lesionforge.generators.lesion.classes import LEGEND, VALUE
from lesionforge.sinks.commit import commit
from lesionforge.sinks.encode import encode
from lesionforge.sinks.index import Row, place, row_of
from lesionforge.sinks.store import Store
from lesionforge.sinks.tar import Tar
from tests.sinks.samples import RECIPE, VERSION

SHAPE = (24, 22, 20)
CLASSES = ("liver_early", "kidney_early")
LESION_HU = {"liver_early": -120, "kidney_early": 200}


def meta(i: int, split: str, spacing: Sequence[float]) -> dict[str, Any]:
    """The ``json`` member."""
    kind = CLASSES[i % 2]
    told = {"sample_id": f"{split}-0000-{i:08d}", "split": split, "variant": 0, "source": 0, "case": i}
    told |= {"target": kind, "subject": f"{i // 2:016x}", "source_id": f"id{i}", "redraws": 0}
    told |= {"generator": "lesion", "recipe": RECIPE, "drawn": {}, "measured": {"mean_hu": float(LESION_HU[kind])}}
    return told | {
        "class": kind,
        "lesions": [{"class": kind, "label": VALUE[kind]}],
        "legend": {str(value): name for value, name in LEGEND.items()},
        "spacing_mm": list(spacing),
    }


def fields(i: int, bed: bool = False) -> dict[str, np.ndarray]:
    """A noisy organ with one lesion of the sample's class, and in every third a real tumour; ``bed``: in its organ."""
    rng = np.random.default_rng(i)
    kind = CLASSES[i % 2]
    hu = rng.normal(50, 8, SHAPE)
    labels = np.full(SHAPE, VALUE[kind.split("_")[0]], np.uint8)
    labels[5:11, 6:12, 4:10] = VALUE[kind]
    hu[labels == VALUE[kind]] += LESION_HU[kind] - 50
    hu[-1, -1] = -1000  # air, without which nobody takes them for Hounsfield units
    if i % 3 == 0:
        if bed:
            labels[14:22, 13:21, 10:18] = VALUE["pancreas"]
        labels[16:20, 15:19, 12:16] = VALUE["pancreas_tumour"]
        labels[0, 0, 0] = VALUE["pancreas_tumour"]  # a stray
    return {"ct.npy": hu.astype(np.int16), "label.npy.gz": labels}


def write(
    store: Store,
    samples: int = 6,
    split: str = "train",
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    first: int = 0,
    bed: bool = False,
) -> None:
    """Commit one shard of a split."""
    body, rows = Tar(), list[Row]()
    for i in range(first, first + samples):
        told = meta(i, split, spacing)
        members = {name: encode(name, value) for name, value in {**fields(i, bed), "json": told}.items()}
        rows.append(place(row_of(told), body.add(told["sample_id"], members)))
    commit(store, f"{split}-000000", RECIPE, VERSION, rows, body)
