import pytest
import torch
from torch.nn.functional import conv3d

from lesionforge.jobs.tasks.reconstruction.models import sparse
from lesionforge.jobs.tasks.reconstruction.models.sparse import Conv, Planes, SparseUNet, sites, together
from lesionforge.jobs.tasks.reconstruction.models.sparse_learner import SparseLearner
from lesionforge.jobs.tasks.reconstruction.settings import SparseSettings

SIZE, DEPTH, PLANE = 8, 3, 40


def some(seed, count=70, views=2):
    """Cells of a grid, features of them, and where they fall in the views."""
    random = torch.Generator().manual_seed(seed)
    cells = torch.unique(torch.randint(0, SIZE, (count, 3), generator=random), dim=0)
    rays = torch.randint(0, PLANE * PLANE, (views, len(cells)), generator=random)
    return cells, sites(cells, rays, PLANE, SIZE, DEPTH), torch.randn(len(cells), 5, generator=random)


def heard(net):
    """Weights as after some steps: at first some are 0, and what stands before them says nothing."""
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    return net


def test_a_convolution_is_the_dense_one_at_the_cells():
    cells, where, x = some(0)
    conv = Conv(5, 4).double()
    dense = torch.zeros(1, 5, SIZE, SIZE, SIZE, dtype=torch.double)
    dense[0, :, *cells.T] = x.double().t()
    weight = conv.linear.weight.view(4, 3, 3, 3, 5).permute(0, 4, 1, 2, 3)
    theirs = conv3d(dense, weight, conv.linear.bias, padding=1)[0][:, *cells.T].t()
    torch.testing.assert_close(conv(x.double(), where.levels[0].neighbours), theirs)


def test_its_gradients_are_those_of_small_steps():
    _, where, x = some(1, 12)
    conv = Conv(5, 3).double()
    given = x.double().requires_grad_(), where.levels[0].neighbours, conv.linear.weight, conv.linear.bias
    assert torch.autograd.gradcheck(sparse._Convolve.apply, given)


def test_levels_halve_the_grid_and_each_cell_has_its_place_in_its_parent():
    cells, where, _ = some(2)
    for level in where.levels[:-1]:
        coarse = torch.unique(cells // 2, dim=0)
        assert torch.equal(coarse[level.parent], cells // 2)
        assert torch.equal(level.child, (cells % 2) @ torch.tensor([4, 2, 1]))
        cells = coarse
    assert len(where.levels[-1].neighbours) == len(cells)


@pytest.mark.parametrize("views", [2, 3])
def test_hulls_beside_each_other_do_not_see_each_other(views):
    torch.manual_seed(0)
    net = heard(SparseUNet(5, (8, 12, 16))).eval()
    many = [some(seed, 40 + 10 * seed, views)[1:] for seed in range(3)]
    alone = torch.cat([net(x, where) for where, x in many])
    beside = net(torch.cat([x for _, x in many]), together([where for where, _ in many]))
    torch.testing.assert_close(beside, alone, atol=1e-5, rtol=1e-4)


def test_tokens_of_one_ray_meet_wherever_they_are():
    """Of two cells at opposite ends of the grid: what is changed in one is seen in the other, if a ray holds both."""
    torch.manual_seed(0)
    planes = heard(Planes(8))
    cells = torch.tensor([[0, 0, 0], [7, 7, 7]])
    x = torch.randn(2, 8)
    changed = torch.stack([torch.randn(8), x[1]])
    far = PLANE * PLANE - 1
    apart = sites(cells, torch.tensor([[0, far], [0, far]]), PLANE, SIZE, DEPTH)
    meeting = sites(cells, torch.tensor([[0, far], [9, 9]]), PLANE, SIZE, DEPTH)
    moved = [abs(planes(changed, where)[1] - planes(x, where)[1]).max().item() for where in (apart, meeting)]
    assert moved[0] < 1e-6 < 1e-3 < moved[1]


def test_every_weight_learns():
    torch.manual_seed(0)
    net = heard(SparseUNet(5, (8, 12, 16)))
    _, where, x = some(3)
    net(x, where).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_its_size_is_as_stated():
    """Of two views, in jobs/README.md."""
    with torch.device("meta"):
        network = SparseLearner(SparseSettings()).network()
    assert sum(p.numel() for p in network.parameters()) == 754_721
