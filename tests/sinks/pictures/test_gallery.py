import io
import json
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from lesionforge.generators.types import Panel
from lesionforge.sinks.pictures.gallery import distributions, gallery, histogram, panel_data, title
from lesionforge.sinks.pictures.sheet import (
    TINTS,
    Shown,
    blend,
    caption,
    contact_sheet,
    fit,
    layer_png,
    number,
    readable,
    sides,
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
            "labels": {"side": "left", "ok": n == 0, "grid": [8, 8], "at_mm": [float(n), float(n)], "id": f"v{n}"},
            "measured": {"dice": n / 30},
            "redraws": 0,
        }
        for n in range(30)
    ]
    out = distributions(rows)
    assert [d["path"] for d in out["histograms"]] == ["dice", "at_mm.0"]  # its other component is the same again
    assert {d["path"]: d["value"] for d in out["constants"]} == {"side": "left", "grid.0": 8, "redraws": 0}
    assert [(d["path"], d["counts"]) for d in out["categories"]] == [("ok", [("no", 29), ("yes", 1)])]
    assert [(d["path"], d["different"]) for d in out["omitted"]] == [("id", 30)]
    assert out["pairs"] == []
    assert distributions([]) == {"histograms": [], "categories": [], "constants": [], "omitted": [], "pairs": []}


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("views.0.primary_deg", ("views 0 primary", "°")),
        ("spacing_mm", ("spacing", "mm")),
        ("views.1.pixel_mm.0", ("views 1 pixel 0", "mm")),
        ("stenoses.*.percent_ds", ("stenoses (each) DS", "%")),
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


@pytest.mark.parametrize(("value", "text"), [(58440.0, "58 440"), (0.23999, "0.24"), (1.0, "1"), (-1234.5, "-1 234")])
def test_number(value, text):
    assert number(value) == text


def test_caption_has_short_names_and_units():
    assert readable("percent_ds") == ("DS", "%")
    line = caption("severe", {"percent_ds": 71.234, "mld_mm": 1.5, "primary_deg": -3, "hull_dice": 0.5})
    assert line == "severe  hull dice 0.5  MLD 1.5 mm  DS 71.23%  primary -3°"


def test_contact_sheet_has_room_for_everything():
    panel = Panel("a rather long title of a panel that does not fit", {"x": np.zeros((8, 4), np.uint8)})
    values = {f"value_number_{n}": n / 7 for n in range(40)}
    shown = [Shown(f"sample {n}", caption("severe", values), [panel] * 3) for n in range(4)]
    one = Image.open(io.BytesIO(contact_sheet("tiny", shown[:1])))
    four = Image.open(io.BytesIO(contact_sheet("tiny", shown)))
    assert four.width > 2 * one.width
    assert four.height > 1.5 * one.height
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
        ("box", None, TINTS[1]),
        ("mask", "before", TINTS[0]),
    ]
    patch = np.asarray(picture(layers[1]))
    small = panel.layers["before"] if edge == 512 else fit(panel.layers["before"], edge)
    assert np.array_equal(np.where(patch[..., 1] > 0, patch[..., 0], np.asarray(picture(layers[0]))), small)
    assert set(np.unique(patch[..., 1])) == {0, 255}
    assert len(layers[1]["png"]) < len(layers[0]["png"]) / 4


def test_paper_shows_before_and_after_side_by_side():
    panel = edited(np.random.default_rng(3))
    before, after = sides(panel)
    assert (before.title, list(before.layers)) == ("before: frame", ["before", "box", "mask"])
    assert before.layers["mask"] is panel.layers["before mask"]
    assert (after.title, list(after.layers)) == ("frame", ["after", "mask", "box"])
    assert sides(before) == [before]  # its first layer only has that name
    single, double = (contact_sheet("t", [Shown("s", "", [p])]) for p in (after, panel))
    assert Image.open(io.BytesIO(double)).width > 1.8 * Image.open(io.BytesIO(single)).width


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
    assert readable("measured_ds") == ("measured DS", "%")
