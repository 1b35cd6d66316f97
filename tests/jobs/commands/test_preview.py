import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from lesionforge.engine.dataset import DatasetDescription, DatasetError, SourceSize
from lesionforge.engine.recipe import Recipe
from lesionforge.generators.base import Generator
from lesionforge.generators.types import Case, Panel, Sample, SampleSpec, UserError
from lesionforge.jobs.commands import preview as module
from lesionforge.jobs.commands.preview import preview
from lesionforge.sinks import index, layout
from lesionforge.sinks.encode import encode
from lesionforge.sinks.index import Record, Row
from lesionforge.sinks.reservoir import Choice, Reservoir
from lesionforge.sinks.store import Store
from lesionforge.sinks.tar import Tar

EVIL = "</script><script>alert(1)</script><!-- & \u2028"
SIZE = 96


@dataclass(frozen=True)
class PainterParams:
    pass


class Painter(Generator):
    """An angiogram-like picture with a mask and a soft result over it; only its panels are asked for."""

    Params = PainterParams

    def make(self, case: Case, spec: SampleSpec) -> Sample:
        raise NotImplementedError

    def panels(self, fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
        """The picture with its overlays, and the mask alone."""
        image, mask = fields["image.png"], fields["mask.png"]
        soft = (image // 2 * (mask > 0)).astype(np.uint8)
        return [Panel("frame", {"angiogram": image, "mask": mask, "lesion": soft}), Panel("mask", {"mask": mask})]


def row(number: int, split: str, target: str | None) -> Row:
    """Sample ``number`` of a split, as an index tells it."""
    asked = 30.0 + number % 50
    labels = {
        "side": "left" if number % 2 else "right",
        "note": EVIL,
        "spacing_mm": 0.3 + number / 100,
        "requested": {"percent_ds": asked},
        "views": [{"name": f"LAO {number}", "primary_deg": 5.0 * number, "pixel_mm": [0.2, 0.2]} for _ in range(2)],
        "lesions": [{"length_mm": float(k)} for k in range(number % 3)],
    }
    out = Row(
        f"{split}-0000-{number:08d}", split, 0, 0, number, target, redraws=number % 2, subject="aa", source_id="bb"
    )
    out.labels = json.dumps(labels)
    out.measured = {"percent_ds": asked + 0.5, "mld_mm": 1 + number / 10}
    return out


def fields(number: int, entry: Row) -> dict[str, bytes]:
    """Members of a sample: a noisy vessel and its mask."""
    rng = np.random.default_rng(number)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:, SIZE // 2 : SIZE // 2 + 1] = 255
    image = np.clip(rng.normal(150, 12, (SIZE, SIZE)) - mask * 0.3, 0, 255).astype(np.uint8)
    meta = {**json.loads(entry.labels or "{}"), "drawn": {"seed_words": [1, 2]}, "measured": entry.measured}
    return {"image.png": encode("image.png", image), "mask.png": encode("mask.png", mask), "json": encode("json", meta)}


def write_shard(store: Store, shard: str, rows: list[Row]) -> None:
    """A committed shard of these rows."""
    tar = Tar()
    for item in rows:
        if item.status == "ok":
            index.place(item, tar.add(item.sample_id, fields(item.case, item)))
    data = b"".join([*tar.chunks, bytes(1024)])
    ok = sum(item.status == "ok" for item in rows)
    sha = hashlib.sha256(data).hexdigest()
    store.put(layout.tar(shard), data)
    store.put(layout.index(shard), index.write(rows, Record(shard, "f" * 64, sha, len(data), ok, len(rows) - ok, "0")))


def recipe(**changes: Any) -> Recipe:
    raw = {
        "name": "tiny",
        "seed": 3,
        "sources": [{"uri": "phantom:coronary", "split": {"train": 0.75, "val": 0.25}}],
        "generator": {"name": f"{__name__}.Painter"},
        "shard": {"samples": 12},
        "storage_options": {"secret": "very-secret"},
    }
    return Recipe.model_validate({**raw, **changes})


def begin(store: Store) -> DatasetDescription:
    """Write the document of the tiny dataset."""
    source = SourceSize("phantom", 48, 1, "print", "CC-BY-4.0, see http://example.org/terms")
    doc = DatasetDescription("f" * 64, recipe(), (source,), 1000, {"lesionforge": "0.1.0"})
    store.put(layout.RECIPE, doc.to_bytes())
    return doc


@pytest.fixture
def store(tmp_path):
    """30 good samples and 6 quarantined of ``train`` (classes 2:1), 4 of ``val``."""
    out = Store(str(tmp_path / "secret-place"))
    begin(out)
    rows = [row(n, "train", "severe" if n % 3 else "mild") for n in range(36)]
    for item in rows[30:]:
        item.status, item.labels, item.measured = "quarantined", None, {}
        item.reason = f"quality: mld = 0.{item.case} is outside 1.0 ... None <b>"
    rows[35].reason = "source: case 35 is unreadable"
    for k in range(3):
        write_shard(out, f"train-{k:06d}", rows[12 * k : 12 * k + 12])
    write_shard(out, "val-000000", [row(n, "val", "mild") for n in range(4)])
    return out


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.links: list[str] = []
        self.tags: Counter[str] = Counter()
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.data = json.loads(self.scripts[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "link", "input", "img"):
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data

    def close(self) -> None:
        super().close()
        assert not self._open


def read(store: Store) -> Page:
    return Page(store.get(layout.PREVIEW).decode())


def test_page_is_whole_and_alone(store):
    where = preview(store, trust=True).preview
    html = store.get(layout.PREVIEW).decode()
    page = Page(html)
    assert where == store.url(layout.PREVIEW)
    assert page.tags["script"] == 2
    assert all(link == "data:," or link.startswith("#") for link in page.links)
    assert not re.search(r"(@import|url\(|fetch\(|XMLHttpRequest|import\()", html)
    assert EVIL not in html
    assert page.data["samples"][0]["labels"]["note"] == EVIL.replace("\u2028", r"\u2028")
    assert "secret-place" not in html
    assert "very-secret" not in html


def test_everything_chosen_and_every_reason_is_in_it(store):
    preview(store, 12, trust=True)
    data = read(store).data
    ids = [sample["id"] for sample in data["samples"]]
    assert len(ids) == 12
    assert Counter((s["split"], s["class"]) for s in data["samples"]) == {
        ("train", "mild"): 4,
        ("train", "severe"): 4,
        ("val", "mild"): 4,
    }
    aside = data["quarantine"]
    assert aside["total"] == 6
    assert [(r["count"], r["text"]) for r in aside["reasons"]] == [
        (5, "quality: mld = … is outside 1.0 ... None <b>"),
        (1, "source: case 35 is unreadable"),
    ]
    assert {r["reason"] for r in aside["rows"]} >= {
        f"quality: mld = 0.{n} is outside 1.0 ... None <b>" for n in (30, 34)
    }
    assert data["state"].startswith("quota not met")
    assert not data["complete"]


def test_counts_equal_the_rows(store):
    preview(store, trust=True)
    data = read(store).data
    assert data["counts"] == [["train", "mild", 10], ["train", "severe", 20], ["val", "mild", 4]]
    drawn = {d["path"]: d for d in data["distributions"]["histograms"]}
    assert data["distributions"]["rows"] == 34
    for path in ("percent_ds", "mld_mm", "spacing_mm", "views.0.primary_deg", "redraws"):
        assert sum(drawn[path]["counts"]) == drawn[path]["n"] == 34, path
    assert sum(drawn["lesions.*.length_mm"]["counts"]) == sum(n % 3 for n in [*range(30), *range(4)])
    sides = {d["path"]: dict(d["counts"]) for d in data["distributions"]["categories"]}["side"]
    assert sides == {"left": 17, "right": 17}
    assert "views.0.name" not in {d["path"] for kind in ("omitted", "categories") for d in data["distributions"][kind]}
    (pair,) = data["distributions"]["pairs"]
    assert (pair["path"], pair["unit"], pair["n"], pair["bias"]) == ("percent_ds", "%", 34, pytest.approx(0.5))


def test_same_dataset_same_page(store):
    preview(store, 7, trust=True)
    first = store.get(layout.PREVIEW)
    preview(store, 7, trust=True)
    assert store.get(layout.PREVIEW) == first
    assert len(read(store).data["samples"]) == 7


def test_overlays_are_layers_of_their_own(store):
    preview(store, 1, trust=True)
    (sample,) = read(store).data["samples"]
    frame, mask = sample["panels"]
    assert [layer["name"] for layer in frame["layers"]] == ["angiogram", "mask", "lesion"]
    assert [layer["tint"] is None for layer in frame["layers"]] == [True, False, False]
    assert len({layer["png"] for layer in frame["layers"]}) == 3
    assert mask["layers"][0]["tint"] is None
    assert sample["drawn"] == {"seed_words": [1, 2]}


def test_damaged_shard_costs_only_its_pictures(store):
    store.put(layout.tar("val-000000"), b"short")
    preview(store, trust=True)
    html = store.get(layout.PREVIEW).decode()
    faults = [s for s in Page(html).data["samples"] if "fault" in s]
    assert [s["split"] for s in faults] == ["val"] * 4
    assert "secret-place" not in html


def test_dataset_without_samples():
    store = Store("memory://preview-of-nothing")
    begin(store)
    preview(store, trust=True)
    data = read(store).data
    assert data["samples"] == data["counts"] == data["quarantine"]["rows"] == []
    assert "not made yet" in data["state"]


def test_place_without_dataset():
    with pytest.raises(DatasetError, match="holds no dataset"):
        preview(Store("memory://preview-of-a-void"))


def test_pictures_shrink_to_the_budget(store, monkeypatch):
    monkeypatch.setattr(module, "EDGES", (64, 32, 16))
    monkeypatch.setattr(module, "BUDGET", 1)
    preview(store, 2, trust=True)
    layers = [layer for s in read(store).data["samples"] for p in s["panels"] for layer in p["layers"]]
    assert {(layer["width"], layer["height"]) for layer in layers} == {(16, 16)}


def test_lot_does_not_depend_on_order_and_favours_no_stride():
    names = [f"train-0000-{n:08d}" for n in range(2000)]
    lots = [Reservoir(200), Reservoir(200)]
    for name in names:
        lots[0].add(name, name)
    for name in reversed(names):
        lots[1].add(name, name)
    assert lots[0].sorted() == lots[1].sorted()
    assert {name for name, _ in lots[0].sorted(50)} < {name for name, _ in lots[0].sorted()}
    even = sum(int(name[-8:]) % 2 == 0 for name, _ in lots[0].sorted())
    assert 70 < even < 130
    assert len(Reservoir(0).sorted()) == 0


def test_choice_fills_up_from_large_groups():
    choice = Choice(10)
    for split, target, count in (("train", "a", 50), ("train", "b", 2), ("val", "a", 3)):
        for n in range(count):
            item = row(n, split, target)
            item.sample_id += target
            choice.add((split, target), item.sample_id, item)
    chosen = [(item.split, item.target) for item in choice.chosen()]
    assert Counter(chosen) == {("train", "a"): 5, ("train", "b"): 2, ("val", "a"): 3}
    assert [split for split, _ in chosen] == ["train"] * 7 + ["val"] * 3


def test_no_sample_to_show_is_refused_before_a_gallery_is_lost(tmp_path):
    with pytest.raises(UserError, match="samples is 0: give 1 or more"):
        preview(tmp_path, samples=0)
