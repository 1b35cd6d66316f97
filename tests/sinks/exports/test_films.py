"""Exports of runs, frame by frame, and of angiograms beside a CT: who is in which picture, what a frame hides."""

import json

import numpy as np
import pytest
from PIL import Image

from lesionforge.sinks.commit import commit
from lesionforge.sinks.encode import encode
from lesionforge.sinks.exports import export
from lesionforge.sinks.index import Row, place, row_of
from lesionforge.sinks.store import Store
from lesionforge.sinks.tar import Tar
from tests.sinks import cines
from tests.sinks.samples import RECIPE, VERSION


def of_frame(n, count):
    """Two stenoses: the second is hidden in odd frames; before contrast neither is there."""
    phase = "before" if n == 0 and count > 1 else "full"
    boxes = [
        {"stenosis": k, "box": [20.0 + n + 10 * k, 12.5, 28.0 + n + 10 * k, 20.0], "visible": not (k and n % 2)}
        for k in (0, 1)
    ]
    return {
        "phase": phase,
        "contrast": float(n > 0),
        "time_s": n / 10,
        "boxes": [b | {"percent_ds": 55.5} for b in boxes],
    }


@pytest.fixture
def films(tmp_path, monkeypatch):
    meta = cines.meta

    def told(i, split="train"):
        count = len(cines.frames(i))
        stenoses = [{"severity_class": name, "percent_ds": ds} for name, ds in (("moderate", 60.0), ("severe", 90.0))]
        return meta(i, split) | {"stenoses": stenoses, "frames": [of_frame(n, count) for n in range(count)]}

    monkeypatch.setattr(cines, "meta", told)
    store = Store(str(tmp_path / "films"))
    cines.write(store)
    return store


def test_runs_are_frames_with_their_subject_and_their_lesions_numbered_through_the_run(films, tmp_path):
    told = export(films, tmp_path / "coco", "coco")
    body = json.loads((tmp_path / "coco" / "train" / "annotations" / "train.json").read_text())
    counts = [len(cines.frames(i)) for i in range(4)]
    assert told["images"] == {"train": sum(counts)}
    assert len(body["videos"]) == 3  # the fourth is a still
    by_id, instances = {image["id"]: image for image in body["images"]}, {}
    for image in body["images"]:
        i, n = int(image["sample"][-2:]), image.get("frame_id", 0)
        assert image["subject"] == f"{i // 2:016x}"
        assert image["file_name"] == (
            f"{image['sample']}_frame{n:03d}.png" if counts[i] > 1 else f"{image['sample']}.png"
        )
        pixels = np.asarray(Image.open(tmp_path / "coco" / "train" / "images" / image["file_name"]))
        assert np.array_equal(pixels, cines.frames(i)[n])
        notes = [note for note in body["annotations"] if note["image_id"] == image["id"]]
        seen = of_frame(n, counts[i])["boxes"] if of_frame(n, counts[i])["phase"] == "full" else []
        shown = [note for note in notes if not note["iscrowd"]]
        assert [note["bbox"] for note in shown] == [
            [b["box"][0], b["box"][1], b["box"][2] - b["box"][0], b["box"][3] - b["box"][1]]
            for b in seen
            if b["visible"]
        ]
        assert len(notes) - len(shown) == 3 * sum(not b["visible"] for b in seen)  # hidden: ignored in every class
        for note in notes:
            assert note["percent_ds"] == 55.5  # as this frame shows it
            assert note["true_ds"] == (60.0, 90.0)[note["stenosis"]]
            if counts[i] > 1:
                instances.setdefault((image["video_id"], note["stenosis"]), set()).add(note["instance_id"])
    assert all(len(one) == 1 for one in instances.values())
    assert len(set.union(*instances.values())) == len(instances) == 6
    assert {by_id[note["image_id"]]["phase"] for note in body["annotations"] if "video_id" in note} == {"full"}


def test_no_run_is_torn_between_train_and_val(films, tmp_path):
    told = export(films, tmp_path / "yolo", "yolo")
    lines = [line.split(",") for line in (tmp_path / "yolo" / "subjects.csv").read_text().splitlines()[1:]]
    assert told["subjects"] == {"train": 1, "val": 1}
    assert not {line[2] for line in lines if line[1] == "train"} & {line[2] for line in lines if line[1] == "val"}
    assert len(lines) == sum(len(cines.frames(i)) for i in range(4))
    hidden = sum(n % 2 for i in range(4) for n in range(1, len(cines.frames(i))))
    assert told["ignored"] == {"hidden in that picture": hidden}


def test_the_angiograms_beside_a_ct_are_pictures_each_with_the_plaques_it_shows(tmp_path):
    views = np.arange(2 * 20 * 30, dtype=np.uint8).reshape(2, 20, 30)
    body, rows = Tar(), list[Row]()
    for i in range(2):
        told = cines.meta(i) | {"generator": "angio_ct"}
        for name in ("stenoses", "begin", "end"):
            told.pop(name)
        shown = [
            {"box": [3.0, 4.0, 9.0, 8.0], "visible": True, "overlap": 0.1, "foreshortening": 0.2},
            {"box": None, "visible": False, "overlap": 1.0, "foreshortening": 0.0},
        ]
        plaque = {"class": "calcified", "severity_class": "severe", "measured_ds": 71.0, "box": [1, 2, 3, 4, 5, 6]}
        told["lesions"] = [plaque | {"projections": shown}, plaque | {"projections": []}]  # one on the other tree
        members = {f"view{n}.png": one for n, one in enumerate(views)} | {"json": told}
        packed = {name: encode(name, value) for name, value in members.items()}
        rows.append(place(row_of(told), body.add(told["sample_id"], packed)))
    store = Store(str(tmp_path / "both"))
    commit(store, "train-000000", RECIPE, VERSION, rows, body)
    told = export(store, tmp_path / "coco", "coco")
    found = json.loads((tmp_path / "coco" / "train" / "annotations" / "train.json").read_text())
    assert [image["file_name"][-10:] for image in found["images"]] == ["_view0.png", "_view1.png"] * 2
    assert [(note["image_id"], note["bbox"], note["class"]) for note in found["annotations"]] == [
        (1, [3.0, 4.0, 6.0, 4.0], "calcified"),
        (3, [3.0, 4.0, 6.0, 4.0], "calcified"),
    ]
    assert told["boxes"] == {"train": {"mild": 0, "moderate": 0, "severe": 2}}
    assert export(store, tmp_path / "one", "coco", image="view1.png")["images"] == {"train": 2}
