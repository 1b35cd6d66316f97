import numpy as np
import pytest
import torch

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.models.flow import Flow, FlowLearner
from lesionforge.jobs.tasks.reconstruction.settings import FlowSettings

TOY = {"channels": (8, 12, 16), "warmup": 2, "held": 0.25}


class Knowing(Flow):
    """Says the clean tree whatever it is given."""

    def __init__(self, truth):
        super().__init__(3, (4, 4, 4))
        self.truth = truth

    def clean(self, x, where, logits, noisy, time):
        return torch.where(self.truth, 30.0, -30.0)


@pytest.mark.parametrize("wrong", [{"levels": 0}, {"samples": 0}, {"direct": 1.0}])
def test_settings_are_checked(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        FlowSettings(**wrong)


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_a_network_that_knows_the_tree_leads_there_from_any_noise(steps):
    truth = torch.arange(50) % 3 == 0
    found = Knowing(truth).sample(torch.zeros(50, 3), None, torch.zeros(50), torch.randn(50), steps)
    assert torch.equal(found > 0.5, truth)


def test_the_path_is_straight():
    """At each step the network is given (1 - t) noise + t tree, as it learnt."""
    truth = torch.arange(12) % 2 == 0
    noise, seen = torch.randn(12), []

    class Watched(Knowing):
        def clean(self, x, where, logits, noisy, time):
            seen.append((time[0].item(), noisy))
            return super().clean(x, where, logits, noisy, time)

    Watched(truth).sample(torch.zeros(12, 3), None, torch.zeros(12), noise, 5)
    for time, noisy in seen:
        torch.testing.assert_close(noisy, (1 - time) * noise + time * (2 * truth.float() - 1))


def test_the_direct_network_learns_first_and_then_stays(pairs):
    """In the second half its weights get no gradient; the answer of a pair is the same each time, by its own noise."""
    learner = FlowLearner(FlowSettings(steps=4, **TOY))
    net = learner.network()
    task = learner.task(net)
    batch = task.on(task.collate([learner.prepared(pairs[0])]), "cpu")
    for step, (own, other) in {2: (net.direct, net.refine), 3: (net.refine, net.direct)}.items():
        net.zero_grad()
        task.network({**batch, "step": step}).backward()
        assert all(p.grad is not None for p in own.parameters())
        assert own.out.weight.grad.abs().sum() > 0
        assert all(p.grad is None for p in other.parameters())
    learner.fit([], pairs[:4], 0, 0)
    assert np.array_equal(learner.predict(pairs[0]), learner.predict(pairs[0]))
