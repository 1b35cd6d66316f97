"""The soft F1, by its closed forms and its gradient."""

import pytest

torch = pytest.importorskip("torch")

from lesionforge.jobs.tasks.frames.network import OverTime, soft_f1_loss  # noqa: E402


def test_soft_f1_by_its_closed_forms():
    truth = torch.tensor([[0.0, 1, 1, 0, 0, 0, 0, 0]])
    assert soft_f1_loss(truth, truth).item() == 0
    assert soft_f1_loss(1 - truth, truth).item() == 1
    share = truth.mean().item()
    assert soft_f1_loss(torch.full((1, 8), 0.5), truth).item() == pytest.approx(1 - share / (0.5 + share))
    full = torch.ones(1, 8)
    assert soft_f1_loss(torch.full((1, 8), 0.5), full).item() == pytest.approx(1 - 1 / 1.5)
    empty = torch.zeros(1, 8)
    assert soft_f1_loss(torch.full((1, 8), 0.3), empty).item() == pytest.approx(0.3)  # it learns to name nothing
    assert soft_f1_loss(empty, empty).item() == 0


def test_its_gradient():
    rng = torch.Generator().manual_seed(0)
    likely = torch.rand(3, 9, generator=rng, dtype=torch.float64).requires_grad_()
    truth = (torch.rand(3, 9, generator=rng) > 0.5).double()
    truth[2] = 0
    assert torch.autograd.gradcheck(lambda p: soft_f1_loss(p, truth), (likely,))


def test_time_is_looked_at_both_ways():
    torch.manual_seed(0)
    net = OverTime(5, 4).eval()
    x = torch.randn(1, 12, 5)
    with torch.no_grad():
        before = net(x)
        for at, looked in ((0, 11), (11, 0)):
            changed = x.clone()
            changed[0, at] += 5 * torch.tensor([1.0, -1, 2, 0, 1])
            assert abs(net(changed)[0, looked] - before[0, looked]) > 1e-5
    assert before.shape == (1, 12)
