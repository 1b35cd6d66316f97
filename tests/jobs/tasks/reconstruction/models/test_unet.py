import math

import numpy as np
import pytest
import torch

pytest.importorskip("monai")

from lesionforge.generators.carm.backproject import hull
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.models.dense import PRESETS, UNet3d, back_projections
from lesionforge.jobs.tasks.reconstruction.models.learner import opened_learner
from lesionforge.jobs.tasks.reconstruction.models.unet import UNetLearner
from lesionforge.jobs.tasks.reconstruction.settings import UNetSettings

TOY = {"steps": 8, "warmup": 1, "held": 0.25}


class Constant(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value))

    def forward(self, x):
        return self.value.expand(x.shape)


@pytest.mark.parametrize(("preset", "size"), [("paper", 77_129_748), ("small", 4_809_696), ("tiny", 298_564)])
def test_sizes_are_as_stated(preset, size):
    with torch.device("meta"):
        net = UNet3d(PRESETS[preset])
        assert net(torch.zeros(2, net.inputs, 60, 60, 60)).shape == (2, 60, 60, 60)
    assert sum(p.numel() for p in net.parameters()) == size
    assert f"{size:,}" in UNet3d.__doc__


def test_presets_are_known():
    with pytest.raises(UsageError, match="preset is 'big': give one of paper, small, tiny"):
        UNetSettings(preset="big")


def test_back_projections_are_lit_where_the_hull_is(pairs):
    for pair in pairs[:2]:
        volumes = back_projections(pair)
        assert volumes.shape == (3, *pair.grid.shape)
        assert np.array_equal(volumes[0], np.minimum(volumes[1], volumes[2]))
        assert (volumes[1:].reshape(2, -1).max(1) == 1).all()
        assert (volumes[0][hull(pair.shadows, pair.views, pair.grid, 1) > 0] > 0).all()
        assert not volumes[0][hull(pair.shadows, pair.views, pair.grid, 1, 1.0) == 0].any()


def test_the_weight_of_the_loss_is_taken_off():
    """The best constant logit for a share p of cells is the one whose likelihood is p."""
    learner = UNetLearner(UNetSettings(weight=100))
    net = Constant(math.log(0.02 / 0.98) + math.log(100))
    truth = torch.zeros(1, 10, 10, 10)
    truth.view(-1)[:20] = 1
    learner.task(net).network({"x": truth, "truth": truth}).backward()
    assert abs(float(net.value.grad)) < 1e-6
    assert float(learner.likely(net.value.detach())) == pytest.approx(0.02)


def test_it_learns_and_is_what_its_file_says(pairs, tmp_path):
    losses = []
    learner, other = (UNetLearner(UNetSettings(**TOY)) for _ in range(2))
    learner.fit([], pairs, 0, 0, None, lambda step, of, loss: losses.append(loss))
    assert np.mean(losses[-2:]) < np.mean(losses[:2])
    found = learner.predict(pairs[0])
    assert found.shape == pairs[0].grid.shape
    assert 0 <= found.min() < found.max() <= 1
    other.fit([], pairs, 0, 0)
    assert np.array_equal(other.predict(pairs[0]), found)
    learner.save(tmp_path / "m.safetensors")
    again = opened_learner(tmp_path / "m.safetensors", "cpu")
    assert (again.threshold, again.settings) == (learner.threshold, learner.settings)
    assert np.array_equal(again.predict(pairs[0]), found)
