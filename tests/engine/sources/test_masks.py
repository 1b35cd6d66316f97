"""Folders of pictures with vessel masks or lesion boxes."""

import io

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.pictures.boxes import Voc, VocOptions, Yolo, YoloOptions
from lesionforge.engine.sources.pictures.masks import Masks, MasksOptions
from lesionforge.generators.types import BadCase

PICTURE = np.random.default_rng(3).integers(60, 200, (48, 64), np.uint8)
VESSEL = np.zeros((48, 64), np.uint8)
VESSEL[10:14, 5:50] = 255


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def refusal(source, case=0):
    with pytest.raises(BadCase) as error:
        source.read(case)
    return str(error.value)


@pytest.mark.parametrize(
    ("picture", "mask"),
    [("{}.png", "{}_gt.png"), ("images/{}.bmp", "masks/{}.png"), ("images/{}.png", "labels/{}_mask.png")],
)
def test_pictures_and_masks_are_paired_by_name(tmp_path, picture, mask):
    for name in ("2", "10", "alone"):
        save(tmp_path / picture.format(name), PICTURE)
        if name != "alone":
            save(tmp_path / mask.format(name), VESSEL)
    source = Masks(str(tmp_path), MasksOptions(side="left", pixel_mm=0.3))
    assert source.subjects == 2
    case = source.read(0)
    assert (case.subject, case.side, case.pixel_mm, case.mask_is_complete) == ("masks/2", "left", 0.3, True)
    assert np.array_equal(case.image, PICTURE)
    assert np.array_equal(case.mask, VESSEL > 0)
    assert source.read(1).subject == "masks/10"


def test_masks_of_any_two_levels_and_smoothed_ones(tmp_path):
    save(tmp_path / "1.png", PICTURE)
    save(tmp_path / "1_gt.png", VESSEL // 255)
    assert np.array_equal(Masks(str(tmp_path), MasksOptions()).read(0).mask, VESSEL > 0)
    odd = VESSEL.copy()
    odd[11, 7] = 254
    for mask in (odd, VESSEL.astype(np.uint16) * 257):
        save(tmp_path / "1_gt.png", mask)
        assert np.array_equal(Masks(str(tmp_path), MasksOptions()).read(0).mask, VESSEL > 0)
    curved = np.hypot(*np.mgrid[-24:24, -32:32]) * 12 - 150
    edge = np.clip(255 - 3 * np.abs(curved), 0, 255).astype(np.uint8)  # of a ring: every slope has its levels
    jpeg = io.BytesIO()
    Image.fromarray(np.where(edge > 127, 255, 0).astype(np.uint8)).save(jpeg, "JPEG", quality=90)
    noisy = np.asarray(Image.open(jpeg))
    for mask in (edge, noisy):
        save(tmp_path / "1_gt.png", mask)
        case = Masks(str(tmp_path), MasksOptions()).read(0)
        assert np.array_equal(case.mask, mask > (int(mask.min()) + int(mask.max())) / 2)
        assert "% of the mask" in case.notes["mask_levels"]


def classes(*values):
    """A map of two vessels (or more: strips) with these values."""
    out = np.zeros((48, 64), np.int64)
    for n, value in enumerate(values):
        out[4:44, 4 + 2 * n : 6 + 2 * n] = value
    return out


@pytest.mark.parametrize("values", [(1, 2), (3, 20), (1, 255), (127, 255), tuple(range(1, 27)), (10, 20, 30, 250)])
def test_a_mask_of_class_numbers_needs_to_be_told_which_are_vessel(tmp_path, values):
    """Cut at half of the highest number, the lower classes would vanish without a word."""
    save(tmp_path / "1.png", PICTURE)
    save(tmp_path / "1_gt.png", classes(*values).astype(np.uint8))
    said = refusal(Masks(str(tmp_path), MasksOptions()))
    assert f"holds {len(values) + 1} levels (0, {values[0]}" in said
    assert "vessel_values" in said
    mask = Masks(str(tmp_path), MasksOptions(vessel_values=values[:1])).read(0).mask
    assert np.array_equal(mask, classes(*values) == values[0])
    assert "none of which" in refusal(Masks(str(tmp_path), MasksOptions(vessel_values=(99,))))


def test_class_numbers_that_were_smoothed_are_refused(tmp_path):
    """A catheter at 255 beside vessels at 127, through a JPEG: no level is exact, and the vessels would vanish."""
    wide = np.zeros((48, 64), np.uint8)
    wide[:, 8:18], wide[:, 30:36] = 127, 255
    jpeg = io.BytesIO()
    Image.fromarray(wide).save(jpeg, "JPEG", quality=90)
    save(tmp_path / "1.png", PICTURE)
    save(tmp_path / "1_gt.png", np.asarray(Image.open(jpeg)))
    assert "option vessel_values" in refusal(Masks(str(tmp_path), MasksOptions()))
    noise = np.random.default_rng(0).integers(-2, 3, wide.shape)
    save(tmp_path / "1_gt.png", np.clip(wide + noise, 0, 255).astype(np.uint8))
    assert "option vessel_values" in refusal(Masks(str(tmp_path), MasksOptions()))
    assert "was smoothed" in refusal(Masks(str(tmp_path), MasksOptions(vessel_values=(127,))))


def test_class_numbers_are_those_that_are_stored(tmp_path):
    """A palette's numbers, not its colours; 16 bits; never a JPEG's."""
    save(tmp_path / "1.png", PICTURE)
    numbers = classes(1, 2)
    palette = Image.fromarray(numbers.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    for picture, first in ((palette, 1), (Image.fromarray((numbers * 1000).astype(np.uint16)), 1000)):
        picture.save(tmp_path / "1_gt.png")
        refusal(Masks(str(tmp_path), MasksOptions()))
        mask = Masks(str(tmp_path), MasksOptions(vessel_values=(first,))).read(0).mask
        assert np.array_equal(mask, numbers == 1)
    (tmp_path / "1_gt.png").unlink()
    Image.fromarray((numbers * 100).astype(np.uint8)).save(tmp_path / "1_gt.jpg")
    assert "does not keep class numbers" in refusal(Masks(str(tmp_path), MasksOptions(vessel_values=(100,))))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (VESSEL[:40], "picture 1: its mask has 64 x 40 pixels, the picture 64 x 48"),
        (VESSEL * 0, "is empty"),
        (255 - VESSEL, "is it inverted"),
    ],
)
def test_masks_that_do_not_fit_have_a_reason(tmp_path, mask, words):
    save(tmp_path / "1.png", PICTURE)
    save(tmp_path / "1_gt.png", mask)
    assert words in refusal(Masks(str(tmp_path), MasksOptions()))


def test_a_folder_without_pairs_is_told_what_is_wanted(tmp_path):
    save(tmp_path / "1.png", PICTURE)
    with pytest.raises(SourceError, match=r"NN\.png with NN_gt\.png"):
        Masks(str(tmp_path), MasksOptions())


def test_files_without_a_partner_are_told(tmp_path):
    for name in ("1", "2", "IMG"):
        save(tmp_path / "images" / f"{name}.png", PICTURE)
    for name in ("1", "3", "img"):
        save(tmp_path / "masks" / f"{name}.png", VESSEL)
    source = Masks(str(tmp_path), MasksOptions())
    assert source.subjects == 1
    told = {why: [path.rsplit("/", 1)[1] for path in paths] for why, paths in source.left_over.items()}
    assert told == {"pictures without a mask": ["2.png", "IMG.png"], "masks without a picture": ["3.png", "img.png"]}


def test_a_pair_shares_its_folder(tmp_path):
    """1.png of two sites: no picture may get the other site's mask or boxes."""
    values = {"A": 60, "B": 90}
    for site, value in values.items():
        save(tmp_path / "images" / site / "1.png", np.full_like(PICTURE, value))
        save(tmp_path / "masks" / site / "1_mask.png", np.roll(VESSEL, value, 1))
        (tmp_path / "labels" / site).mkdir(parents=True)
        (tmp_path / "labels" / site / "1.txt").write_text(f"0 0.5 0.5 0.{value} 0.5")
    save(tmp_path / "images" / "1.png", PICTURE)
    save(tmp_path / "masks" / "C" / "1.png", VESSEL)
    source = Masks(str(tmp_path), MasksOptions())
    assert {why: len(paths) for why, paths in source.left_over.items()} == {
        "pictures without a mask": 1,
        "masks without a picture": 1,
    }
    boxes = Yolo(str(tmp_path), YoloOptions(masks="masks"))
    assert (source.cases, boxes.cases) == (2, 3)
    for case in (source.read(0), source.read(1), boxes.read(1), boxes.read(2)):
        value = int(case.image[0, 0])
        assert np.array_equal(case.mask, np.roll(VESSEL, value, 1) > 0)
        assert case.subject.endswith(f"/{'A' if value == 60 else 'B'}/1")
        for lesion in case.lesions:
            assert lesion.box[2] - lesion.box[0] == pytest.approx(0.64 * value)
    assert boxes.read(0).notes["lesions_labelled"] is False


def test_two_files_of_one_name_are_refused(tmp_path):
    """1.jpg beside 1.png: one of them was dropped, and the other got its mask or its boxes."""
    for folder, image in (("images", PICTURE), ("masks", VESSEL)):
        save(tmp_path / folder / "1.png", image)
        save(tmp_path / folder / "2.png", image)
    save(tmp_path / "images" / "1.jpg", PICTURE)
    save(tmp_path / "masks" / "2_mask.png", VESSEL)
    source = Masks(str(tmp_path), MasksOptions())
    assert refusal(source, 0) == "picture 1: 2 pictures have its name, but for the ending: keep one"
    assert "2 masks have its name" in refusal(source, 1)
    assert len(source.left_over["files that have one name, but for the ending"]) == 4
    (tmp_path / "labels").mkdir()
    for name in ("1.txt", "2.txt", "2.TXT"):
        (tmp_path / "labels" / name).write_text("")
    boxes = Yolo(str(tmp_path), YoloOptions())
    assert "2 pictures have its name" in refusal(boxes, 0)
    assert "2 label files have its name" in refusal(boxes, 1)


def test_labelimg_s_classes_are_no_case(tmp_path):
    save(tmp_path / "a.png", PICTURE)
    (tmp_path / "a.txt").write_text("1 0.5 0.5 0.25 0.5")
    (tmp_path / "lost.txt").write_text("1 0.5 0.5 0.25 0.5")
    (tmp_path / "classes.txt").write_text("dog\nstenosis\n")
    source = Yolo(str(tmp_path), YoloOptions())
    assert source.subjects == 2  # lost.txt is a case that says what it lacks
    assert [path.rsplit("/", 1)[1] for path in source.left_over[".txt files that hold no labels"]] == ["classes.txt"]


def test_the_fingerprint_follows_the_files(tmp_path):
    save(tmp_path / "1.png", PICTURE)
    save(tmp_path / "1_gt.png", VESSEL)
    before = Masks(str(tmp_path), MasksOptions()).fingerprint()
    assert Masks(str(tmp_path), MasksOptions()).fingerprint() == before
    save(tmp_path / "2.png", PICTURE)
    save(tmp_path / "2_gt.png", VESSEL)
    assert Masks(str(tmp_path), MasksOptions()).fingerprint() != before


def test_a_masks_folder_that_is_not_there_is_not_taken_for_the_source(tmp_path):
    yolo(tmp_path, **{"1": "0 0.5 0.5 0.2 0.2"})
    with pytest.raises(SourceError, match="option masks: no such folder"):
        Yolo(str(tmp_path), YoloOptions(masks="masks"))


def test_the_real_masks(data_dir):
    """40 pairs of 300 x 300; vessels are darker than the rest by about 22 grey levels (data/MANIFEST.md)."""
    source = Masks(str(data_dir / "vessel_masks_300"), MasksOptions())
    assert source.subjects == 40
    cases = [source.read(i) for i in range(40)]
    assert all(case.image.shape == case.mask.shape == (300, 300) for case in cases)
    assert np.mean([case.image[case.mask].mean() - case.image[~case.mask].mean() for case in cases]) < -15


def yolo(root, **labels):
    for name, text in labels.items():
        save(root / "images" / f"{name}.png", PICTURE)
        if text is not None:
            (root / "labels").mkdir(exist_ok=True)
            (root / "labels" / f"{name}.txt").write_text(text)
    return root


def test_yolo_boxes_classes_and_pictures_without_a_file(tmp_path):
    place = str(yolo(tmp_path, a="0 0.5 0.5 0.25 0.5\n1 0.25 0.5 0.03 0.03\n", b="", c=None))
    source = Yolo(place, YoloOptions())
    some, none, unknown = (source.read(i) for i in range(3))
    (lesion,) = some.lesions
    assert (lesion.box, lesion.severity_class) == ((24, 12, 40, 36), "moderate")
    assert len(some.notes["degenerate_boxes"]) == 1
    (tmp_path / "labels" / "b.txt").write_text("1 0.25 0.5 0.03 0.03\n")
    assert Yolo(place, YoloOptions()).read(1).notes["lesions_labelled"] is False  # its one box marks nobody knows what
    assert (none.lesions, none.notes["lesions_labelled"]) == ((), True)
    assert (unknown.lesions, unknown.notes["lesions_labelled"]) == ((), False)
    assert some.mask is None
    graded = TypeAdapter(YoloOptions).validate_python({"classes": {"0": "severe", "1": None}})
    assert Yolo(place, graded).read(0).lesions[0].severity_class == "severe"
    assert "class '0', not among 7" in refusal(Yolo(place, YoloOptions(classes={"7": None})))
    with pytest.raises(ValidationError):
        TypeAdapter(YoloOptions).validate_python({"classes": {"0": "dreadful"}})


def test_labels_that_cannot_be_used_are_reasons(tmp_path):
    place = yolo(tmp_path, a="0 0.5 0.5", b="")
    (place / "labels" / "lost.txt").write_text("")
    source = Yolo(str(place), YoloOptions())
    assert refusal(source, 0).startswith("picture 1: line 1 of its labels")
    assert refusal(source, 2) == "picture 3: there are labels but no such picture"
    with pytest.raises(SourceError, match=r"holds 0 pictures and 0 \.xml files"):
        Voc(str(tmp_path / "labels"), VocOptions())
    with pytest.raises(SourceError, match="give one of them, as the folder train in it"):
        Yolo(str(yolo(tmp_path / "root" / "train", a="").parent), YoloOptions())


def test_a_patient_s_pictures_are_one_subject(tmp_path):
    place = str(yolo(tmp_path, **{f"{p}_{n}": "" for p, count in ((7, 3), (8, 1), (9, 2)) for n in range(count)}))
    source = Yolo(place, YoloOptions(subject="^[0-9]+"))
    assert (source.subjects, source.sizes) == (3, [3, 2, 1])
    assert [source.read(n).subject for n in range(6)] == ["txt/7"] * 3 + ["txt/9"] * 2 + ["txt/8"]
    with pytest.raises(ValueError, match="no regular expression"):
        YoloOptions(subject="(")


def test_the_real_voc_frames(data_dir):
    """Three frames of one run; their XML gives xmin 179, ymin 148, xmax 206, ymax 167 for the first."""
    source = Voc(str(data_dir / "danilov"), VocOptions(subject="^[0-9]+"))
    assert (source.subjects, source.cases_per_subject) == (1, 3)
    first = source.read(0)
    assert first.lesions[0].box == (178, 147, 206, 167)
    assert [len(source.read(i).lesions) for i in range(3)] == [1, 2, 1]
    assert first.image.shape == (512, 512)


def test_boxes_take_vessel_masks_from_a_folder_of_their_own(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / "images" / f"{name}.png", PICTURE)
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    before = Yolo(str(tmp_path), YoloOptions()).fingerprint()
    with pytest.raises(SourceError, match="no such folder"):
        Yolo(str(tmp_path), YoloOptions(masks="masks"))
    save(tmp_path / "masks" / "a_mask.png", VESSEL)
    source = Yolo(str(tmp_path), YoloOptions(masks="masks"))
    first, second = source.read(0), source.read(1)
    assert np.array_equal(first.mask, VESSEL > 0)
    assert first.mask_is_complete
    assert second.mask is None
    assert source.fingerprint() != before == Yolo(str(tmp_path), YoloOptions()).fingerprint()
    save(tmp_path / "masks" / "b.png", VESSEL[:40])
    assert "picture 2: its mask has 64 x 40 pixels" in refusal(Yolo(str(tmp_path), YoloOptions(masks="masks")), 1)
