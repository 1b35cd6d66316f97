import re
from dataclasses import replace

import pytest
import torch

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.models.xradiff import PRESETS, Sizes, XraDiff, folded, unfolded
from lesionforge.jobs.tasks.reconstruction.models.xradiff_learner import Learning
from lesionforge.jobs.tasks.reconstruction.settings import XraDiffSettings

TOY = Sizes((8, 16, 16), 1, 8, 8, 4, 4, 16, 2)
CELLS = 16


def batch(trees=2, views=2):
    torch.manual_seed(0)
    volumes = (torch.rand(2, trees, CELLS, CELLS, CELLS) < 0.3).to(torch.uint8)
    shadows = (torch.rand(trees, views, 32, 32) < 0.3).to(torch.uint8)
    return {"hull": volumes[0], "tree": volumes[1], "shadows": shadows}


def made(preset):
    with torch.device("meta"):
        return XraDiff(PRESETS[preset])


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_the_papers_network_has_the_papers_parameters():
    """Table 3, and its code's parts as counted (no memory is taken: 811 million would be 3.2 GB)."""
    net = made("paper")
    unet = net.unet
    assert count(unet) == 811_030_625
    assert {name: count(part) for name, part in unet.named_children() if not name.endswith("blocks")} == {
        "conv_in": 608,
        "time_proj": 0,
        "time_embedding": 20_736,
        "transformer_in": 5_284_960,
        "mid_block": 109_395_968,
        "conv_norm_out": 64,
        "conv_act": 0,
        "conv_out": 289,
    }
    down = [186_368, 681_984, 2_633_728, 10_346_496, 101_409_792, 153_844_736]
    up = [263_065_600, 141_100_032, 17_270_272, 4_375_296, 1_122_688, 291_008]
    assert [count(block) for block in unet.down_blocks] == down
    assert [count(block) for block in unet.up_blocks] == up
    assert count(net.hull_encoder) == 289_920
    assert [count(encoder) for encoder in net.view_encoders] == [141_056, 141_056]
    assert count(net) == 811_030_625 + 289_920 + 2 * 141_056


def test_a_grid_need_not_halve_at_every_level():
    """As 60 does not by the paper's 32: 10 cells are 5 of the U-Net's, then 3, then 2."""
    net, noisy = XraDiff(TOY).eval(), torch.randn(1, 1, 10, 10, 10)
    with torch.no_grad():
        given = net.condition(torch.ones(1, 10, 10, 10), torch.ones(1, 2, 32, 32))
        assert net(noisy, torch.tensor([3]), *given).shape == noisy.shape


def test_smaller_presets_are_as_large_as_said():
    """``small``: one GPU trains it in minutes; ``tiny``: one core."""
    assert round(count(made("small")) / 1e6) == 42
    assert round(count(made("tiny")) / 1e6, 1) == 2.1


def test_blocks_of_cells_are_channels_and_come_back():
    x = torch.randn(2, 3, 6, 6, 6)
    inner = folded(x, 2)
    assert inner.shape == (2, 24, 3, 3, 3)
    assert set(inner[1, 8:16, 2, 0, 1].tolist()) == set(x[1, 1, 4:6, 0:2, 2:4].flatten().tolist())
    assert torch.equal(unfolded(inner, 2), x)
    with pytest.raises(UsageError, match="7 cells an edge"):
        folded(torch.randn(1, 1, 7, 7, 7), 2)


# What no loss can reach: with one vector as the context softmax is 1 whatever query and key are, and the norm before is
# the query's alone; a bias before a batch norm is taken off again.
UNREACHED = re.compile(
    r"unet\.(down|mid|up)_block.*\.attentions\.\d+\.transformer_blocks\.0\.(attn2\.to_[qk]\.weight|norm2\.(weight|bias))"
    r"|hull_encoder\.conv[12]\.bias"
)


@pytest.mark.parametrize("groups", [4, 8])
def test_every_parameter_of_unet_and_encoders_learns(groups):
    """Gradients after a step (before it zero convolutions hide what lies below); in double, so that zero is told.

    With a channel a group, as the paper has at its finest level, norms there undo every shift: no noise level is heard.
    """
    torch.manual_seed(1)
    net = XraDiff(replace(TOY, groups=groups)).double()
    learning = Learning(net, XraDiffSettings(drop=0.0))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        learning(batch(1)).backward()
        optimizer.step()
    largest = {name: float(p.grad.abs().max()) for name, p in net.named_parameters()}
    assert not [name for name, value in largest.items() if 1e-16 < value < 1e-7]  # nothing is nearly unreached
    unreached = {name for name, value in largest.items() if value < 1e-16}
    finest = {name for name in largest if name.startswith(("unet.down_blocks.0.", "unet.up_blocks.2."))}
    deaf = {name for name in finest if "time_emb_proj" in name}
    known = {name for name in largest if UNREACHED.fullmatch(name)}
    assert known <= unreached
    beyond = unreached - known
    if groups == TOY.channels[0]:
        assert deaf
        assert deaf <= beyond <= finest
        assert all(name.endswith(".bias") for name in beyond - deaf)
    else:
        assert not beyond
        assert all(name in unreached or not torch.equal(p, before[name]) for name, p in net.named_parameters())


def test_it_is_told_what_it_should_be():
    """All views; the hull alone ("no projections": its vector stays); nothing."""
    given = batch()
    other = {**given, "shadows": 1 - given["shadows"]}
    volumes, vectors = {}, {}
    for told in ("all", "hull", "nothing"):
        torch.manual_seed(0)
        net = XraDiff(TOY, told=told).eval()
        both = [net.condition(one["hull"], one["shadows"]) for one in (given, other)]
        assert torch.equal(both[0][0], both[1][0])
        assert torch.equal(both[0][1], both[1][1]) == (told != "all")
        volumes[told], vectors[told] = both[0]
    assert torch.equal(volumes["hull"], volumes["all"])
    assert vectors["hull"].abs().max() > 0
    assert not volumes["nothing"].any()
    assert not vectors["nothing"].any()


def test_any_number_of_views_has_an_encoder_each():
    net = XraDiff(TOY, views=3).eval()
    given = batch(1, 3)
    first = net.condition(given["hull"], given["shadows"])[1]
    for view in range(3):
        changed = given["shadows"].clone()
        changed[:, view] = 1 - changed[:, view]
        assert not torch.equal(net.condition(given["hull"], changed)[1], first)
