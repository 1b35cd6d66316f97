"""The reading test: page and key agree, the page tells no truth, and the figures are the textbooks'."""

import base64
import io
import itertools
import json
import math
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lesionforge.generators.types import stream
from lesionforge.jobs.cli import app
from lesionforge.jobs.studies.readers import measures
from lesionforge.jobs.studies.readers.crops import EDGE, GRID, Window, of_frame, of_volume
from lesionforge.sinks.store import Store
from tests.engine.sources import makers
from tests.sinks import lesions, stenoses


@pytest.fixture
def frames(tmp_path, monkeypatch):
    """A dataset of large frames: every second lesion is real, and the frame before has none of the drawn one."""
    monkeypatch.setattr(stenoses, "ROWS", 256)
    monkeypatch.setattr(stenoses, "COLUMNS", 512)
    kinds = ("moderate", "severe")
    monkeypatch.setattr(
        stenoses,
        "lesions",
        lambda i: [
            {"box": [80.0 + i, 60, 100 + i, 90], "severity_class": kinds[i % 2], "synthetic": False},
            {"box": [340.0, 120, 366, 150 + i], "severity_class": kinds[i % 2], "synthetic": True},
        ],
    )
    stenoses.write(Store(str(tmp_path / "drawn")), 12)
    return tmp_path


def make(folder, *more, out="test", real="drawn"):
    words = ["study", "readers", "--synthetic", str(folder / "drawn"), "--real", str(folder / real)]
    return CliRunner().invoke(app, [*words, "--out", str(folder / out), "--each", "5", "--json", *more])


def opened(folder, out="test"):
    text = (folder / out / "reading.html").read_text()
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text)[1])
    return text, data, json.loads((folder / out / "key.json").read_text())


def pixels(item):
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in item["images"]]


def test_page_and_key_agree_and_the_page_holds_no_truth(frames):
    done = make(frames)
    assert done.exit_code == 0, done.output
    text, data, key = opened(frames)
    assert [item["id"] for item in data["items"]] == list(key["items"])
    assert data["study"] == key["study"]
    assert sorted(item["drawn"] for item in key["items"].values()) == [False] * 5 + [True] * 5
    whole = {i: stenoses.fields(i) for i in range(12)}
    shown = []
    for item in data["items"]:
        assert item.keys() == {"id", "mark", "images"}
        (crop,) = pixels(item)
        assert crop.shape == (EDGE, EDGE)
        member = "image.png" if key["items"][item["id"]]["drawn"] else "source.png"
        places = [
            (i, x, y)
            for i, fields in whole.items()
            for y in range(0, 256 - EDGE + 1, GRID)
            for x in range(0, 512 - EDGE + 1, GRID)
            if np.array_equal(fields[member][y : y + EDGE, x : x + EDGE], crop)
        ]
        ((i, x, y),) = places  # on JPEG's grid, and of the picture that the key says
        box = stenoses.lesions(i)[key["items"][item["id"]]["drawn"]]["box"]
        assert abs(item["mark"][0] + x - (box[0] + box[2]) / 2) <= 2
        assert abs(item["mark"][1] + y - (box[1] + box[3]) / 2) <= 2
        assert key["items"][item["id"]]["class"] == stenoses.lesions(i)[0]["severity_class"]
        assert key["items"][item["id"]]["subject"] == stenoses.meta(i)["subject"]
        shown.append(i)
    assert len(set(shown)) == 10  # no frame twice
    for one in key["items"].values():
        assert one["subject"] not in text
    assert "://" not in text  # nothing is fetched
    assert not re.search(r"moderate|severe|synthetic|train-0000|seed", text)
    # As many of a class on either side, and an order that is no pattern.
    told = [(one["drawn"], one["class"]) for one in key["items"].values()]
    assert sorted(c for drawn, c in told if drawn) == sorted(c for drawn, c in told if not drawn)
    assert 1 < sum(a[0] != b[0] for a, b in itertools.pairwise(told)) < 9


def test_a_seed_gives_the_same_page_another_one_another(frames):
    for out, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert make(frames, "--seed", seed, out=out).exit_code == 0
    first, same, other = ((frames / out / "reading.html").read_bytes() for out in "abc")
    assert first == same != other


def test_mistakes_are_named(frames):
    for more, reason in (
        (("--each", "50"), "crops about real lesions, one of a frame that was not shown yet: give --each"),
        (("--class", "mild"), "gives 0 crops about real lesions of class mild"),
    ):
        done = make(frames, *more)
        assert reason in " ".join((str(done.exception) + done.output).split())
    assert make(frames).exit_code == 0
    assert "may have answers" in str(make(frames).exception)
    lesions.write(Store(str(frames / "ct")), 4)
    assert make(frames, real="ct", out="y").exit_code != 0


def test_ct_slices_are_windowed_and_upright(tmp_path):
    i, j, k = np.ogrid[:81, :81, :9]
    hu = (i * 5 + j * 0 + k * 100 - 300 + 0 * j).astype(np.int16)
    hu[:, 60:] += 200
    window = Window(200, 800, 16)
    crop, mark = of_volume(hu, (0.5, 0.5, 3), (40, 40, 4), window, stream(b"t", "a"))
    assert crop.shape == (5, 256, 256)
    assert abs(mark[0] - 128) <= 30
    assert (np.diff(crop[2].astype(int), axis=1) >= 0).all()  # the patient's left is on the right
    step = 16 / 256 / 0.5  # voxels a pixel
    left = 40 - mark[0] * step
    value = (left + 100 * step) * 5 + 400 - 300
    assert abs(crop[2][20, 100] - (np.clip((value - 200) / 800 + 0.5, 0, 1) * 255)) <= 3
    assert np.allclose((crop[3].astype(int) - crop[2])[:60], 100 / 800 * 255, atol=1.01)
    assert of_volume(hu, (0.1, 0.1, 3), (40, 40, 4), window, stream(b"t", "a")) is None  # it would show its border
    assert of_frame(np.zeros((100, 512), np.uint8), (1, 1, 9, 9), stream(b"t", "a")) is None


def test_real_ct_of_a_folder_with_its_own_marks(tmp_path, monkeypatch):
    """A source's marked tumours beside a dataset's drawn ones, of the same organ as far as there are any."""
    from lesionforge.jobs.studies.readers import cases

    monkeypatch.setattr(cases, "WINDOWS", {"plaques": Window(200, 800, 16), "tumours": Window(60, 400, 16)})
    meta = lesions.meta
    more = {"origin_lps_mm": [0.0, 0.0, 0.0]}

    def told(i, split, spacing):
        out = meta(i, split, spacing) | more
        out["lesions"] = [one | {"box": [5, 6, 4, 11, 12, 10]} for one in out["lesions"]]
        return out

    monkeypatch.setattr(lesions, "meta", told)
    lesions.write(Store(str(tmp_path / "drawn")), 6)
    volume = makers.abdomen()
    labels = volume.labels.copy()
    at = tuple(int(np.median(line)) for line in np.nonzero(labels == {v: k for k, v in volume.legend.items()}["liver"]))
    labels[tuple(slice(n - 2, n + 3) for n in at)] = 200
    makers.save(tmp_path / "ct" / "imagesTr" / "organs_1.nii.gz", volume.hu, volume)
    makers.save(tmp_path / "ct" / "labelsTr" / "organs_1.nii.gz", labels, volume)
    names = {"0": "background", **{str(value): name for value, name in volume.legend.items()}, "200": "liver_tumour"}
    (tmp_path / "ct" / "dataset.json").write_text(json.dumps({"labels": names, "modality": {"0": "CT"}}))
    words = ["study", "readers", "--synthetic", str(tmp_path / "drawn"), "--real", f"ct:{tmp_path / 'ct'}"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "t"), "--each", "1"])
    assert done.exit_code == 0, done.output
    _, data, key = opened(tmp_path, "t")
    assert sorted((one["drawn"], one["class"]) for one in key["items"].values()) == [
        (False, "liver_tumour"),
        (True, "liver_early"),  # of the same organ
    ]
    (real,) = [pixels(item) for item in data["items"] if not key["items"][item["id"]]["drawn"]]
    middle = np.clip((volume.hu[at] - 60) / 400 + 0.5, 0, 1) * 255
    assert np.abs(real[2].astype(float) - middle).min() < 3
    assert data["ct"]
    assert data["display"] == "window 60 / 400 HU, field 16 mm" == key["display"]
    assert [len(item["images"]) for item in data["items"]] == [5, 5]


def test_wilson_and_delong_are_the_textbooks():
    one = measures.share(8, 10)
    z, n, p = 1.959963984540054, 10, 0.8
    middle, reach = (
        (p + z * z / 2 / n) / (1 + z * z / n),
        z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n),
    )
    assert (one.low, one.high) == pytest.approx((middle - reach, middle + reach))
    rng = np.random.default_rng(1)
    drawn, real = rng.integers(-5, 6, 40).astype(float) + 1, rng.integers(-5, 6, 30).astype(float)
    found = measures.auc(drawn, real)
    from sklearn.metrics import roc_auc_score

    truth = np.r_[np.ones(40), np.zeros(30)]
    assert found.value == pytest.approx(roc_auc_score(truth, np.r_[drawn, real]))
    # DeLong by its definition, over all pairs.
    kernel = (drawn[:, None] > real).astype(float) + 0.5 * (drawn[:, None] == real)
    variance = kernel.mean(1).var(ddof=1) / 40 + kernel.mean(0).var(ddof=1) / 30
    assert found.high - found.value == pytest.approx(z * math.sqrt(variance))
    sure = measures.auc(np.array([3.0, 4]), np.array([-1.0, -2]))
    assert (sure.value, sure.low) == (1.0, None)  # nothing varies, so that no interval follows


def test_the_bootstrap_is_over_subjects():
    rng = np.random.default_rng(0)
    drawn = np.arange(200) % 2 == 0
    right = rng.random((1, 200)) < 0.7
    scores = np.where(right == drawn, 1.0, -1.0) * rng.integers(1, 6, (1, 200))
    alone = measures.pooled(right, scores, drawn, [str(n) for n in range(200)])
    assert alone["accuracy"].value == right.mean()
    assert alone["auc"].value == pytest.approx(measures.auc(scores[0][drawn], scores[0][~drawn]).value)
    for name, of in (
        ("accuracy", measures.share(int(right.sum()), 200)),
        ("auc", measures.auc(scores[0][drawn], scores[0][~drawn])),
    ):
        assert (alone[name].low, alone[name].high) == pytest.approx((of.low, of.high), abs=0.02)
    # Crops that come four times each are no more cases: intervals stay as wide as of a fourth.
    many = measures.pooled(np.tile(right, 4), np.tile(scores, 4), np.tile(drawn, 4), [str(n) for n in range(200)] * 4)
    assert many["accuracy"].high - many["accuracy"].low == pytest.approx(
        alone["accuracy"].high - alone["accuracy"].low, rel=0.15
    )


def answers(key, name, wrong=0):
    said = [
        {"id": k, "drawn": v["drawn"] != (n < wrong), "confidence": 1 + n % 5, "ms": 4000}
        for n, (k, v) in enumerate(key["items"].items())
    ]
    return {"format": "lesionforge-reading", "study": key["study"], "reader": name, "years": 7, "answers": said}


def test_a_report_of_two_readers(frames):
    make(frames)
    _, _, key = opened(frames)
    folder = frames / "test"
    for name, wrong in (("AB", 0), ("CD", 4)):
        (folder / f"answers-{name}.json").write_text(json.dumps(answers(key, name, wrong)))
    done = CliRunner().invoke(app, ["report", "readers", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    body = json.loads(done.stdout)
    assert body == json.loads((folder / "report.json").read_text())
    assert body["readers"]["AB"]["accuracy"]["value"] == body["readers"]["AB"]["auc"]["value"] == 1
    assert body["readers"]["CD"]["accuracy"]["value"] == 0.6
    drawn = [v["drawn"] for v in key["items"].values()]
    assert body["readers"]["CD"]["sensitivity"]["value"] == 1 - sum(drawn[:4]) / 5
    assert body["together"]["accuracy"]["value"] == 0.8
    assert sum(row["crops"] for row in body["called_drawn"]) == 10
    text = (folder / "report.md").read_text()
    assert "| CD | 10 of 10 | .600 (.313 to .832) |" in text
    assert "| all 2 | 10 | .800 (" in text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"study": "another"}, "answers reading test another"),
        ({"format": "x"}, "holds no answers"),
        ({"answers": [{"id": "no", "drawn": True, "confidence": 3, "ms": 1}]}, "is none to a crop of this test"),
        ({"answers": []}, "answers a crop twice, or none"),
    ],
)
def test_answers_that_are_none_are_named(frames, change, reason):
    make(frames)
    _, _, key = opened(frames)
    file = frames / "x.json"
    file.write_text(json.dumps(answers(key, "AB") | change))
    done = CliRunner().invoke(app, ["report", "readers", str(frames / "test"), str(file)])
    assert reason in str(done.exception) + done.output
    none = CliRunner().invoke(app, ["report", "readers", str(frames / "test")])
    assert "put the readers' answers*.json into" in str(none.exception) + none.output
    nothing = CliRunner().invoke(app, ["report", "readers", str(frames)])
    assert "key.json is damaged or not there" in str(nothing.exception) + nothing.output
