"""Exports: what other people's own readers find in them is what was in the shards."""

import importlib.util
import io
import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import yaml
from PIL import Image

from lesionforge.sinks import exports
from lesionforge.sinks.exports import export
from lesionforge.sinks.exports.frames import SEVERITIES
from lesionforge.sinks.store import Store
from tests.sinks import stenoses

LOST = {3, 7}
KEPT = [i for i in range(15) if i not in LOST]


@pytest.fixture
def store(tmp_path):
    out = Store(str(tmp_path / "made"))
    stenoses.write(out, 15, lost=LOST)
    stenoses.write(out, 4, "val", first=50)
    return out


def cases(split):
    return {stenoses.meta(i, split)["sample_id"]: i for i in (KEPT if split == "train" else range(50, 54))}


def expected(split, classes=SEVERITIES):
    """Key -> class number and corners of its boxes."""
    return {
        key: [(classes.index(item["severity_class"]), *item["box"]) for item in stenoses.lesions(i)]
        for key, i in cases(split).items()
    }


def test_yolo_comes_back(store, tmp_path):
    told = export(store, tmp_path / "yolo", "yolo")
    body = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert body == {"train": "images/train", "val": "images/val", "names": {0: "mild", 1: "moderate", 2: "severe"}}
    masks = tmp_path / "yolo" / "masks"
    for split in ("train", "val"):
        files = sorted((tmp_path / "yolo" / "labels" / split).iterdir())
        assert [file.stem for file in files] == sorted(cases(split))
        for file in files:
            picture = np.asarray(Image.open(tmp_path / "yolo" / "images" / split / f"{file.stem}.png"))
            truth = stenoses.fields(cases(split)[file.stem])
            assert np.array_equal(picture, truth["image.png"])
            assert np.array_equal(np.asarray(Image.open(masks / split / f"{file.stem}.png")), truth["mask.png"])
            found = np.loadtxt(file, ndmin=2) if file.read_text() else np.empty((0, 5))
            centre, size = found[:, 1:3] * picture.shape[::-1], found[:, 3:] * picture.shape[::-1]
            corners = np.hstack([found[:, :1], centre - size / 2, centre + size / 2])
            assert np.allclose(corners, np.array(expected(split)[file.stem]).reshape(-1, 5), rtol=0, atol=1e-6)
    counts = Counter(SEVERITIES[box[0]] for boxes in expected("train").values() for box in boxes)
    assert told["boxes"]["train"] == {name: counts[name] for name in SEVERITIES}
    assert told["images"] == {"train": 13, "val": 4}
    assert (told["ignored"], told["left_out"], told["clipped"], told["notices"]) == ({}, {}, 0, [])


ULTRALYTICS = """
import json, sys
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset

check_det_dataset(sys.argv[2], autodownload=False)  # refuses a file without val
data = check_det_dataset(sys.argv[1], autodownload=False)
found = {"nc": data["nc"], "labels": {}}
for split in ("train", "val"):
    for item in YOLODataset(img_path=data[split], data=data, augment=False, imgsz=64).labels:
        arrays = {name: item[name].tolist() for name in ("cls", "bboxes")}
        found["labels"][item["im_file"]] = {**arrays, "shape": item["shape"]}
from ultralytics import YOLO
options = {"epochs": 1, "imgsz": 32, "batch": 4, "device": "cpu", "workers": 0, "plots": False, "project": sys.argv[3]}
model = YOLO("yolo11n.yaml")
model.train(data=sys.argv[2], verbose=False, **options)
found["trained"] = model.trainer.epoch + 1
print(json.dumps(found))
"""


def test_ultralytics_reads_the_folder_and_trains_on_one_whose_val_was_dealt(store, tmp_path):
    """In a process of its own: on import it changes Pillow and OpenCV for everybody."""
    if importlib.util.find_spec("ultralytics") is None:
        pytest.skip("needs the extra 'yolo'")
    export(store, tmp_path / "yolo", "yolo")
    export(store, tmp_path / "no_val", "yolo", splits=["train"])  # its val is dealt from train's subjects
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            ULTRALYTICS,
            *(str(tmp_path / name / "data.yaml") for name in ("yolo", "no_val")),
            str(tmp_path),
        ],
        cwd=tmp_path,
        env={**os.environ, "YOLO_CONFIG_DIR": str(tmp_path), "YOLO_OFFLINE": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    read = json.loads(done.stdout.splitlines()[-1])
    assert (read["nc"], read["trained"]) == (3, 1)
    labels = {os.path.basename(file)[:-4]: item for file, item in read["labels"].items()}
    truth = expected("train") | expected("val")
    assert labels.keys() == truth.keys()  # none called corrupt
    for key, item in labels.items():
        boxes = np.array(truth[key]).reshape(-1, 5)
        centre, size = (boxes[:, 1:3] + boxes[:, 3:]) / 2, boxes[:, 3:] - boxes[:, 1:3]
        assert np.array_equal(np.ravel(item["cls"]), boxes[:, 0])
        found = np.reshape(item["bboxes"], (-1, 4)) * np.tile(item["shape"][::-1], 2)
        assert np.allclose(found, np.hstack([centre, size]), rtol=0, atol=64 * 2**-24)  # they keep float32


def test_coco_comes_back_through_pycocotools(store, tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    export(store, tmp_path / "coco", "coco")
    for split in ("train", "val"):
        read = coco.COCO(str(tmp_path / "coco" / split / "annotations" / f"{split}.json"))
        assert {item["id"]: item["name"] for item in read.loadCats(read.getCatIds())} == dict(enumerate(SEVERITIES, 1))
        found = {}
        for picture in read.loadImgs(read.getImgIds()):
            file = tmp_path / "coco" / split / "images" / picture["file_name"]
            assert Image.open(file).size == (picture["width"], picture["height"])
            notes = read.loadAnns(read.getAnnIds(imgIds=picture["id"]))
            found[file.stem] = [
                (a["category_id"] - 1, x, y, x + width, y + height)
                for a in notes
                for x, y, width, height in [a["bbox"]]
            ]
            for note, lesion in zip(notes, stenoses.lesions(cases(split)[file.stem]), strict=True):
                assert {name: note[name] for name in ("synthetic", "requested_ds")} == {
                    name: lesion[name] for name in ("synthetic", "requested_ds")
                }
                assert read.annToMask(note).sum() == pytest.approx(note["area"], rel=0.1)
        assert found.keys() == expected(split).keys()
        for key, boxes in expected(split).items():
            assert np.allclose(found[key], np.array(boxes).reshape(np.shape(found[key])), rtol=0, atol=1e-6)


def test_perfect_predictions_score_one_with_cocoeval(store, tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    export(store, tmp_path / "coco", "coco", splits=["train"])
    truth = coco.COCO(str(tmp_path / "coco" / "train" / "annotations" / "train.json"))
    guesses = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9}
        for a in truth.loadAnns(truth.getAnnIds())
    ]
    score = COCOeval(truth, truth.loadRes(guesses), "bbox")
    score.evaluate()
    score.accumulate()
    score.summarize()
    assert score.stats[0] == pytest.approx(1.0)
    assert not (tmp_path / "coco" / "val").exists()


def test_the_frames_before_under_the_same_boxes(store, tmp_path):
    told = export(store, tmp_path / "before", "coco", image="source.png", splits=["val"])
    assert told["boxes"] == {"val": export(store, tmp_path / "after", "coco")["boxes"]["val"]}
    for folder, member in (("before", "source.png"), ("after", "image.png")):
        picture = Image.open(tmp_path / folder / "val" / "images" / f"{stenoses.meta(50, 'val')['sample_id']}.png")
        assert np.array_equal(np.asarray(picture), stenoses.fields(50)[member])


def test_no_lesion_is_lost_whatever_the_classes(store, tmp_path, monkeypatch):
    every = sum(len(stenoses.lesions(i)) for i in [*KEPT, *range(50, 54)])
    mild = sum(item["severity_class"] == "mild" for i in [*KEPT, *range(50, 54)] for item in stenoses.lesions(i))
    paper = export(store, tmp_path / "a", "yolo", classes=["moderate", "severe"])
    assert (paper["classes"], paper["as_stenosis"]) == (["moderate", "severe", "stenosis"], {"mild": mild})
    assert sum(map(sum, (one.values() for one in paper["boxes"].values()))) == every
    ignored = export(store, tmp_path / "i", "coco", classes=["moderate", "severe"], lesions="ignore")
    assert (ignored["classes"], ignored["ignored"]) == (["moderate", "severe"], {"mild": mild})
    one = export(store, tmp_path / "b", "yolo", lesions="one")
    assert one["boxes"]["train"] == {"stenosis": sum(len(stenoses.lesions(i)) for i in KEPT)}
    lesions = stenoses.lesions
    changed = {"severity_class": None, "box": [-5.0, 40.0, 10.0, 60.0]}
    beyond = {"severity_class": "mild", "box": [64.0, 1.0, 70.0, 5.0]}
    monkeypatch.setattr(stenoses, "lesions", lambda i: [*lesions(i), changed, beyond])
    other = Store(str(tmp_path / "other"))
    stenoses.write(other, 3)
    told = export(other, tmp_path / "d", "coco", lesions="one")
    assert (told["clipped"], told["left_out"]) == (3, {"outside the frame": 3})
    body = json.loads((tmp_path / "d" / "train" / "annotations" / "train.json").read_text())
    assert [0.0, 40.0, 10.0, 8.0] in [a["bbox"] for a in body["annotations"]]


def with_ungraded(tmp_path, monkeypatch, samples=4):
    """Samples with a real lesion each that nobody has graded."""
    lesions = stenoses.lesions
    monkeypatch.setattr(
        stenoses, "lesions", lambda i: [*lesions(i), {"severity_class": None, "box": [5.0, 30.0, 20.0, 44.0]}]
    )
    store = Store(str(tmp_path / "real"))
    stenoses.write(store, samples)
    return store


@pytest.mark.parametrize("format", ["yolo", "coco"])
def test_ungraded_lesions_are_a_class_of_their_own_after_the_others(tmp_path, monkeypatch, format):
    told = export(with_ungraded(tmp_path, monkeypatch), tmp_path / "out", format)
    assert told["classes"] == [*SEVERITIES, "stenosis"]
    assert told["as_stenosis"] == {"ungraded": 4}
    assert sum(one["stenosis"] for one in told["boxes"].values()) == 4
    text = (tmp_path / "out" / "README.md").read_text()
    assert "one without such a class is of class `stenosis`" in text
    assert "- as stenosis: 4 lesions, ungraded" in text
    assert ("[x, y, width, height]" if format == "coco" else "`class cx cy w h`") in text


def test_coco_ignores_ungraded_lesions_whatever_is_found_there(tmp_path, monkeypatch, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    told = export(with_ungraded(tmp_path, monkeypatch, 3), tmp_path / "coco", "coco", lesions="ignore")
    assert told["ignored"] == {"ungraded": 3}
    truth = coco.COCO(str(tmp_path / "coco" / "train" / "annotations" / "train.json"))
    notes = truth.loadAnns(truth.getAnnIds())
    assert sum(note["iscrowd"] for note in notes) == 3 * len(SEVERITIES)
    guesses = [  # every lesion is found, those that are to be ignored in every class
        {**{key: note[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.9 + 0.09 * note["iscrowd"]}
        for note in notes
    ]
    score = COCOeval(truth, truth.loadRes(guesses), "bbox")
    score.evaluate()
    score.accumulate()
    score.summarize()
    assert score.stats[0] == pytest.approx(1.0)


@pytest.mark.parametrize("splits", [["train"], ["val"], ["test"], ["train", "test"], ["val", "test"]])
def test_a_yolo_folder_has_train_and_val_and_no_subject_in_both(tmp_path, splits):
    store = Store(str(tmp_path / "made"))
    for n, split in enumerate(splits):
        stenoses.write(store, 20 if n == 0 else 4, split, first=50 * n)
    told = export(store, tmp_path / "yolo", "yolo")
    body = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert {split: body[split] for split in told["images"]} == {split: f"images/{split}" for split in told["images"]}
    assert told["images"] == {"train": 16, "val": 4} | ({"test": 4} if len(splits) > 1 else {})
    assert told["subjects"] == {"train": 8, "val": 2} | ({"test": 2} if len(splits) > 1 else {})
    lines = (tmp_path / "yolo" / "subjects.csv").read_text().splitlines()
    assert lines[0] == "picture,split,subject,sample"
    of = {split: {line.split(",")[2] for line in lines[1:] if line.split(",")[1] == split} for split in told["images"]}
    assert not of["train"] & of["val"]
    assert len(lines) == 1 + sum(told["images"].values())
    assert all((tmp_path / "yolo" / "images" / line.split(",")[0]).exists() for line in lines[1:])
    assert told["notices"][1] == f"val is made of 2 subjects of {splits[0]}, and no subject is in two splits"
    text = (tmp_path / "yolo" / "README.md").read_text()
    assert all(f"- {notice}" in text for notice in told["notices"])


def test_a_single_subject_is_no_yolo_folder(tmp_path):
    store = Store(str(tmp_path / "made"))
    stenoses.write(store, 2)
    with pytest.raises(ValueError, match=r"split train is of one subject.* Generate more subjects, or export as coco"):
        export(store, tmp_path / "yolo", "yolo")
    assert not (tmp_path / "yolo").exists()
    assert export(store, tmp_path / "coco", "coco")["images"] == {"train": 2}


def test_mistakes_are_named(store, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"no export format 'voc'; there are coco, yolo"):
        export(store, tmp_path / "x", "voc")
    with pytest.raises(ValueError, match="has no split test; it has train, val"):
        export(store, tmp_path / "x", "yolo", splits=["test"])
    with pytest.raises(ValueError, match=r"must be of mild, moderate, severe.*--lesions one"):
        export(store, tmp_path / "x", "yolo", classes=["stenosis"])
    with pytest.raises(ValueError, match=r"YOLO has no region to ignore"):
        export(store, tmp_path / "x", "yolo", lesions="ignore")
    with pytest.raises(ValueError, match=r"lesions is 'all': give classes, ignore, one"):
        export(store, tmp_path / "x", "coco", lesions="all")
    with pytest.raises(ValueError, match=r"has no member 'frame.png'"):
        export(store, tmp_path / "x", "yolo", image="frame.png")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ValueError, match="is not empty"):
        export(store, tmp_path / "full", "yolo")
    with pytest.raises(ValueError, match="no committed samples"):
        export(tmp_path / "nothing", tmp_path / "z", "yolo")
    monkeypatch.setattr(stenoses, "lesions", lambda i: [{"severity_class": "mild", "box": [5, 5, 5, 9]}])
    stenoses.write(Store(str(tmp_path / "bad")), 1)
    with pytest.raises(ValueError, match=r"sample train-0000-00000000: lesion box \[5, 5, 5, 9\]"):
        export(tmp_path / "bad", tmp_path / "y", "coco")


@pytest.mark.parametrize("format", ["yolo", "coco"])
@pytest.mark.parametrize("end", [KeyboardInterrupt(), OSError("no space left"), ValueError("a sample")])
@pytest.mark.parametrize("there", [False, True])
def test_an_export_that_is_cut_off_leaves_what_was_there(store, tmp_path, monkeypatch, format, end, there):
    """Files, folders, and a link to somewhere else among them; another export into the folder is refused meanwhile."""
    folder, real = tmp_path / "new" / "out", exports.about
    if there:
        folder.mkdir(parents=True)

    def about(*told):
        (folder / exports.UNFINISHED / "link").symlink_to(tmp_path / "made")
        for _ in range(2):
            with pytest.raises(ValueError, match="is not empty"):
                export(store, folder, format)
        (folder / "notes.txt").touch()  # somebody's own
        raise end

    monkeypatch.setattr(exports, "about", about)
    with pytest.raises(type(end)):
        export(store, folder, format)
    assert [one.name for one in folder.iterdir()] == ["notes.txt"]
    assert store.exists("recipe.json") or list(store.list(""))
    (folder / "notes.txt").unlink()
    folder.rmdir()
    monkeypatch.setattr(exports, "about", real)
    with pytest.raises(ValueError, match="has no member"):
        export(store, folder, format, image="frame.png")
    assert not folder.exists()
    export(store, folder, format)
    assert (folder / "README.md").is_file()
    assert not (folder / exports.UNFINISHED).exists()


def test_hugging_face_loads_the_shards_as_they_are(store, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    shards = str(store.local_path("shards"))
    files = {split: f"{shards}/{split}-*.tar" for split in ("train", "val")}
    read = datasets.load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in read.items()} == {"train": 13, "val": 4}
    for split in ("train", "val"):
        for row in read[split]:
            i = cases(split)[row["__key__"]]
            assert row["json"]["lesions"] == stenoses.lesions(i)
            for name in ("image.png", "mask.png"):
                assert np.array_equal(np.asarray(row[name]), stenoses.fields(i)[name])
    stream = datasets.load_dataset("webdataset", data_files=files, split="val", streaming=True)
    assert [row["__key__"] for row in stream] == list(cases("val"))


def test_pictures_are_the_stored_bytes(store, tmp_path):
    """Not encoded anew: what a detector sees is bit by bit what was measured."""
    from lesionforge.sinks.reader import Samples

    export(store, tmp_path / "yolo", "yolo")
    for sample in Samples(store, "val", ["image.png"], decoded=False):
        data = (tmp_path / "yolo" / "images" / "val" / f"{sample['__key__']}.png").read_bytes()
        assert data == sample["image.png"]
        assert Image.open(io.BytesIO(data)).mode == "L"
