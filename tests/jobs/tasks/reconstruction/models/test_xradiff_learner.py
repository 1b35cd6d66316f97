import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lesionforge.generators.carm.grid import Grid
from lesionforge.generators.carm.view import View
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.models import xradiff_learner
from lesionforge.jobs.tasks.reconstruction.models.learner import opened_learner
from lesionforge.jobs.tasks.reconstruction.models.xradiff import PRESETS, Sizes, XraDiff
from lesionforge.jobs.tasks.reconstruction.models.xradiff_learner import (
    LEVELS,
    Learning,
    XraDiffLearner,
    kept_of,
    sampled,
)
from lesionforge.jobs.tasks.reconstruction.pairs import Pair
from lesionforge.jobs.tasks.reconstruction.settings import LEARNERS, STUDIED, XraDiffSettings, settings

TOY = Sizes((8, 16), 1, 8, 8, 4, 4, 16, 1)
PREDICTIONS = ("epsilon", "v_prediction", "sample")


def pair(number):
    """A straight vessel through a coarse grid, seen from the front and from the side."""
    views = tuple(View(1000.0, 750.0, float(a), 0.0, 32, 32, (4.0, 4.0)) for a in (0, 90))
    shadow = np.zeros((32, 32), np.uint8)
    shadow[4:28, 12 + number : 18 + number] = 1
    target = np.zeros((8, 8, 8), bool)
    target[3:5, 3:5] = True
    who = ("left", f"subject {number}", f"source {number}")
    return Pair(views, (shadow, shadow), Grid((8, 8, 8), 10.0), *who, None, target, f"sample {number}")


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = XraDiff(TOY).eval()
    torch.nn.init.normal_(made.unet.conv_out.weight)
    return made


@pytest.fixture
def told():
    torch.manual_seed(1)
    return (torch.rand(1, 1, 8, 8, 8) < 0.5).float(), torch.randn(1, 1, 8)


def noise():
    return torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_schedule_is_the_papers_for_training_and_for_sampling(prediction, monkeypatch, net, told):
    """Every level against the closed form: cos^2, betas cut at .999. Levels of the samples are the training's."""

    def signal(t):
        return math.cos((t / LEVELS + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - signal(t + 1) / signal(t), 0.999) for t in range(LEVELS)]
    expected = torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), 0)
    made, kind = [], xradiff_learner.DDIMScheduler
    monkeypatch.setattr(xradiff_learner, "DDIMScheduler", lambda **given: made.append(kind(**given)) or made[-1])
    chosen = XraDiffSettings(prediction=prediction, levels=1)
    learning = Learning(net, chosen)
    sampled(net, chosen, noise(), *told)
    assert learning.schedule is made[0]
    assert len(made) == 2
    for schedule in made:
        assert torch.allclose(schedule.alphas_cumprod.double(), expected, rtol=1e-3, atol=1e-9)
    assert torch.equal(made[0].alphas_cumprod, made[1].alphas_cumprod)
    assert made[0].config == made[1].config
    assert made[1].timesteps.tolist() == [LEVELS - 1]


@pytest.mark.parametrize("levels", [3, 10, 50])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_true_noise_leads_back_to_the_tree(prediction, levels, told):
    """An oracle in the training's words (its levels, its target) through the whole sampler."""
    chosen = XraDiffSettings(prediction=prediction, levels=levels, within=False)
    shares = Learning(nn.Identity(), chosen).schedule.alphas_cumprod
    tree = 2 * told[0] - 1

    class Oracle(nn.Module):
        def forward(self, noisy, level, volume, vector):
            a = shares[level].view(-1, 1, 1, 1, 1)
            true = (noisy - a**0.5 * tree) / (1 - a) ** 0.5
            return {"epsilon": true, "sample": tree, "v_prediction": a**0.5 * true - (1 - a) ** 0.5 * tree}[prediction]

    found = sampled(Oracle(), chosen, noise(), *told)
    assert (found - tree).abs().max() < 1e-5


def test_guidance_of_1_is_the_told_network_and_of_0_the_untold_one(net, told):
    nothing = tuple(torch.zeros_like(part) for part in told)

    def tree(weight, given):
        with torch.no_grad():
            return sampled(net, XraDiffSettings(guidance=weight, levels=2, within=False), noise(), *given)

    with_it, without = tree(1.0, told), tree(0.0, told)
    assert not torch.allclose(with_it, without, atol=1e-3)
    assert torch.equal(without, tree(1.0, nothing))
    assert torch.allclose(with_it, tree(1 + 1e-6, told), atol=1e-4)  # by the formula
    assert torch.allclose(without, tree(1e-6, told), atol=1e-4)


def test_guidance_exaggerates_what_is_told(net, told):
    """One step of a network that says the clean tree: what was told, from what it would have been, twice as far."""
    chosen = {w: XraDiffSettings(guidance=w, levels=1, within=False) for w in (0.0, 1.0, 2.0)}
    with torch.no_grad():
        without, with_it, more = (sampled(net, one, noise(), *told) for one in chosen.values())
    free = (more.abs() < 1) & (without.abs() < 1) & (with_it.abs() < 1)
    assert free.sum() > 20
    assert torch.allclose(more[free], (2 * with_it - without)[free], atol=1e-5)


def test_outside_the_hull_nothing_is_learnt_nor_found(net, told):
    with torch.no_grad():
        found = sampled(net, XraDiffSettings(levels=2), noise(), *told)
    inside = told[0] > 0
    assert (found[~inside] == -1).all()
    assert (found[inside] > -1).any()
    hull = inside[:, 0].to(torch.uint8)
    trees = [hull, torch.ones_like(hull), torch.zeros_like(hull)]
    learning = Learning(net, XraDiffSettings(drop=0.0, levels=2))
    losses = []
    for tree in trees:  # the second differs from the first outside the hull alone
        torch.manual_seed(5)
        learning.schedule.add_noise = lambda clean, noise, levels: noise  # what it sees tells them not apart
        losses.append(float(learning({"tree": tree, "hull": hull, "shadows": torch.ones(1, 2, 32, 32)}).detach()))
    assert losses[0] == losses[1] != losses[2]


def test_what_is_told_is_dropped_tree_by_tree():
    """The rate within four standard deviations; trees of one batch apart; hull and vector of a tree together."""
    torch.manual_seed(3)
    kept = torch.stack([kept_of(8, 0.1) for _ in range(2000)])
    share = 1 - float(kept.mean())
    assert abs(share - 0.1) < 4 * math.sqrt(0.1 * 0.9 / kept.numel())
    mixed = float(((kept.sum(1) > 0) & (kept.sum(1) < 8)).float().mean())
    expected = 1 - 0.9**8 - 0.1**8
    assert abs(mixed - expected) < 4 * math.sqrt(expected * (1 - expected) / len(kept))

    class Spy(nn.Module):
        def condition(self, hull, shadows):
            return hull[:, None].float(), torch.ones(len(hull), 1, 4)

        def forward(self, noisy, levels, volume, vector):
            self.seen = volume.flatten(1), vector.flatten(1)
            return noisy

    spy = Spy()
    ones = torch.ones(64, 2, 2, 2, dtype=torch.uint8)
    Learning(spy, XraDiffSettings(drop=0.5))({"hull": ones, "tree": ones, "shadows": ones})
    volumes, vectors = spy.seen
    assert {*volumes.mean(1).tolist()} == {0.0, 1.0}
    assert torch.equal(volumes.mean(1), vectors.mean(1))


def test_it_learns_is_kept_and_gives_a_pair_its_own_tree(monkeypatch, tmp_path):
    monkeypatch.setitem(PRESETS, "tiny", TOY)
    pairs = [pair(n) for n in range(2)]
    learner = XraDiffLearner(XraDiffSettings(steps=2, levels=1, guidance=2.0, samples=2))
    learner.fit(pairs, [], 1.0, seed=1)
    volume = learner.predict(pairs[0])
    assert volume.shape == (8, 8, 8)
    assert volume.min() >= 0
    assert volume.max() <= 1
    assert np.array_equal(volume, learner.predict(pairs[0]))
    assert not np.allclose(volume, learner.predict(replace(pairs[0], sample="another")), atol=1e-3)
    learner.save(tmp_path / "model")
    loaded = opened_learner(tmp_path / "model", "cpu")
    assert loaded.settings == learner.settings
    assert loaded.threshold == learner.threshold
    assert np.allclose(loaded.predict(pairs[0]), volume, atol=1e-4)


def test_settings_are_checked():
    for wrong in (
        {"preset": "huge"},
        {"told": "views"},
        {"within": True, "told": "nothing"},
        {"prediction": "x"},
        {"drop": 1.0},
        {"levels": 0},
    ):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            XraDiffSettings(**wrong)
    for name in LEARNERS:
        if name.startswith("xradiff"):
            assert settings(name).preset in PRESETS
            assert (name in STUDIED) == (name == "xradiff")  # whoever names no model trains none of 811 million
