"""The reading test's page in a browser: keys, going on after a break, and a download that the report takes."""

import json

import pytest
from typer.testing import CliRunner

from lesionforge.jobs.cli import app
from lesionforge.jobs.studies.places import DataPlace
from lesionforge.jobs.studies.readers import making
from lesionforge.sinks.store import Store
from tests.sinks import stenoses
from tests.sinks.browser import Browser


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(stenoses, "ROWS", 200)
    monkeypatch.setattr(stenoses, "COLUMNS", 512)
    box = {"box": [80.0, 60, 100, 90], "severity_class": "severe"}
    monkeypatch.setattr(stenoses, "lesions", lambda i: [box | {"synthetic": False}, box | {"synthetic": True}])
    stenoses.write(Store(str(tmp_path / "made")), 6)
    place = DataPlace(str(tmp_path / "made"))
    making.make(place, place, tmp_path / "test", 3, (), 0)
    return tmp_path / "test"


def begin(browser, name):
    browser.click("#name")
    browser.js("document.querySelector('#name').select()")
    browser.type(name)
    browser.click("#go")


def test_a_reader_answers_by_keys_goes_on_and_downloads(browser, folder, tmp_path):
    key = json.loads((folder / "key.json").read_text())
    drawn = [item["drawn"] for item in key["items"].values()]
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "got"))
    page = (folder / "reading.html").as_uri()
    browser.open(page)
    assert browser.js("document.querySelector('#cover').hidden") is False
    begin(browser, "AB")
    for n in range(3):
        browser.until(f"document.querySelector('#count').textContent === '{n + 1} of 6'")
        browser.key("d" if drawn[n] else "r")
        browser.key("5")
    browser.until("document.querySelector('#count').textContent === '4 of 6'")
    browser.open("about:blank")
    browser.open(page)  # another day
    assert browser.js("document.querySelector('#go').textContent") == "Go on"
    begin(browser, "AB")
    browser.until("document.querySelector('#count').textContent === '4 of 6'")
    assert "(3)" in browser.js("document.querySelector('#save').textContent")
    browser.key("+")
    browser.until("document.querySelector('#view').textContent.startsWith('zoom 1.3')")
    browser.key("ArrowLeft")
    browser.until("document.querySelector('#count').textContent === '3 of 6'")
    told = "document.querySelector('#drawn').getAttribute('aria-pressed')"
    assert browser.js(told) == str(drawn[2]).lower()
    browser.key("ArrowRight")
    for n in range(3, 6):
        browser.until(f"document.querySelector('#count').textContent === '{n + 1} of 6'")
        browser.click("#real" if drawn[n] else "#drawn")  # wrong, by the mouse
        browser.click("#five button:nth-child(1)")
    browser.until("!document.querySelector('#cover').hidden")
    browser.click("#got")
    file = tmp_path / "got" / f"answers-AB-{key['study']}.json"
    browser.until("true")
    for _ in range(200):
        if file.exists() and file.stat().st_size:
            break
        browser.js("new Promise(done => setTimeout(done, 25))")
    assert browser.errors == []
    done = CliRunner().invoke(app, ["report", "readers", str(folder), str(file), "--json"])
    assert done.exit_code == 0, done.output
    one = json.loads(done.stdout)["readers"]["AB"]
    assert (one["read"], one["left_out"], one["accuracy"]["value"]) == (6, 0, 0.5)
    assert one["auc"]["value"] > 0.5  # right where it was sure
    browser.open(page)
    begin(browser, "CD")  # another reader on the same laptop begins anew
    browser.until("document.querySelector('#count').textContent === '1 of 6'")
