"""ARCADE in both layouts: written small here, and the real subset."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.pictures import twins
from lesionforge.engine.sources.pictures.arcade import Arcade, ArcadeOptions
from lesionforge.generators.types import BadCase

NUMBERS = [*(str(n) for n in range(1, 10)), "9a", "10", "10a", "11", "12", "12a", "13", "14", "14a", "15"]
SEGMENTS = [*NUMBERS, "16", "16a", "16b", "16c", "12b", "14b", "stenosis"]
CATEGORIES = [{"id": i, "name": name} for i, name in enumerate(SEGMENTS, 1)]
SQUARE = [[10, 20, 30, 20, 30, 60, 10, 60]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))


def frame(seed, size=96):
    """A picture unlike those of other seeds: smooth blobs."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((size, size)), 8)
    field = (field - field.min()) / np.ptp(field)
    return np.rint(40 + 170 * field).astype(np.uint8)


def nudged(image, seed=0, sd=2.5):
    """The same frame processed apart, as ARCADE's twins are."""
    noise = np.random.default_rng(seed).normal(0, sd, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def annotation(image, category, number=1, polygon=SQUARE, box=(10, 20, 20, 40)):
    return {"id": number, "image_id": image, "category_id": category, "segmentation": polygon, "bbox": list(box)}


def write_part(root, task, part, images, annotations, rgb=()):
    folder = root / task / part
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for number, image in images.items():
        picture = Image.fromarray(image)
        (picture.convert("RGB") if number in rgb else picture).save(folder / "images" / f"{number}.png")
    listed = [{"id": n, "file_name": f"{n}.png", "width": 96, "height": 96} for n in images]
    coco = {"images": listed, "categories": CATEGORIES, "annotations": annotations}
    (folder / "annotations" / f"{part}.json").write_text(json.dumps(coco))


def names(source):
    return [f.name for f in source._frames]


@pytest.fixture
def official(tmp_path):
    """Frames 1-4 of stenosis/train; 1's twin is in syntax/train, 2's in syntax/val; each task has frames of its own."""
    f = {i: frame(i) for i in range(10)}
    root = tmp_path / "arcade"
    train = [annotation(1, 26, 7), annotation(2, 26, 7, [], (40, 40, 20, 10)), annotation(2, 26, 8)]
    write_part(root, "stenosis", "train", {n: f[n] for n in (1, 2, 3, 4)}, train, rgb=(2,))
    segments = [annotation(31, 24), annotation(31, 6, polygon=[[1, 1, 5, 5]]), annotation(50, 21)]
    write_part(root, "syntax", "train", {31: nudged(f[1]), 50: f[5]}, segments)
    write_part(root, "stenosis", "val", {1: f[6]}, [annotation(1, 26)])
    write_part(root, "syntax", "val", {9: nudged(f[2], 1), 10: f[7]}, [annotation(9, 5), annotation(10, 8)])
    return root


def test_annotations_are_grouped_by_picture_not_by_id(official):
    """Ids 7 and 7 stand for two lesions on two pictures; a dictionary by id would lose one."""
    source = Arcade(str(official), ArcadeOptions(require="lesions"))
    cases = {name: source.read(i) for i, name in enumerate(names(source))}
    assert [len(cases[f"stenosis/train/{n}"].lesions) for n in (1, 2, 3, 4)] == [1, 2, 0, 0]
    assert cases["stenosis/train/2"].lesions[0].box == (40, 40, 60, 50)
    assert cases["stenosis/train/1"].lesions[0].severity_class is None
    assert all(case.notes["lesions_labelled"] for case in cases.values())


def test_twins_join_the_tasks_across_parts_and_numbers(official):
    source = Arcade(str(official), ArcadeOptions())
    assert names(source) == ["stenosis/train/1", "stenosis/train/2", "syntax/train/50"]
    first, second, third = (source.read(i) for i in range(3))
    assert first.notes["segments_of"] == "syntax/train/31"
    assert second.notes["segments_of"] == "syntax/val/9"
    assert [name for name, _ in first.segments] == ["12b"]  # category 24, after 16c: not in SYNTAX's order
    assert first.notes["degenerate_segments"] == ["segment 6: a polygon of 2 points without area"]
    assert (first.side, second.side, third.side) == ("left", "left", "right")  # 12b; 5; 16a
    assert not third.notes["lesions_labelled"]
    # The picture of the stenosis task is the frame's; its twin only lends its labels.
    assert np.array_equal(first.image, frame(1))
    assert first.mask[20:60, 10:30].all()
    assert first.mask.sum() == 40 * 20
    assert not first.mask_is_complete


@pytest.mark.parametrize(
    ("polygon", "words"),
    [
        ([], "segment 5 has no polygon"),
        (None, "segment 5 has no polygon"),
        ([[]], "segment 5 has no polygon"),
        ([[0.1, 0.2, 0.3, 0.2, 0.3, 0.4]], "lies in the first pixel: are its numbers shares"),
    ],
)
def test_segments_that_mark_nothing_are_refused(tmp_path, polygon, words):
    marks = [annotation(1, 6), annotation(1, 5, 2, polygon)]
    write_part(tmp_path, "syntax", "train", {1: frame(1)}, marks)
    with pytest.raises(BadCase, match=words):
        Arcade(str(tmp_path), ArcadeOptions()).read(0)


def test_a_part_never_holds_a_frame_of_another(official):
    """2's twin in syntax/val belongs to train, since its picture in the stenosis task is there."""
    val = Arcade(str(official), ArcadeOptions(part="val", require="any"))
    assert names(val) == ["stenosis/val/1", "syntax/val/10"]
    with pytest.raises(SourceError, match=r"holds no picture of ARCADE's part test"):
        Arcade(str(official), ArcadeOptions(part="test"))
    for task in ("stenosis", "syntax"):
        shutil.rmtree(official / task / "val")
    with pytest.raises(SourceError, match=r"holds no frame of part val, only of train: set the option part"):
        Arcade(str(official), ArcadeOptions(part="val"))


@pytest.mark.parametrize(("require", "expected"), [("any", 5), ("lesions", 4), ("segments", 3), ("both", 2)])
def test_which_frames_are_cases(official, require, expected):
    assert len(names(Arcade(str(official), ArcadeOptions(require=require)))) == expected


def test_near_duplicates_share_a_subject_and_never_leak_from_val(tmp_path):
    root = tmp_path / "arcade"
    run = [nudged(frame(1), i, 6) for i in range(3)]  # neighbours in a cine run: too unlike for twins
    assert np.corrcoef(*(np.asarray(Image.fromarray(r).reduce(3)).ravel() for r in run[:2]))[0, 1] > twins.NEAR
    images = {1: run[0], 2: frame(2), 3: run[1], 4: frame(4), 5: nudged(frame(9), 5, 6)}
    write_part(root, "stenosis", "train", images, [annotation(n, 26) for n in images])
    write_part(root, "stenosis", "val", {1: frame(9)}, [annotation(1, 26)])
    source = Arcade(str(root), ArcadeOptions(require="lesions"))
    assert (source.subjects, source.sizes) == (3, [2, 1, 1])
    assert sorted(names(source)) == [f"stenosis/train/{n}" for n in (1, 2, 3, 4)]  # 5 repeats a frame of val
    assert len(source.left_over["frames that nearly repeat one of another part"]) == 1
    subjects = [source.read(i).subject for i in range(4)]
    assert subjects[0] == subjects[1]
    assert len(set(subjects)) == 3


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"width": 192, "height": 192}, "its annotation is about 192 x 192 pixels, the picture has 96 x 96"),
        ({"width": 96, "height": 80}, "is about 96 x 80 pixels"),
        ({"width": 80, "height": 96}, "is about 80 x 96 pixels"),
        ({"height": None, "width": 96}, "is about 96 x 512 pixels"),  # ARCADE's own, where it is not said
        ({"width": "wide"}, "is about 0 x 96 pixels"),
        ({"width": "48"}, "is about 48 x 96 pixels"),
    ],
)
def test_labels_drawn_on_a_picture_of_another_size_are_refused(official, said, words):
    for task in ("stenosis", "syntax"):
        file = official / task / "train" / "annotations" / "train.json"
        coco = json.loads(file.read_text())
        for image in coco["images"]:
            image |= said
        file.write_text(json.dumps(coco))
    for require in ("lesions", "segments"):
        with pytest.raises(BadCase, match=words):
            Arcade(str(official), ArcadeOptions(require=require)).read(0)


def test_a_box_that_is_not_its_polygon_s_is_refused(official):
    file = official / "stenosis" / "train" / "annotations" / "train.json"
    coco = json.loads(file.read_text())
    coco["annotations"][0]["bbox"] = [10, 20, 30, 60]  # corners
    file.write_text(json.dumps(coco))
    with pytest.raises(BadCase, match="not that of its own polygon"):
        Arcade(str(official), ArcadeOptions(require="lesions")).read(0)


def test_pictures_of_one_name_or_of_no_list_are_told(official):
    Image.fromarray(frame(20)).save(official / "stenosis" / "train" / "images" / "9.png")
    source = Arcade(str(official), ArcadeOptions(require="lesions"))
    (unlisted,) = source.left_over["pictures that no annotation file lists"]
    assert unlisted.endswith("stenosis/train/images/9.png")
    file = official / "stenosis" / "train" / "annotations" / "train.json"
    coco = json.loads(file.read_text())
    coco["images"].append({"id": 77, "file_name": "site B/1.png", "width": 96, "height": 96})
    file.write_text(json.dumps(coco))
    with pytest.raises(SourceError, match="two pictures the same id or name"):
        Arcade(str(official), ArcadeOptions())


def test_digda_s_labels_take_the_place_of_arcade_s(official):
    labels = official / "digda" / "data" / "train" / "labels"
    labels.mkdir(parents=True)
    (labels / "1.txt").write_text("1 0.5 0.25 0.25 0.125\n0 0.5 0.5 0.001 0.001\n")
    (labels / "2.txt").write_text("")
    source = Arcade(str(official), ArcadeOptions(labels="digda", require="any"))
    cases = {name: source.read(i) for i, name in enumerate(names(source))}
    (lesion,) = cases["stenosis/train/1"].lesions
    assert (lesion.box, lesion.severity_class) == ((36, 18, 60, 30), "severe")
    graded = dict(zip(names(source), map(source.grades, range(len(names(source)))), strict=True))
    assert graded["stenosis/train/1"] == ["severe"]
    assert not graded["stenosis/train/2"]
    assert "a side below 4 px" in cases["stenosis/train/1"].notes["degenerate_boxes"][0]
    assert cases["stenosis/train/2"].notes["lesions_labelled"]
    assert not cases["stenosis/train/3"].notes["lesions_labelled"]  # nobody graded it: unknown, not healthy
    before = source.fingerprint()
    (labels / "2.txt").write_text("")
    assert Arcade(str(official), ArcadeOptions(labels="digda", require="any")).fingerprint() == before
    (labels / "1.txt").write_text("0 0.5 0.25 0.25 0.125\n0 0.5 0.5 0.001 0.001\n")  # same size, other class
    assert Arcade(str(official), ArcadeOptions(labels="digda", require="any")).fingerprint() != before
    with pytest.raises(SourceError, match="no such folder"):
        Arcade(str(official), ArcadeOptions(labels="nowhere"))


def test_broken_pictures_and_labels_are_reasons(official):
    images = official / "stenosis" / "train" / "images"
    (images / "3.png").write_bytes((images / "3.png").read_bytes()[:300])
    (images / "4.png").unlink()
    coco = official / "syntax" / "train" / "annotations" / "train.json"
    raw = json.loads(coco.read_text())
    raw["annotations"][-1]["segmentation"] = {"counts": "abc", "size": [96, 96]}
    coco.write_text(json.dumps(raw))
    source = Arcade(str(official), ArcadeOptions(require="any"))
    reasons = {}
    for i, name in enumerate(names(source)):
        try:
            source.read(i)
        except BadCase as error:
            reasons[name] = str(error)
    assert set(reasons) == {"stenosis/train/3", "stenosis/train/4", "syntax/train/50"}
    assert reasons["stenosis/train/3"].startswith("stenosis/train/3: is no readable picture")
    assert reasons["stenosis/train/4"] == "stenosis/train/4: the file is missing"
    assert "a segmentation is a dict" in reasons["syntax/train/50"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda raw: raw.pop("categories"), "is no COCO annotation file"),
        (lambda raw: raw["images"].append(raw["images"][0]), "two pictures the same id"),
        (lambda raw: raw["annotations"][0].update(image_id=999), "is no COCO annotation file"),
        (lambda raw: raw["images"][0].update(file_name="DOE^JANE.png"), "not called N.png or"),
    ],
)
def test_annotation_files_that_cannot_be_understood_are_named(official, spoil, words):
    path = official / "stenosis" / "train" / "annotations" / "train.json"
    raw = json.loads(path.read_text())
    spoil(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(SourceError, match=words) as error:
        Arcade(str(official), ArcadeOptions())
    assert "stenosis/train/annotations/train.json" in str(error.value)
    assert "DOE^JANE" not in str(error.value)
    assert str(official) not in str(error.value)  # a place may hold a name


def test_a_folder_of_something_else_is_told_what_is_wanted(tmp_path):
    with pytest.raises(SourceError, match=r"give the folder with stenosis/ and syntax/"):
        Arcade(str(tmp_path), ArcadeOptions())
    with pytest.raises(SourceError, match="no such folder"):
        Arcade(str(tmp_path / "none"), ArcadeOptions())


def test_listing_is_the_same_with_and_without_its_cache(official, tmp_path, monkeypatch):
    cold = Arcade(str(official), ArcadeOptions())
    assert list((tmp_path / "cache").iterdir())
    warm = Arcade(str(official), ArcadeOptions())
    monkeypatch.setenv("LESIONFORGE_CACHE", "")
    none = Arcade(str(official), ArcadeOptions())
    assert names(cold) == names(warm) == names(none)
    assert cold.fingerprint() == none.fingerprint()


def test_the_real_subset(data_dir):
    """data/MANIFEST.md: 100 frames, 50 with both labels, 25 with each alone; 128 lesions, 373 segments."""
    place = str(data_dir / "arcade")
    for require, count in (("any", 100), ("lesions", 75), ("segments", 75), ("both", 50)):
        assert Arcade(place, ArcadeOptions(require=require)).subjects == count
    source = Arcade(place, ArcadeOptions(require="any"))
    cases = [source.read(i) for i in range(100)]
    assert sum(len(case.lesions) for case in cases) == 128
    assert sum(len(case.segments) for case in cases) == 373
    assert len({case.source_id for case in cases}) == len({case.subject for case in cases}) == 100
    with_mask = [case for case in cases if case.mask is not None]
    # Vessels are dark: inside the mask it is darker than close around it in nearly every frame.
    darker = []
    for case in with_mask:
        near = ndimage.binary_dilation(case.mask, iterations=12) & ~ndimage.binary_dilation(case.mask, iterations=4)
        darker.append(float(case.image[case.mask].mean()) < float(case.image[near].mean()))
    assert sum(darker) >= 73
    raw = json.loads((data_dir / "arcade" / "syntax_coco.json").read_text())
    listed = {image["id"]: image["file_name"] for image in raw["images"]}
    right = {"1", "2", "3", "4", "16a", "16b", "16c"}
    categories = {c["id"]: c["name"] for c in raw["categories"]}
    sides = {}
    for a in raw["annotations"]:
        name = listed[a["image_id"]].rsplit("/", 1)[1].removesuffix(".png").replace("_", "/")
        sides.setdefault(name, set()).add(categories[a["category_id"]])
    for case in with_mask:
        assert case.side == ("right" if sides[case.notes["frame"]] & right else "left")
