import io
import json
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from lesionforge.generators.types import Panel
from lesionforge.sinks.pictures.gallery import distributions, gallery, histogram, panel_data
from lesionforge.sinks.pictures.names import caption, number, readable, title
from lesionforge.sinks.pictures.sheet import (
    TILE,
    TINT_OF,
    TINTS,
    Shown,
    blend,
    contact_sheet,
    fit,
    layer_png,
    tiles,
)


def picture(layer: dict) -> Image.Image:
    """The image in a layer's data."""
    return Image.open(io.BytesIO(b64decode(layer["png"])))


def test_template_takes_data_and_nothing_ends_the_script():
    text = "</SCRIPT><!--<script>"
    html = gallery({"text": text}).decode()
    start = html.index('id="data">') + len('id="data">')
    assert json.loads(html[start : html.index("</script>", start)]) == {"text": text}
    assert text not in html
    assert "@DATA@" not in html
    with pytest.raises(ValueError, match="JSON"):
        gallery({"value": float("nan")})


@pytest.mark.parametrize(
    "values",
    [
        [0.5],
        [0.0, 0.0],
        [-3.0, 4.0, 4.0],
        [1e-9, 2e-9],
        [0.88, 1.0, 0.99999999],
        [30706.0, 113316.0, 54311.0],
        list(np.random.default_rng(0).normal(0, 7, 500)),
        [0.1 * k for k in range(25)],
        [-1e12, 1e12],
    ],
)
def test_histogram_counts_every_value_where_it_lies(values):
    h = histogram(values)
    assert sum(h["counts"]) == h["n"] == len(values)
    assert h["counts"][0]
    assert h["counts"][-1]
    assert len(h["counts"]) <= 27
    assert h["start"] <= min(values) + 1e-9 * abs(min(values))
    end = h["start"] + h["step"] * len(h["counts"])
    assert max(values) <= end + 1e-9 * abs(end)


def test_upper_bound_gets_no_bin_of_its_own():
    h = histogram([0.0, 0.24, 0.5, 1.0])
    assert h["start"] + h["step"] * len(h["counts"]) == pytest.approx(1.0)


def test_whole_numbers_get_whole_bins():
    h = histogram([0.0, 0.0, 1.0, 3.0])
    assert (h["start"], h["step"], h["single"], h["counts"]) == (0, 1, True, [2, 1, 0, 1])


def test_distributions_sort_labels_into_kinds():
    rows = [
        {
            "labels": {
                "side": "left",
                "ok": n == 0,
                "grid": [8, 8],
                "mld_xy": [n, 1],
                "box": [n] * 6,
                "at_mm": [float(n), float(n)],
                "id": f"v{n}",
            },
            "measured": {"dice": n / 30},
            "redraws": 0,
        }
        for n in range(30)
    ]
    out = distributions(rows)
    assert [d["path"] for d in out["histograms"]] == ["dice", "at_mm.0"]  # its other component is the same again
    assert {d["path"]: d["value"] for d in out["constants"]} == {"side": "left", "redraws": 0}
    assert [(d["path"], d["counts"]) for d in out["categories"]] == [("ok", [("no", 29), ("yes", 1)])]
    assert [(d["path"], d["different"]) for d in out["omitted"]] == [("id", 30)]
    assert out["pairs"] == []
    assert distributions([]) == {"histograms": [], "categories": [], "constants": [], "omitted": [], "pairs": []}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("views.0.sid_mm", ("view 1: source to detector", "mm")),
        ("spacing_mm", ("voxel size", "mm")),
        ("views.1.pixel_mm.0", ("view 2: pixel size 1", "mm")),
        ("stenoses.*.percent_ds", ("stenosis: diameter stenosis", "%")),
        ("lesions.count", ("number of lesions", "")),
        ("some_length_mm", ("some length", "mm")),
        ("mm", ("mm", "")),
    ],
)
def test_title(path, shown):
    assert title(path) == shown


def test_layers_keep_their_pixels():
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 256, (40, 60), dtype=np.uint8)
    mask = ((grey > 128) * 255).astype(np.uint8)
    layers = panel_data(Panel("p", {"picture": grey, "mask": mask, "soft": grey}), 512)["layers"]
    assert np.array_equal(np.asarray(picture(layers[0])), grey)
    for layer, alpha, tint in ((layers[1], mask, TINTS[0]), (layers[2], grey, TINTS[1])):
        rgba = np.asarray(picture(layer).convert("RGBA"))
        assert np.array_equal(rgba[:, :, 3], alpha)
        assert (rgba[:, :, :3] == tint).all()
    assert len(layer_png(mask)) < len(layer_png(grey)) / 3
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(layer_png(mask))).convert("L")), mask)


@pytest.mark.parametrize("value", [0, 255])
def test_uniform_layers(value):
    layer = np.full((4, 4), value, np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(layer_png(layer))).convert("L")) == value).all()
    alpha = np.asarray(Image.open(io.BytesIO(layer_png(layer, TINTS[0]))).convert("RGBA"))[:, :, 3]
    assert (alpha == value).all()


def test_large_layers_are_shrunk_and_thin_vessels_stay_visible():
    mask = np.zeros((1024, 512), np.uint8)
    mask[:, 100] = 255
    small = fit(mask, 128)
    assert small.shape == (128, 64)
    assert small.max() >= 80
    assert fit(np.full((64, 64), 100, np.uint8), 200).shape == (200, 200)
    assert [panel_data(Panel("p", {"a": mask}), 256)["layers"][0][k] for k in ("height", "width")] == [256, 128]


def test_blend_tints_dark_more_than_bright():
    base = np.array([[0, 255]], np.uint8)
    over = np.full((1, 2), 255, np.uint8)
    dark, bright = np.asarray(blend(Panel("p", {"base": base, "over": over}), 2))[0].astype(int)
    assert dark[0] > dark[2] + 100  # orange
    assert bright[2] > 170  # still nearly white


@pytest.mark.parametrize(
    ("value", "text"),
    [(58440.0, "58 440"), (0.23999, "0.24"), (1.0, "1"), (-1234.5, "-1 234"), (71.26, "71.3"), (999.7, "1000")],
)
def test_number(value, text):
    assert number(value) == text


def test_caption_has_short_names_and_units():
    assert readable("percent_ds") == ("diameter stenosis", "%")
    line = caption("severe", {"percent_ds": 71.234, "mld_mm": 1.5, "primary_deg": -3, "hull_dice": 0.5})
    values = "Dice of hull and truth 0.5  LAO (+) / RAO (-) angle -3°  diameter stenosis 71.2%"
    assert line == f"severe  {values}  minimal lumen diameter 1.5 mm"


def test_contact_sheet_has_room_for_everything():
    panel = Panel("a rather long title of a panel that does not fit", {"x": np.zeros((8, 4), np.uint8)})
    values = [{f"value_number_{k}": (n + k) / 7 for k in range(40)} for n in range(5)]
    shown = [Shown(f"sample {n}", caption("severe", values[n]), [panel] * 3) for n in range(5)]
    one = Image.open(io.BytesIO(contact_sheet("tiny", shown[:1])))
    five = Image.open(io.BytesIO(contact_sheet("tiny", shown)))
    assert five.width > 2 * one.width
    assert five.height > 1.5 * one.height
    assert contact_sheet("tiny", shown) == contact_sheet("tiny", shown)


def edited(rng: np.random.Generator) -> Panel:
    """A picture before and after an edit of its middle, with an overlay for both, one of each, and one for either."""
    after = rng.integers(0, 256, (60, 80), dtype=np.uint8)
    before = after.copy()
    before[20:30, 30:50] = rng.integers(0, 256, (10, 20), dtype=np.uint8)
    mask, was = (np.uint8(255) * rng.integers(0, 2, after.shape, dtype=np.uint8) for _ in range(2))
    return Panel("frame", {"after": after, "before": before, "mask": mask, "box": mask, "before mask": was})


@pytest.mark.parametrize("edge", [512, 40])
def test_the_picture_before_comes_as_a_patch_that_gives_it_exactly(edge):
    panel = edited(np.random.default_rng(2))
    layers = panel_data(panel, edge)["layers"]
    told = [(layer["name"], layer["side"], layer["tint"]) for layer in layers]
    assert told == [
        ("after", None, None),
        ("before", "before", None),
        ("mask", "after", TINTS[0]),
        ("box", None, TINT_OF["box"]),
        ("mask", "before", TINTS[0]),
    ]
    patch = np.asarray(picture(layers[1]))
    small = panel.layers["before"] if edge == 512 else fit(panel.layers["before"], edge)
    assert np.array_equal(np.where(patch[..., 1] > 0, patch[..., 0], np.asarray(picture(layers[0]))), small)
    assert set(np.unique(patch[..., 1])) == {0, 255}
    assert len(layers[1]["png"]) < len(layers[0]["png"]) / 4


def test_paper_shows_an_edit_plain_before_anything_is_drawn_over_it():
    panel = edited(np.random.default_rng(3))
    before, after, marked = tiles(panel)
    assert [list(tile.layers) for tile in (before, after, marked)] == [["before"], ["after"], ["after", "mask", "box"]]
    assert [tile.title for tile in (before, after, marked)] == ["before", "frame", "mask, box"]
    assert marked.layers["mask"] is panel.layers["mask"]  # that after the edit
    assert tiles(before) == [before]  # its first layer only has that name
    large = {name: fit(layer, 2 * TILE) for name, layer in panel.layers.items()}
    (whole,) = tiles(Panel("frame", large))
    assert list(whole.layers) == ["after", "mask", "box"]


def test_a_box_is_seen_in_a_small_picture_and_names_keep_their_colour():
    picture, box = np.full((512, 512), 200, np.uint8), np.zeros((512, 512), np.uint8)
    box[100:140, 200:240] = 255
    box[103:137, 203:237] = 0
    both = np.asarray(blend(Panel("p", {"after": picture, "box": box}), TILE)).astype(int)
    assert (both[..., 0] - both[..., 2]).max() > 80  # yellow on light grey
    lumen_first = Panel("p", {"x": picture, "lumen": box, "organ": box})
    organ_only = Panel("p", {"x": picture, "organ": box})
    tints = [{layer["name"]: layer["tint"] for layer in panel_data(p, 64)["layers"]} for p in (lumen_first, organ_only)]
    assert tints[0]["organ"] == tints[1]["organ"] == TINT_OF["organ"] != tints[0]["lumen"]


def test_a_filled_overlay_leaves_what_is_below_to_be_seen():
    tree, hull = np.zeros((128, 128), np.uint8), np.zeros((128, 128), np.uint8)
    tree[40:60, 50:54] = 255
    hull[36:64, 44:60] = 255  # a few per cent of the picture, and no outline
    both = np.asarray(blend(Panel("p", {"truth": tree, "hull": hull}), TILE)).astype(int)
    middle = TILE * 50 // 128, TILE * 52 // 128
    assert both[middle].min() > 150  # the truth is still nearly white


def test_a_sheet_leaves_no_room_for_panels_that_are_not_there():
    panel = Panel("p", {"x": np.zeros((8, 8), np.uint8)})
    sizes = (6, 2, 3, 1, 6, 6)
    shown = [Shown(f"s{n}", f"severe  value {n}", [panel] * size) for n, size in enumerate(sizes)]
    sheet = Image.open(io.BytesIO(contact_sheet("t", shown)))
    assert sheet.width > 12 * TILE
    assert sheet.height < 3 * TILE  # two rows of twelve


def test_labels_that_repeat_a_measured_value_are_not_drawn_again():
    rows = [
        {
            "labels": {"lesions": [{"cnr": float(n)}], "requested": {"cnr": n}},
            "measured": {"cnr": float(n)},
            "redraws": 0,
        }
        for n in range(5)
    ]
    out = distributions(rows)
    assert [(d["group"], d["path"]) for d in out["histograms"]] == [("measured", "cnr")]
    assert [pair["path"] for pair in out["pairs"]] == ["cnr"]


def test_pictures_of_two_sizes_are_no_before_and_after():
    small, large = np.zeros((8, 8), np.uint8), np.full((16, 16), 9, np.uint8)
    names = [layer["name"] for layer in panel_data(Panel("p", {"after": small, "before": large}), 64)["layers"]]
    assert names == ["after", "before"]
    assert panel_data(Panel("p", {"after": small, "before": large}), 64)["layers"][1]["tint"] == TINTS[0]


def test_boxes_are_counted_by_size_and_severities_are_percent():
    rows = [
        {
            "labels": {"lesions": [{"box": [1.0, 2.0, 11.0 + n, 6.0], "edit_box": None, "requested_ds": 50.0 + n}] * k},
            "measured": {},
            "redraws": 0,
        }
        for n, k in ((0, 1), (1, 3), (2, 0))
    ]
    drawn = {d["path"]: d for d in distributions(rows)["histograms"]}
    assert drawn.keys() == {
        "lesions.*.box.width_px",
        "lesions.*.box.height_px",
        "lesions.*.requested_ds",
        "lesions.count",
    }
    width = drawn["lesions.*.box.width_px"]
    assert (width["n"], width["min"], width["max"], width["unit"]) == (4, 10, 11, "px")
    assert drawn["lesions.*.requested_ds"]["unit"] == "%"
    assert readable("measured_ds") == ("measured diameter stenosis", "%")
