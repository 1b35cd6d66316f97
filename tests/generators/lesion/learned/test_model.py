"""What the networks are shown and told: no leak of the lesion, a prompt that counts, folders that hold all of it."""

import numpy as np
import pytest
import torch

from lesionforge.generators.diffusion.batches import stacked
from lesionforge.generators.lesion.learned.crop import views
from lesionforge.generators.lesion.learned.model import LesionModel
from lesionforge.generators.lesion.learned.settings import BACKENDS
from tests.generators.lesion.learned.conftest import CLASSES, new

SIDE = 16


def cube(seed=0, lesion=1, inside_hu=None):
    """One cube with a box for a lesion; ``inside_hu`` is added there."""
    rng = np.random.default_rng(seed)
    hu = rng.normal(50, 100, (SIDE,) * 3).astype(np.float32)
    hole = np.zeros((SIDE,) * 3, bool)
    hole[5:9, 6:11, 7:10] = True
    if inside_hu is not None:
        hu[hole] += inside_hu
    region = np.zeros((len(CLASSES), *hole.shape), np.uint8)
    region[lesion][hole] = 1
    return views(hu, hole, region, lesion, (-200.0, 900.0))


def batch(*rows):
    return stacked(rows, "cpu")


# -- the condition


def masked_latent(model, given):
    """What the paper's text says in place of it: the encoded image, masked among the latents."""
    return model.encode(given["image"]) * (1 - model.free(given["hole"]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_changing_voxels_of_the_lesion_leaves_the_condition_bit_identical(backend):
    """No lesion leaks into the latents around it; a condition masked after the encoder fails this test."""
    model = new(backend)
    before, after = batch(cube()), batch(cube(inside_hu=300))
    assert not torch.equal(before["image"], after["image"])
    with torch.no_grad():
        assert torch.equal(model.condition(before), model.condition(after))
        if model.vqgan is not None:
            assert not torch.equal(masked_latent(model, before), masked_latent(model, after))


def test_the_condition_shows_the_surroundings_and_every_cell_of_the_lesion():
    model = new("promptlesion")
    given, other = batch(cube()), batch(cube(seed=1))
    with torch.no_grad():
        shown, other_shown = model.condition(given), model.condition(other)
    assert not torch.equal(shown[:, :-1], other_shown[:, :-1])
    free = shown[0, -1] > 0
    assert set(shown[0, -1].unique().tolist()) == {-1.0, 1.0}
    cells = given["hole"][0, 0].reshape(4, 4, 4, 4, 4, 4).amax((1, 3, 5)) > 0
    assert torch.equal(free, cells)


def test_a_single_voxel_still_has_a_cell():
    """DiffTumor's nearest-neighbour mask can lose it."""
    model = new("difftumor")
    hole = torch.zeros(1, 1, SIDE, SIDE, SIDE)
    hole[0, 0, 1, 2, 3] = 1
    assert model.free(hole).sum() == 1


# -- the prompt


def noise_of(model, given, lesion, drop=False):
    """The predicted noise of one and the same noisy latent."""
    told = {**given, "lesion": torch.tensor([lesion]), "drop": torch.tensor([drop])}
    told["regions"] = torch.zeros_like(given["regions"])
    told["regions"][:, lesion] = given["hole"][:, 0].to(torch.uint8)
    noisy = torch.from_numpy(np.random.default_rng(0).standard_normal((1, *model.shape()), np.float32))
    with torch.no_grad():
        return model.predict(noisy, torch.tensor([3]), model.condition(told), told)


@pytest.mark.parametrize("backend", ["promptlesion", "promptlesion-mask"])
def test_another_prompt_gives_another_output_and_the_same_the_same(backend):
    model, given = new(backend), batch(cube())
    outputs = [noise_of(model, given, lesion) for lesion in (1, 2, 1)]
    nothing = [noise_of(model, given, lesion, drop=True) for lesion in (1, 2)]
    assert torch.equal(outputs[0], outputs[2])
    assert (outputs[0] - outputs[1]).abs().max() > 1e-4
    assert torch.equal(nothing[0], nothing[1])
    assert (nothing[0] - outputs[0]).abs().max() > 1e-4


def test_difftumor_knows_no_class():
    model, given = new("difftumor"), batch(cube())
    assert torch.equal(noise_of(model, given, 1), noise_of(model, given, 2))


def test_med_ddpm_knows_the_class_by_its_mask_alone():
    model, given = new("medddpm"), batch(cube())
    assert (noise_of(model, given, 1) - noise_of(model, given, 2)).abs().max() > 1e-4


@pytest.mark.parametrize("lesion", [0, 1, 2])
def test_a_prompt_s_row_gets_gradient_from_its_class_alone(lesion):
    model, given = new("promptlesion"), batch(cube(lesion=max(lesion, 1)), cube(1, max(lesion, 1)))
    given["lesion"] = torch.tensor([lesion, lesion])
    noisy = torch.randn(2, *model.shape())
    model.predict(noisy, torch.tensor([1, 5]), model.condition(given), given).square().mean().backward()
    touched = model.prompt.rows.weight.grad.abs().sum(1) > 0
    assert touched.tolist() == [n == lesion for n in range(len(CLASSES) + 1)]


def test_a_dropped_prompt_teaches_the_row_of_no_prompt_alone():
    model, given = new("promptlesion"), batch(cube())
    given["drop"] = torch.tensor([True])
    model.predict(torch.randn(1, *model.shape()), torch.tensor([1]), model.condition(given), given).sum().backward()
    touched = model.prompt.rows.weight.grad.abs().sum(1) > 0
    assert touched.tolist() == [False, False, False, True]


def test_the_prompt_reaches_every_scale_of_the_decoder():
    model, given = new("promptlesion"), batch(cube())
    model.predict(torch.randn(1, *model.shape()), torch.tensor([1]), model.condition(given), given).sum().backward()
    blocks = model.unet.prompts
    assert len(blocks) == 2
    assert all(block.modulate.weight.grad.any() for block in blocks)


def test_the_transformer_has_the_paper_s_three_layers_and_sees_where_lesions_are():
    model = new("promptlesion-mask")
    assert len(model.prompt.encoder.layers) == 3
    left, right = (torch.zeros(1, 3, SIDE, SIDE, SIDE, dtype=torch.uint8) for _ in range(2))
    left[:, 1, :4, :4, :4] = 1
    right[:, 1, -4:, -4:, -4:] = 1
    with torch.no_grad():
        a, b = (model.prompt(None, mask, torch.tensor([False])) for mask in (left, right))
    assert a.shape == (1, 16, 4, 4, 4)
    assert ((a - b).abs().amax(1) > 1e-4).all()  # every patch knows of all others


# -- folders


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_saved_model_comes_back(folders, backend, tmp_path):
    model = LesionModel.load(folders[backend])
    assert {f.suffix for f in folders[backend].iterdir()} == {".safetensors", ".json"}
    given = batch(cube())
    torch.testing.assert_close(noise_of(model, given, 1), noise_of(new(backend), given, 1), atol=1e-5, rtol=1e-5)
    model.save(tmp_path / "again")
    assert LesionModel.load(tmp_path / "again").settings == model.settings
    new(backend, seed=1).save(tmp_path / "other")
    assert LesionModel.load(tmp_path / "other").settings.digest != model.settings.digest


def test_what_is_no_model_is_named(folders, tmp_path):
    with pytest.raises(ValueError, match=r"lesionforge\.json is missing: give the folder"):
        LesionModel.load(tmp_path)
    (tmp_path / "lesionforge.json").write_text("{}")
    with pytest.raises(ValueError, match="not of this version"):
        LesionModel.load(tmp_path)
    text = (folders["promptlesion"] / "lesionforge.json").read_text()
    (tmp_path / "lesionforge.json").write_text(text)
    with pytest.raises(ValueError, match=r"vqgan\.safetensors is missing"):
        LesionModel.load(tmp_path)
    for name in ("vqgan", "unet", "prompt"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(ValueError, match=r"vqgan\.safetensors does not fit"):
        LesionModel.load(tmp_path)
    other = LesionModel.new(LesionModel.load(folders["promptlesion"]).settings, seed=9)
    other.save(tmp_path)
    (tmp_path / "lesionforge.json").write_text(text)
    with pytest.raises(ValueError, match="are not those that its"):
        LesionModel.load(tmp_path)
