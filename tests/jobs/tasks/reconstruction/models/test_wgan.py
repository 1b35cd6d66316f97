import numpy as np
import pytest
import torch
from torch import nn

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.models.dense import PRESETS
from lesionforge.jobs.tasks.reconstruction.models.wgan import EMPTY, Adversaries, Critic, WganLearner, gradient_penalty
from lesionforge.jobs.tasks.reconstruction.settings import WganSettings

TOY = {"steps": 2, "warmup": 1, "held": 0.25, "batch": 2, "rate": 1e-2, "average": 0.0}


class Generator(nn.Module):
    inputs = 3

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 1, 3, padding=1)

    def forward(self, x):
        return self.conv(x)[:, 0]


class Toy(WganLearner):
    def network(self):
        return Generator()


def adversaries(**changes):
    torch.manual_seed(0)
    return Adversaries(Generator(), Critic(3, 2), WganSettings(**changes))


@pytest.fixture(scope="module")
def batch():
    rng = torch.Generator().manual_seed(1)
    return {"x": torch.rand(2, 3, 16, 16, 16, generator=rng), "truth": torch.rand(2, 16, 16, 16, generator=rng).round()}


def gradient(net, batch):
    net.zero_grad()
    net({**batch, "turn": Adversaries.GENERATOR}).backward()
    return net.generator.conv.weight.grad.clone()


def test_the_critic_s_gradient_reaches_the_generator(batch):
    """By how much is another way to the same number; XRA-Diff's code has 0 here."""
    net = adversaries()
    with_it, without = gradient(net, batch), gradient(adversaries(adversarial=0), batch)
    net.zero_grad()
    made = torch.sigmoid(net.generator(batch["x"]) - EMPTY)
    (-net.critic(batch["x"], made).mean()).backward()
    own = net.generator.conv.weight.grad
    assert own.abs().max() > 1e-6
    assert torch.allclose(with_it - without, own, atol=1e-3 * float(own.abs().max()) + 1e-6)


def test_the_critic_s_turn_is_its_own(batch):
    net = adversaries()
    net({**batch, "turn": Adversaries.CRITIC}).backward()
    assert net.generator.conv.weight.grad is None
    assert all(p.grad.abs().sum() > 0 for p in net.critic.parameters() if p.ndim > 1)


@pytest.mark.parametrize("length", [1.0, 3.0])
def test_the_penalty_of_a_linear_critic_is_known(length):
    """Its gradient is the same everywhere."""
    w = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(2))
    w *= length / w.norm()
    trees = torch.rand(5, 4, 4, 4)
    found = gradient_penalty(lambda x, tree: (tree * w).sum((1, 2, 3)), torch.zeros(5, 3, 4, 4, 4), trees)
    assert float(found) == pytest.approx((length - 1) ** 2, abs=1e-5)


def test_the_critic_s_loss_is_as_published(batch):
    """Of a critic that adds up w times the tree: w (made - true) and ten times the penalty."""
    net = adversaries()
    size, w = 16**3, 0.05
    net.critic = type("Linear", (nn.Module,), {"forward": lambda self, x, tree: w * tree.sum((1, 2, 3))})()
    loss = float(net({**batch, "turn": Adversaries.CRITIC}).detach())
    made = torch.sigmoid(net.generator(batch["x"]) - EMPTY).detach()
    further = w * float((made - batch["truth"]).sum((1, 2, 3)).mean())
    assert loss == pytest.approx(further + 10 * (w * size**0.5 - 1) ** 2, rel=1e-4)
    loss = float(net({**batch, "turn": Adversaries.GENERATOR}).detach())
    absolute = 100 * float((made - batch["truth"]).abs().mean())
    assert loss == pytest.approx(absolute - w * float(made.sum((1, 2, 3)).mean()), rel=1e-4)


def test_sizes_and_reach_of_the_critic():
    for preset, size in (("paper", 2_757_345), ("small", 692_593), ("tiny", 174_265)):
        sizes = PRESETS[preset]
        with torch.device("meta"):
            critic = Critic(1 + 2 * sizes.stacked, sizes.channels[0])
        assert sum(p.numel() for p in critic.parameters()) == size
        assert f"{size:,}" in Critic.__doc__
    critic = Critic(1, 2)
    critic.out.weight.data *= 1e6
    assert critic(torch.rand(3, 1, 16, 16, 16), torch.rand(3, 16, 16, 16)).abs().min() > 1  # it is not bounded


def test_both_learn_in_their_turns(pairs, tmp_path):
    learner = Toy(WganSettings(**TOY))
    task = learner.task(learner.network())
    assert task.turns(1) == (0, 1, 1)
    assert [one.param_groups[0]["betas"] for one in task.optimizers()] == [(0.5, 0.9)] * 2
    learner.fit([], pairs, 0, 0, tmp_path)
    found = learner.predict(pairs[0])
    assert found.shape == pairs[0].grid.shape
    again = Toy(WganSettings(**TOY))
    again.fit([], pairs, 0, 0)
    assert np.array_equal(again.predict(pairs[0]), found)
    lines = (tmp_path / "losses.jsonl").read_text()
    assert lines.count("discriminator_loss") == 2


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(UsageError, match="turns is 0"):
        WganSettings(turns=0)
    with pytest.raises(UsageError, match="penalty is -1"):
        WganSettings(penalty=-1)
