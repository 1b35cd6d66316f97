"""The published networks to the parameter; attention and positions by their definitions."""

import pytest
import torch

from lesionforge.generators.lesion.learned.networks.attention import Attention, LinearAttention, Positions, rotated
from lesionforge.generators.lesion.learned.networks.features import Features
from lesionforge.generators.lesion.learned.networks.pixels import PixelUNet
from lesionforge.generators.lesion.learned.networks.unet import LatentUNet
from lesionforge.generators.lesion.learned.networks.vqgan import VQGAN, Discriminators
from lesionforge.generators.lesion.learned.settings import PRESETS

TINY = {"inside": 5, "outside": 2, "dim": 8, "mults": (1, 2), "heads": 2, "head_dim": 8, "groups": 4}


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_published_parameter_counts():
    paper = PRESETS["paper"]
    with torch.device("meta"):
        vqgan = VQGAN(**paper.vqgan)
        discriminators = Discriminators(**paper.discriminators)
        unet = LatentUNet(inside=17, outside=8, **paper.unet)
    assert count(vqgan.encoder) == 441_568
    assert count(vqgan.decoder) == 948_417
    assert count(vqgan.before) == 520
    assert count(vqgan.after) == 576
    assert list(vqgan.codebook.parameters()) == []
    assert vqgan.codebook.codes.shape == (16_384, 8)
    assert count(discriminators.slice) == 2_764_481
    assert count(discriminators.volume) == 11_049_665
    assert count(unet) == 6_018_592


def test_the_paper_s_latent_is_8_x_24_cubed_and_comes_back_at_96():
    with torch.device("meta"):
        vqgan = VQGAN(**PRESETS["paper"].vqgan)
        latent = vqgan.encode(torch.empty(1, 1, 96, 96, 96))
        back = vqgan.decoder(vqgan.after(latent))
        noise = LatentUNet(inside=17, outside=8, **PRESETS["paper"].unet)(
            torch.empty(1, 17, 24, 24, 24), torch.zeros(1, dtype=torch.long)
        )
    assert latent.shape == noise.shape == (1, 8, 24, 24, 24)
    assert back.shape == (1, 1, 96, 96, 96)


def test_every_parameter_of_the_unet_gets_a_gradient_but_the_fixed_angles():
    torch.manual_seed(0)
    unet = LatentUNet(**TINY, prompt=6)
    unet(torch.randn(2, 5, 4, 4, 4), torch.tensor([1, 7]), torch.randn(2, 6, 2, 2, 2)).square().mean().backward()
    silent = [name for name, p in unet.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == ["positions.speed"]


@pytest.mark.parametrize("what", ["time", "prompt", "depth"])
def test_the_unet_sees(what):
    torch.manual_seed(0)
    unet = LatentUNet(**TINY, prompt=6)
    x, time, prompt = torch.randn(1, 5, 4, 4, 4), torch.tensor([3]), torch.randn(1, 6, 1, 1, 1)
    with torch.no_grad():
        before = unet(x, time, prompt)
        if what == "time":
            after = unet(x, time + 1, prompt)
        elif what == "prompt":
            after = unet(x, time, prompt + 1)
        else:
            far = x.clone()
            far[:, :, 3] += 1
            after = unet(far, time, prompt)
    assert (after - before)[:, :, 0].abs().max() > 1e-4  # the first slice, whatever changed


def test_every_parameter_of_the_voxel_unet_gets_a_gradient():
    torch.manual_seed(0)
    unet = PixelUNet(inside=3, outside=1, channels=(4, 8, 8), heads=2, groups=2)
    x = torch.randn(2, 3, 8, 8, 8)
    out = unet(x, torch.tensor([1, 7]))
    assert out.shape == (2, 1, 8, 8, 8)
    assert not torch.equal(out, unet(x, torch.tensor([1, 3])))
    out.square().mean().backward()
    assert [name for name, p in unet.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_prompt_that_is_the_same_everywhere_is_the_same_as_one_cell():
    torch.manual_seed(0)
    unet = LatentUNet(**TINY, prompt=6)
    x, time, prompt = torch.randn(1, 5, 4, 4, 4), torch.tensor([3]), torch.randn(1, 6, 1, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(unet(x, time, prompt), unet(x, time, prompt.expand(-1, -1, 2, 2, 2)))


def test_rotary_positions_depend_on_distance_alone():
    positions = Positions(heads=2, head_dim=8)(12)
    q, k = torch.randn(8), torch.randn(8)
    turned = rotated(q.expand(12, 8), positions.angle) @ rotated(k.expand(12, 8), positions.angle).T
    for distance in (0, 1, 5):
        line = turned.diagonal(distance)
        torch.testing.assert_close(line, line[:1].expand_as(line))
    bias = positions.bias
    assert torch.equal(bias[:, 0, 3], bias[:, 5, 8])
    assert not torch.equal(bias[:, 0, 3], bias[:, 3, 0])


def test_attention_along_depth_is_attention():
    """Against the softmax written out, for one pixel and one head."""
    torch.manual_seed(0)
    layer, positions = Attention(4, 1, 8, depth=True), Positions(1, 8)
    x = torch.randn(1, 4, 5, 1, 1)
    with torch.no_grad():
        places = positions(5)
        rows = layer.norm(x)[0, :, :, 0, 0].T
        q, k, v = layer.inward(rows).chunk(3, -1)
        q, k = rotated(q, places.angle), rotated(k, places.angle)
        weight = (q @ k.T / 8**0.5 + places.bias[0]).softmax(-1)
        expected = x[0, :, :, 0, 0].T + layer.outward(weight @ v)
        torch.testing.assert_close(layer(x, places)[0, :, :, 0, 0].T, expected)


def test_linear_attention_mixes_the_pixels_of_a_slice_and_no_others():
    torch.manual_seed(0)
    layer = LinearAttention(4, 2, 8)
    x = torch.randn(1, 4, 3, 4, 4)
    changed = x.clone()
    changed[:, :, 1, 0, 0] += torch.randn(1, 4)
    with torch.no_grad():
        gap = (layer(changed) - layer(x)).abs().amax((0, 1))
    assert gap[1, 3, 3] > 1e-6
    assert not gap[[0, 2]].any()


def test_random_features_tell_slices_apart_and_are_frozen_and_reproducible():
    a, b = torch.randn(2, 1, 16, 16), torch.randn(2, 1, 16, 16)
    features = Features(seed=3)
    assert not any(p.requires_grad for p in features.parameters())
    assert torch.equal(features(a, a), torch.zeros(2))
    assert (features(a, b) > 0.01).all()
    assert torch.equal(features(a, b), Features(seed=3)(a, b))
    assert not torch.equal(features(a, b), Features(seed=4)(a, b))


def test_features_come_from_a_local_vgg(tmp_path):
    from safetensors.torch import save_file
    from torchvision.models import vgg16

    with torch.device("meta"):
        shapes = vgg16(weights=None).state_dict()
    state = {name: 0.05 * torch.randn(t.shape) for name, t in shapes.items() if name.startswith("features")}
    save_file(state, tmp_path / "vgg16.safetensors")
    a, b = torch.randn(1, 1, 16, 16), torch.randn(1, 1, 16, 16)
    features = Features(tmp_path / "vgg16.safetensors")
    assert features(a, a).item() == 0
    assert features(a, b).item() > 0
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="is not torchvision's VGG-16"):
        Features(tmp_path / "other.safetensors")
