"""Pictures, polygons, boxes and groups: what several sources read with."""

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
import scipy
from hypothesis import assume, given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from PIL import ExifTags, Image
from skimage.draw import polygon2mask

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.files import UNREADABLE, digests, natural
from lesionforge.engine.sources.folder import Folder, FolderSource
from lesionforge.engine.sources.pictures.box_text import LabelledBox, check, read_voc, read_yolo
from lesionforge.engine.sources.pictures.picture import _extreme, decode, pixel_hash
from lesionforge.engine.sources.pictures.polygons import check_inside, lumen, outline, rasterise
from lesionforge.generators.parameters import Parameters
from lesionforge.generators.types import BadCase

GREY = np.arange(64 * 48, dtype=np.uint32).reshape(48, 64).astype(np.uint8)


def encoded(image, form="png", **options):
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, form, **options)
    return out.getvalue()


def refusal(call, *args):
    with pytest.raises(BadCase) as error:
        call(*args)
    return str(error.value)


@pytest.mark.parametrize("form", ["png", "bmp", "tiff"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_grey_levels_come_back_unchanged(form, mode):
    if mode == "RGBA" and form == "bmp":
        pytest.skip("BMP has no alpha channel here")
    picture = Image.fromarray(GREY).convert(mode)
    expected = GREY if mode != "P" else np.asarray(picture.convert("RGB"))[..., 1]
    assert np.array_equal(decode(encoded(picture, form)), expected)


def test_a_library_that_replaced_pillows_opener_takes_nothing_down(monkeypatch):
    """As Ultralytics does: its opener asks for a module that nobody has."""

    def opener(*_args, **_options):
        raise ModuleNotFoundError("No module named 'pi_heif'")

    monkeypatch.setattr(Image, "open", opener)
    assert "of no known format" in refusal(decode, b"not a picture" * 20)


def test_a_grey_jpeg_saved_as_colour_is_read_and_a_colour_picture_is_not():
    assert np.abs(decode(encoded(Image.fromarray(GREY).convert("RGB"), "jpeg")).astype(int) - GREY).mean() < 3
    colour = np.stack([GREY, GREY, GREY], axis=-1)
    colour[10, 10, 0] ^= 128
    assert "is in colour: its channels differ by up to 128" in refusal(decode, encoded(colour))


def page_without_size():
    """A TIFF whose second page does not say how large it is."""
    out, first = io.BytesIO(), Image.new("L", (64, 64))
    first.save(out, "TIFF", save_all=True, append_images=[Image.new("L", (64, 64))])
    data = bytearray(out.getvalue())
    (at,) = struct.unpack_from("<I", data, 4)
    (at,) = struct.unpack_from("<I", data, at + 2 + 12 * struct.unpack_from("<H", data, at)[0])
    for entry in range(at + 2, at + 2 + 24, 12):
        struct.pack_into("<H", data, entry, 65000)  # width and height come first
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "of no known format"),
        (page_without_size(), "is no readable picture"),
        (b"not a picture" * 20, "of no known format"),
        (encoded(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))[:900], "is no readable picture"),
        (encoded(np.zeros((64, 8), np.uint8)), "has 8 x 64 pixels"),
        (encoded(np.zeros((64, 64), np.uint16)), "8-bit grey or RGB"),
    ],
)
def test_what_is_no_grey_picture_has_a_reason(data, words):
    message = refusal(decode, data)
    assert words in message
    assert "0x" not in message  # no address, so that the reason is the same in every run


@pytest.mark.parametrize("form", ["png", "jpeg", "tiff"])
def test_a_picture_that_its_exif_turns_is_refused(form):
    """Its labels were drawn on what some program showed, turned or not."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1
    decode(encoded(GREY, form, exif=exif))
    exif[ExifTags.Base.Orientation] = 6
    assert "is to be turned, says its EXIF" in refusal(decode, encoded(GREY, form, exif=exif))


def test_what_is_transparent_in_places_is_refused():
    alpha = Image.fromarray(GREY).convert("RGBA")
    alpha.putpixel((3, 3), (0, 0, 0, 0))
    for picture in (alpha, alpha.convert("LA")):
        assert "is transparent in places" in refusal(decode, encoded(picture))
    assert "is transparent in places" in refusal(decode, encoded(Image.fromarray(GREY), transparency=7))


def test_a_picture_that_claims_an_absurd_size_is_refused_unread():
    data = bytearray(encoded(GREY))
    data[16:24] = (10**6).to_bytes(4, "big") * 2  # width and height in the header
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    assert "more pixels than any angiogram" in refusal(decode, bytes(data))


def test_pages_but_the_first_are_not_lost():
    pages = encoded(GREY, "tiff", save_all=True, append_images=[Image.fromarray(GREY)])
    assert "holds several pages" in refusal(decode, pages)


def test_the_hash_is_of_pixels_and_shape():
    assert pixel_hash(GREY) == pixel_hash(decode(encoded(GREY, "bmp")))
    assert pixel_hash(GREY) != pixel_hash(GREY.reshape(64, 48))


points = st.lists(st.tuples(st.floats(-8, 40), st.floats(-8, 40)), min_size=3, max_size=9)


@given(points)
def test_a_polygon_covers_the_pixel_centres_inside_it(corners):
    """Oracle: matplotlib's point-in-polygon for triangles (convex, so that every rule of filling agrees)."""
    triangle = np.array(corners[:3])
    (a, b), (c, d) = triangle[1:] - triangle[0]
    assume(abs(a * d - b * c) > 1e-3)  # of a line the oracle says now this, now that
    ours = rasterise(triangle, (32, 30))
    col, row = np.meshgrid(np.arange(30) + 0.5, np.arange(32) + 0.5)
    centres = np.column_stack([col.ravel(), row.ravel()])
    surely = (
        Outline(triangle).contains_points(centres, radius=1e-6),
        Outline(triangle).contains_points(centres, radius=-1e-6),
    )
    same = np.logical_and(*surely) == np.logical_or(*surely)  # centres on an edge may go either way
    assert np.array_equal(ours.ravel()[same], surely[0][same])


def test_a_polygon_follows_skimage_with_half_a_pixel_between_the_conventions():
    """Oracle: skimage's even-odd filling, whose pixel centres are whole numbers; a self-crossing star."""
    turn = np.deg2rad(90 + 144 * np.arange(5))
    star = np.column_stack([50.3 + 40 * np.cos(turn), 48.7 + 40 * np.sin(turn)])
    expected = polygon2mask((100, 100), star[:, ::-1] - 0.5)
    assert (rasterise(star, (100, 100)) != expected).sum() <= 2


def test_a_square_of_whole_numbers_covers_whole_pixels():
    mask = rasterise(np.array([[2.0, 3.0], [6.0, 3.0], [6.0, 5.0], [2.0, 5.0]]), (8, 8))
    expected = np.zeros((8, 8), bool)
    expected[3:5, 2:6] = True
    assert np.array_equal(mask, expected)


def test_hairlines_between_segments_are_closed_and_wider_gaps_are_not():
    first = np.array([[2.0, 4.0], [20.0, 4.0], [20.0, 10.0], [2.0, 10.0]])
    near, far = (first + np.array([shift, 0.0]) for shift in (19.0, 21.0))  # one and three pixels between them
    assert lumen([first, near], (16, 64))[4:10, 2:39].all()
    assert not lumen([first, far], (16, 64))[4:10, 20:23].any()
    assert np.array_equal(lumen([first], (16, 64)), rasterise(first, (16, 64)))


@pytest.mark.parametrize(
    "bad", ["abc", {"counts": "x"}, [[1, 2, 3]], [[1, 2, float("nan"), 3]], [["a", "b"]], [[1, 1e9]]]
)
def test_outlines_that_are_none_have_a_reason(bad):
    refusal(outline, bad)


def test_polygons_outside_their_picture_are_refused():
    (square,) = outline([[10, 20, 30, 20, 30, 60, 10, 60]])
    check_inside(square, (58, 28))  # drawn by hand, a little over the edge
    for shape, over in (((50, 64), 10), ((64, 20), 10), ((10, 10), 50)):
        assert f"lies up to {over} px outside" in refusal(check_inside, square, shape)
    (left,) = outline([[-10, 20, 30, 20, 30, 60, 10, 60]])
    assert "lies up to 10 px outside" in refusal(check_inside, left, (64, 64))


def test_areas_are_shoelace_s():
    (square,) = outline([[10, 20, 30, 20, 30, 60, 10, 60]])
    assert square.area == 800


def test_yolo_lines_are_shares_of_the_picture():
    (marked,) = read_yolo(b"1 0.5 0.25 0.25 0.125\n\n", (400, 200))
    assert marked == LabelledBox((75, 75, 125, 125), "1")
    assert read_yolo(b"1.0 0.5 0.25 0.25 0.125", (400, 200)) == [marked]
    for line in (b"1 0.5 0.5 0.1", b"x 0 0 0 0", b"1 a b c d", b"0 1 2 3 4 5", b"\xff\xfe", b"0.5 0.5 0.1 0.1"):
        refusal(read_yolo, line, (10, 10))


@pytest.mark.parametrize("numbers", ["215 50 30 20", "71 25 10 10", "nan nan nan nan", "0.7 0.2 -.1 -.1", "inf 0 1 1"])
def test_yolo_lines_that_are_no_shares_are_refused(numbers):
    assert "line 1 of its labels has numbers that are no shares" in refusal(read_yolo, f"1 {numbers}".encode(), (9, 9))


VOC = b"<annotation><size><width>64</width><height>48</height></size>%s</annotation>"
BOX = b"<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>10</xmax><ymax>20</ymax></bndbox>"
OBJECT = b"<object><name> Stenosis </name>" + BOX + b"</object>"


def test_voc_corners_are_inclusive_and_count_from_one():
    (marked,), notes = read_voc(VOC % OBJECT, (48, 64))
    assert notes == {}
    assert "size_unsaid" in read_voc(b"<annotation>" + OBJECT + b"</annotation>", (48, 64))[1]
    assert read_voc(VOC % b"<folder/><source><database/></source><owner/>", (48, 64)) == ([], {})
    assert marked == LabelledBox((0, 1, 10, 20), "Stenosis")
    assert "is about 64 x 48 pixels" in refusal(read_voc, VOC % OBJECT, (64, 64))
    assert "no Pascal VOC" in refusal(read_voc, b"<annotation>", (48, 64))
    for other in (
        b'<annotations><image><box xtl="3"/></image></annotations>',
        VOC % b"<Object/>",
        VOC % b"<rect/>",
        b"<html/>",
    ):
        assert "no Pascal VOC" in refusal(read_voc, other, (48, 64))  # and not a picture without a lesion
    polygon = b"<object><name>a</name><polygon><x1>3</x1></polygon></object>"
    assert "has no bndbox" in refusal(read_voc, VOC % polygon, (48, 64))
    assert "several bndbox" in refusal(read_voc, VOC % OBJECT.replace(BOX, 2 * BOX), (48, 64))
    assert len(refusal(check, [LabelledBox((1e300, 1, 2e300, 20), "0")], (48, 64), {"0": None})) < 200
    assert "XML entities" in refusal(read_voc, b'<!DOCTYPE a [<!ENTITY b "c">]>' + VOC % b"", (48, 64))


def test_small_boxes_are_noted_and_good_ones_kept():
    small = LabelledBox((10, 10, 12, 30), "0")
    found = check([small, LabelledBox((5, 5, 25, 30), "0")], (48, 64), {"0": "severe"})
    assert [lesion.box for lesion in found.lesions] == [(5, 5, 25, 30)]
    assert "box [" in found.notes["degenerate_boxes"][0]
    assert found.known
    assert not check([small], (48, 64), {"0": "severe"}).known  # what it was meant to mark nobody knows


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((10, 10, 10, 30), "no area"),
        ((30, 30, 20, 40), "no area: are its corners swapped?"),
        ((30, 40, 50, 30), "no area"),
        ((62, 5, 90, 30), "outside the picture of 64 x 48 pixels"),
        ((5, -40, 20, 10), "outside the picture"),
        ((40, 20, 70, 30), "if only in part"),
        ((5, -5.5, 20, 30), "if only in part"),
        ((5, float("nan"), 20, 30), "no number"),
        ((5, 5, float("inf"), 30), "no number"),
        ((-0.3, -0.8, 0.8, 0.3), "are its numbers shares"),
    ],
)
def test_boxes_that_cannot_be_refuse_their_frame(box, words):
    """Left out, they would make it a frame that is known to have no such lesion."""
    assert words in refusal(check, [LabelledBox(box, "0")], (48, 64), {"0": None})


def test_boxes_are_cut_to_the_picture_and_unknown_classes_refused():
    found = check([LabelledBox((-4.5, 10, 20, 52), "0")], (48, 64), {"0": None})
    assert found.lesions[0].box == (0, 10, 20, 48)
    assert found.notes == {}
    assert "class '2', not among 0" in refusal(check, [LabelledBox((1, 1, 9, 9), "2")], (48, 64), {"0": None})


class Pile(FolderSource):
    """Cases of the names given."""

    def case_files(self, case):
        return []

    def read(self, case):
        raise NotImplementedError


def together(names, pattern=None):
    source = Pile("", Parameters())
    order = source.by_subject(names, pattern)
    assert source.cases == len(order)
    return source, order


@given(st.lists(st.integers(1, 7), min_size=1, max_size=40))
def test_patients_keep_their_own_numbers_of_cases(sizes):
    names = [f"patient {n}" for n, size in enumerate(sizes) for _ in range(size)]
    source, order = together(names)
    assert source.subjects == len(sizes)
    assert sorted(order) == list(range(len(names)))  # nobody is lost, and nothing is repeated
    homes = {}
    for place, case in enumerate(order):
        assert homes.setdefault(names[case], source.subject_of(place)) == source.subject_of(place)
        assert source.subject_name(place) == names[case]
    assert sorted(homes.values()) == list(range(len(sizes)))
    assert (source.sizes is None) == (len(set(sizes)) == 1)


def test_single_cases_stay_as_they_are():
    assert together(["a", "b", "c"])[1] == [0, 1, 2]


@pytest.mark.parametrize(
    ("pattern", "subjects"),
    [("[0-9]+", ["7", "8"]), ("p([0-9])_", ["7", "8"]), ("(x)?p(?P<subject>.)_", ["7", "8"]), ("p", ["p"])],
)
def test_a_pattern_names_the_subject(pattern, subjects):
    source, _ = together(["p7_1", "p7_2", "p8_1"], pattern)
    assert sorted({source.subject_name(case) for case in range(3)}) == subjects
    assert source.notes == ()


def test_a_pattern_that_finds_nobody_is_told():
    source, _ = together(["p7_1", "p7_2", "odd"], "p([0-9])")
    assert source.subjects == 2
    assert source.notes == [
        "option subject matches 2 of 3 names of files; each of the others names a subject of its own"
    ]
    with pytest.raises(SourceError, match=r"option subject: 'q' matches none of 2 names of files"):
        together(["p7", "p8"], "q")


def test_names_are_sorted_by_their_numbers(tmp_path):
    assert sorted(["1.png", "01.png"], key=natural) == sorted(["01.png", "1.png"], key=natural) == ["01.png", "1.png"]
    assert sorted(["10.png", "9a.png", "9.png", "a2", "a10"], key=natural) == ["9.png", "9a.png", "10.png", "a2", "a10"]
    for name in ("10.png", "2.png", "sub/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    folder = Folder(str(tmp_path))
    assert list(folder.files()) == ["2.png", "10.png"]
    assert sorted(f.name for f in folder.walk()) == ["10.png", "2.png", "sub/3.png"]
    assert folder.files("nothing") == {}


def test_links_are_followed_inside_the_folder_and_told_of_elsewhere(tmp_path):
    """Before, links to files were left out of folders that are walked, without a word."""
    place, out = tmp_path / "data", tmp_path / "out"
    (place / "real").mkdir(parents=True)
    out.mkdir()
    (place / "real" / "a.png").write_bytes(b"inside")
    (out / "b.png").write_bytes(b"outside")
    (place / "linked").symlink_to(place / "real")  # whose files are listed where they lie
    for name, target in (("a", place / "real" / "a.png"), ("b", out / "b.png"), ("c", out / "none"), ("d", "d.png")):
        (place / f"{name}.png").symlink_to(target)
    folder = Folder(str(place))
    walked = {file.name: file for file in folder.walk()}
    assert list(walked) == ["a.png", "b.png", "c.png", "d.png", "real/a.png"]
    assert folder.files() == {name: walked[name] for name in list(walked)[:4]}
    assert walked["a.png"].read() == b"inside"
    for name in ("b.png", "c.png", "d.png"):
        with pytest.raises(BadCase, match="is a link out of the source's folder or to nowhere"):
            walked[name].read()
    inside = hashlib.sha256(b"inside").digest()
    assert digests(walked[f"{name}.png"] for name in "abcd") == [inside, UNREADABLE, UNREADABLE, UNREADABLE]
    (place / "away").symlink_to(out)
    with pytest.raises(SourceError, match="holds a link to a folder elsewhere"):
        folder.walk()


@pytest.mark.parametrize("size", [3, 9, 11])
def test_the_extremes_of_windows_are_scipy_s(size):
    image = np.random.default_rng(size).integers(0, 256, (40, 23), np.uint8)
    opened = _extreme(_extreme(image, size, np.minimum), size, np.maximum)
    assert np.array_equal(image - opened, scipy.ndimage.white_tophat(image, size=size))
