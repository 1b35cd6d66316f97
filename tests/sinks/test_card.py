"""The card: what it tells of a dataset, and what Hugging Face's reader learns from it."""

import json

import numpy as np
import pytest

from lesionforge.sinks import dataset, index, layout
from lesionforge.sinks.card import card
from lesionforge.sinks.dataset import Totals
from lesionforge.sinks.manifest import Contents
from lesionforge.sinks.store import Store
from tests.sinks import stenoses

DOCUMENT = {
    "recipe": {"generator": {"name": "stenosis"}, "seed": 7},
    "versions": {"lesionforge": "0.1.0"},
    "sources": [{"scheme": "ct", "subjects": 5, "licence": "none", "left_over": {"images without a label map": 2}}],
}


@pytest.fixture
def store(tmp_path):
    """Thirteen samples of train and four of val, with their card and the folders that are no data."""
    out = Store(str(tmp_path / "made"))
    stenoses.write(out, 13)
    stenoses.write(out, 4, "val", first=50)
    totals, contents = Totals(), Contents(out.put)
    for k, (record, rows) in enumerate(dataset.indexes(out, dataset.committed(out))):
        totals.add(record, index.summarise(rows))
        contents.add(k, record)
    body = contents.manifest("made", stenoses.RECIPE, {"samples": 17, "shards": 4}, totals)
    out.put(layout.MANIFEST, body)
    out.put(f"{layout.PICTURES}/train.png", b"no data")
    out.put(layout.CARD, card(json.loads(body), DOCUMENT, ["image.png", "json"], ["no motion"]))
    return out


def test_the_card_says_how_to_read(store):
    text = store.get(layout.CARD).decode()
    assert "import lesionforge as lf" in text
    assert 'lf.Samples("FOLDER OR URL", split="train")' in text
    assert "`[x0, y0, x1, y1]` in pixels" in text
    assert "| `ct` | 5 | 2 images without a label map | none |" in text


def test_hugging_face_loads_the_folder_by_its_name(store, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    folder = str(store.local_path())
    read = datasets.load_dataset(folder, cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in read.items()} == {"train": 13, "val": 4}
    row = read["train"][1]
    assert row["json"]["lesions"] == stenoses.lesions(1)
    assert np.array_equal(np.asarray(row["image.png"]), stenoses.fields(1)["image.png"])
