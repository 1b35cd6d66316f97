"""The gallery in a real browser: what a person clicks, types, drags and sees."""

import io

import numpy as np
import pytest
from PIL import Image

from lesionforge.generators.types import Panel
from lesionforge.sinks.pictures.gallery import distributions, gallery, panel_data
from lesionforge.sinks.pictures.names import readable
from tests.sinks.browser import Browser

SIZE = 160
EDIT = np.s_[60:100, 70:90]


def panels(n: int) -> list[Panel]:
    """A bright frame that had a dark square before the edit, a mask of each state, and a box."""
    after = np.full((SIZE, SIZE), 180, np.uint8)
    before = after.copy()
    before[EDIT] = 20
    mask, mask_before, box = (np.zeros_like(after) for _ in range(3))
    mask[10:30, 10:150] = 255
    mask_before[130:150, 10:150] = 255
    box[[50, 110], 60:100] = 255
    layers = {"after": after, "before": before, "mask": mask, "before mask": mask_before, "box": box}
    return [Panel(f"frame {n}", layers), Panel("mask alone", {"mask alone": mask})]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of nine samples in two splits and three classes, one of them with markup in a label."""
    samples, rows = [], []
    for n in range(9):
        asked = 30.0 + 6 * n
        labels = {"requested": {"percent_ds": asked}, "lesions": [{"box": [1.0, 2.0, 31.0 + n, 22.0]}]}
        labels["note"] = "<b>bold</b> left" if n == 4 else "right"
        measured = {"percent_ds": asked + (-1) ** n}
        told = {"id": f"train-0000-{n:08d}", "split": "train" if n < 6 else "val", "redraws": 0, "shard": "s"}
        told |= {"class": ("mild", "moderate", "severe")[n % 3], "labels": labels, "measured": measured, "drawn": {}}
        samples.append({**told, "panels": [panel_data(panel, 512) for panel in panels(n)]})
        rows.append({"labels": labels, "measured": measured, "redraws": 0})
    aside = {"id": "train-0000-00000099", "split": "train", "class": "mild", "redraws": 3, "reason": "quality: too <i>"}
    keys = ("requested", "percent_ds", "lesions", "box", "note")
    data = {
        "name": "tiny",
        "complete": True,
        "state": "complete",
        "facts": [["Samples", 9]],
        "sources": [{"scheme": "phantom", "subjects": 9, "cases": 9, "terms": "CC0"}],
        "counts": [["train", "mild", 3]],
        "distributions": {**distributions(rows), "rows": 9},
        "names": {key: readable(key) for key in keys},
        "samples": samples,
        "quarantine": {"total": 1, "reasons": [{"count": 1, "text": aside["reason"]}], "rows": [aside]},
    }
    out = tmp_path_factory.mktemp("gallery") / "index.html"
    out.write_bytes(gallery(data))
    return out.as_uri()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium, page):
    chromium.open("about:blank")
    chromium.open(page)
    yield chromium
    assert chromium.errors == []


def shown(browser) -> list[str]:
    return browser.js("[...document.querySelectorAll('.cards li:not([hidden]) .id')].map(e => e.textContent)")


def picture(browser, selector: str) -> np.ndarray:
    """What is on the screen where an element is, grey."""
    browser.spot(selector)
    x, y, width, height = browser.js(
        f"(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect();"
        " return [r.left, r.top, r.width, r.height]; })()"
    )
    whole = Image.open(io.BytesIO(browser.screenshot())).convert("L")
    return np.asarray(whole.crop((round(x), round(y), round(x + width), round(y + height))).resize((SIZE, SIZE)))


FRAME = "dialog .panel:first-child .stack"


def test_filters_leave_what_fits(browser):
    assert len(shown(browser)) == 9
    browser.js("document.querySelectorAll('.bar select')[0].focus()")
    browser.key("v", 86)  # the keyboard chooses "val"
    assert shown(browser) == [f"train-0000-{n:08d}" for n in (6, 7, 8)]
    browser.js("document.querySelectorAll('.bar select')[1].focus()")
    browser.key("s", 83)
    assert shown(browser) == ["train-0000-00000008"]
    assert browser.js("document.querySelector('[role=status]').textContent") == "1 of 9 shown"


def test_search_finds_labels_and_no_label_becomes_markup(browser):
    browser.click("input[type=search]")
    browser.type("bold LEFT")
    assert shown(browser) == ["train-0000-00000004"]
    browser.type(" nothing such")
    assert shown(browser) == []
    assert "No shown sample" in browser.js("document.querySelector('#none').textContent")
    assert browser.js("document.querySelectorAll('#cards b b, #set-aside i').length") == 0
    assert "quality: too <i>" in browser.js("document.querySelector('#set-aside').innerText")


def test_a_drag_wipes_from_after_to_before(browser):
    browser.click(".cards li:nth-child(5) .card")
    assert browser.js("document.querySelector('dialog h2').textContent") == "train-0000-00000004"
    dark = (slice(64, 96), slice(74, 86))
    after = picture(browser, FRAME)
    assert after[dark].min() > 150
    assert abs(int(after[20, 80]) - int(after[140, 80])) > 15  # the mask of after is on it, that of before is not
    browser.drag(FRAME, 0.1, 0.5)
    half = picture(browser, FRAME)
    assert half[dark][:, :5].max() < 60  # before, to the left of the line
    assert half[dark][:, 8:].min() > 150  # after, to its right
    assert browser.js("document.querySelector('dialog [data-wipe]').value") == "50"
    browser.drag(FRAME, 0.5, 0.99)
    before = picture(browser, FRAME)
    assert before[dark].max() < 60
    assert abs(int(before[140, 80]) - int(before[140, 3])) > 15
    assert abs(int(before[20, 80]) - int(before[20, 3])) <= 3


def test_the_keyboard_does_it_all(browser):
    browser.js("document.querySelector('.card').focus()")
    browser.key("\r", 13)
    assert browser.js("document.querySelector('dialog').open")
    wipe = "document.querySelector('dialog [data-wipe]').value"
    browser.key("b")
    assert browser.js(wipe) == "100"
    browser.key("b")
    assert browser.js(wipe) == "0"
    browser.js("document.querySelector('dialog [data-wipe]').focus()")
    browser.key("ArrowRight", 39)
    assert browser.js(wipe) == "1"
    assert (
        browser.js("document.querySelector('dialog [data-wipe]').getAttribute('aria-valuetext')") == "before up to 1 %"
    )
    browser.js("document.querySelector('dialog [data-way]').focus()")
    browser.key("ArrowRight", 39)  # not on a range: the next sample
    assert browser.js("document.querySelector('dialog h2').textContent") == "train-0000-00000001"
    assert browser.js(wipe) == "1"
    browser.key("Escape", 27)
    assert not browser.js("document.querySelector('dialog').open")
    browser.until("(document.activeElement.getAttribute('aria-label') || '').startsWith('train-0000-00000001')")


def test_layers_are_switched_everywhere(browser):
    browser.click(".cards li:first-child .card")
    with_box = picture(browser, FRAME)
    browser.click("dialog [data-layer=box]")
    without = picture(browser, FRAME)
    assert abs(with_box[49:52, 80].astype(int) - without[49:52, 80]).max() > 15
    assert (abs(with_box.astype(int) - without)[120:] <= 2).all()
    assert browser.js("[...document.querySelectorAll('[data-layer=box]')].map(e => e.checked)") == [False, False]
    assert browser.js("[...document.querySelectorAll('[data-layer]')].map(e => e.dataset.layer)").count("before") == 0


def test_distributions_show_request_and_sizes(browser):
    assert browser.js("document.querySelectorAll('#charts circle').length") == 9
    text = browser.js("document.querySelector('#charts').innerText")
    assert "Measured against requested: diameter stenosis (%)" in text
    assert "mean difference 0.111%, largest 1%" in text
    assert "lesion box: width (px)" in text
    assert "box 1 (" not in text


def test_narrow_window_has_no_sideways_scrolling(browser):
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
    assert browser.js("document.documentElement.scrollWidth") <= 390
    browser.click(".card")
    assert browser.js("document.querySelector('dialog').scrollWidth") <= 390
    browser.call("Emulation.clearDeviceMetricsOverride")
