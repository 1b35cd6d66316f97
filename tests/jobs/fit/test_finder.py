"""Fitting the finder: crops by number, what a still's mask values mean, and a fit that resumes and finds."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionforge.generators.vessel.finder.finder import Finder
from lesionforge.generators.vessel.finder.normalise import normalise
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit import crops
from lesionforge.jobs.fit.crops import Crops, Stills
from lesionforge.jobs.fit.finder import FinderFit, _Loss, fit_finder
from tests.generators.vessel.finder.frames import Drawn, drawn

SIZE = {"data": (), "batch": 4, "side": 96, "wide": 128, "precision": "float32", "warmup": 5, "ema": 0.9}


def dice(a, b):
    return 2 * (a & b).sum() / max(1, a.sum() + b.sum())


def test_a_fit_resumes_and_finds_what_it_has_not_seen(tmp_path):
    asked = FinderFit(out=str(tmp_path / "fit"), steps=24, every=12, **SIZE)
    frames = Drawn(0, 12), Drawn(100, 2)
    fit_finder(replace(asked, steps=12), frames)
    model = fit_finder(asked, frames)
    lines = [json.loads(line) for line in (tmp_path / "fit" / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 25))
    assert (tmp_path / "fit" / "sheets" / "0000024.png").is_file()
    card = json.loads((model / "finder.json").read_text())
    assert card["settings"]["steps"] == 24
    assert str(tmp_path) not in json.dumps(card)
    found = Finder.load(model)
    scores = [dice(found.find(image).vessel, labels == 1) for image, labels in map(drawn, range(200, 202))]
    assert np.mean(scores) > 0.4


def test_crops_are_pure_and_keep_picture_and_labels_together():
    made = Crops(Drawn(0, 4), 3, steps=10, batch=2, sides=(96, 160))
    for number in (0, 7, 19):
        one, again = made[number], made[number]
        assert all(np.array_equal(one[key], again[key]) for key in one)
        assert one["x"].shape == (1, *one["y"].shape)
        assert one["y"].shape[0] == (96 if number < 12 else 160)
        assert set(np.unique(one["y"])) <= {0, 1, 2}
    # Whatever was done to them, vessels stay dark against what is about them.
    shown = [one for one in map(made.__getitem__, range(8)) if (one["y"] == 1).sum() > 100]
    contrast = [one["x"][0][one["y"] == 1].mean() - one["x"][0][one["y"] == 0].mean() for one in shown]
    assert len(shown) > 3
    assert np.median(contrast) > 8
    plain = Crops(Drawn(0, 4), 3, 10, 2, (96, 256), plain=True)[1]
    image, labels = drawn(1)
    assert np.array_equal(plain["x"][0], normalise(image))
    assert np.array_equal(plain["y"], labels)


def test_the_loss_is_of_entropy_and_dice():
    """Oracle: a network that is sure and right loses nothing, one that says background everywhere all of the Dices."""

    class Says(torch.nn.Module):
        def forward(self, x):
            return x

    truth = torch.from_numpy(np.stack([drawn(n, 128)[1] for n in range(3)])).long()
    right = 50.0 * torch.nn.functional.one_hot(truth, 3).permute(0, 3, 1, 2)
    nothing = torch.zeros_like(right)
    nothing[:, 0] = 50
    loss = _Loss(Says())
    assert loss({"x": right, "y": truth}) == pytest.approx(0, abs=2e-3)
    weight = torch.tensor([1.0, 2.0, 3.0])[truth]
    entropy = 50 * (weight * (truth > 0)).sum() / weight.sum()
    assert loss({"x": nothing, "y": truth}) == pytest.approx(float(entropy) + 1, abs=1e-3)


def test_mask_values_say_what_is_a_vessel(monkeypatch):
    mask = np.array([[0, 3, 200, 254, 255]], np.uint8)
    values = {"3": "LAD", "200": "vessel", "254": "device", "255": "catheter"}
    sample = {"image.png": mask, "mask.png": mask, "json": {"mask_values": values}}
    monkeypatch.setattr(crops, "chosen", lambda place, split: None)
    monkeypatch.setattr(crops, "splits", lambda store, wanted: ["train"])
    monkeypatch.setattr(crops, "Samples", lambda place, split, members: [sample])
    assert Stills(["a"], "train")[0][1].tolist() == [[0, 1, 3, 0, 2]]
    sample["json"] = {}
    with pytest.raises(UsageError, match="mask_values are missing"):
        Stills(["a"], "train")[0]


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(UsageError, match="multiple of 32"):
        FinderFit(out="o", **{**SIZE, "side": 100})
