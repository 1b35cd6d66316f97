"""The networks: what starts as nothing, what reaches them, which noise levels they see; a Stable Diffusion folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lesionforge.generators.diffusion.batches import stacked
from lesionforge.generators.stenosis.diffusion.model import StenosisModel
from lesionforge.generators.stenosis.diffusion.preset import PRESETS
from lesionforge.generators.stenosis.diffusion.prompt import prompt
from lesionforge.generators.stenosis.diffusion.sample import StenosisSampler, uint8
from tests.jobs.fit.stable_diffusion import write
from tests.jobs.fit.toy import SIDE, Toy, hole


@pytest.fixture(scope="module")
def tiny():
    return StenosisModel.new(PRESETS["tiny"], seed=0)


@pytest.fixture(scope="module")
def awake():
    """A model whose controls do something, as after fitting."""
    model = StenosisModel.new(PRESETS["tiny"], seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.controls.parameters():
            p += 0.05 * torch.randn(p.shape, generator=generator)
    return model


@pytest.fixture(scope="module")
def batch(tiny):
    toy = Toy(tiny.shape(SIDE))
    return stacked([toy[n] for n in range(3)], "cpu")


def predict(model, batch, strength=(1.0, 1.0)):
    with torch.no_grad():
        text = model.embed(model.tokens(batch["prompt"]))
        return model.predict(batch["noise"], batch["time"], text, (batch["shown"], batch["mask"]), strength)


def test_controls_start_bit_identical_to_the_base(tiny, batch):
    with torch.no_grad():
        text = tiny.embed(tiny.tokens(batch["prompt"]))
        base = tiny.unet(batch["noise"], batch["time"], text).sample
    assert torch.equal(predict(tiny, batch), base)


def test_an_awake_control_changes_the_prediction_and_strength_zero_puts_it_to_sleep(awake, batch):
    with torch.no_grad():
        base = awake.unet(batch["noise"], batch["time"], awake.embed(awake.tokens(batch["prompt"]))).sample
    assert not torch.allclose(predict(awake, batch), base, atol=1e-3)
    assert torch.equal(predict(awake, batch, (0.0, 0.0)), base)


def test_minus_one_reaches_the_network(tiny, batch):
    seen = []
    hooks = [
        net.controlnet_cond_embedding.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        for net in tiny.controls.nets
    ]
    predict(tiny, batch)
    for hook in hooks:
        hook.remove()
    shown, mask = seen
    hidden = torch.from_numpy(hole())
    assert (shown[:, 0][:, hidden] == -1).all()
    assert (shown[:, 0][:, ~hidden] >= 0).all()
    assert set(mask.unique().tolist()) == {0, 1}


def test_folded_pixels_are_latents_without_loss(tiny, batch):
    latents = tiny.encode(batch["image"])
    assert tuple(latents.shape[1:]) == tiny.shape(SIDE)
    np.testing.assert_array_equal(uint8(tiny.decode(latents)), uint8(batch["image"]))


def test_training_and_sampling_have_the_same_noise_levels(awake, batch, monkeypatch):
    """At every step of the sampler, what lies outside the box is exactly what training would have made of it."""
    seen = []
    plain = awake.predict
    monkeypatch.setattr(awake, "predict", lambda *given: (seen.append(given[:2]), plain(*given))[1])
    StenosisSampler(5)(awake, batch)
    free = torch.nn.functional.max_pool2d(batch["hole"], awake.cell) > 0
    assert len(seen) == 5
    for latents, time in seen:
        trained = awake.schedule.add_noise(awake.encode(batch["image"]), batch["noise"], time)
        assert torch.equal(torch.where(free, 0, latents), torch.where(free, 0, trained))


@pytest.mark.parametrize("preset", ["small", "tiny"])
def test_the_noisiest_level_of_models_from_nothing_is_noise_alone(preset):
    from diffusers import DDIMScheduler

    schedule = DDIMScheduler(**PRESETS[preset].schedule)
    assert schedule.alphas_cumprod[-1] == 0
    schedule.set_timesteps(7)
    assert schedule.timesteps[0] == 999  # trailing: sampling starts where training ends


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_perfect_network_gives_the_source_back(batch, kind, monkeypatch):
    """DDIM with an oracle: the target that training asks for is what sampling takes it for."""
    schedule = dict(PRESETS["tiny"].schedule) | {"prediction_type": kind, "rescale_betas_zero_snr": kind != "epsilon"}
    model = StenosisModel.new(replace(PRESETS["tiny"], schedule=schedule), seed=0)
    clean = model.encode(batch["image"])

    def oracle(latents, time, *_):
        signal = model.schedule.alphas_cumprod[time].view(-1, 1, 1, 1)
        noise = (latents - signal.sqrt() * clean) / (1 - signal).sqrt()
        return model.target(clean, noise, time)

    monkeypatch.setattr(model, "predict", oracle)
    made = StenosisSampler(10)(model, batch)
    torch.testing.assert_close(made, batch["image"], atol=2e-4, rtol=0)


def test_the_small_tokenizer_knows_every_word_of_a_prompt(tiny):
    ids = tiny.tokens([prompt("severe", "right", "16c", (28.0, -21.0)), ""])
    tokenizer = tiny.tokenizer
    assert ids.shape == (2, PRESETS["tiny"].text["max_position_embeddings"])
    assert not (ids == tokenizer.unk_token_id).any()
    assert (ids[0] == tokenizer.eos_token_id).sum() == 1  # not cut off
    assert tokenizer.decode(ids[0], skip_special_tokens=True).split()[-2:] == ["severe", "stenosis"]


def test_guidance_is_linear_between_the_empty_prompt_and_the_asked_one(awake, batch):
    asked = {**batch, "prompt": [prompt("severe", "left")] * 3}
    empty = {**batch, "prompt": [""] * 3}
    one, none = predict(awake, asked), predict(awake, empty)
    assert not torch.equal(one, none)
    text = awake.embed(awake.tokens(asked["prompt"] + empty["prompt"]))
    given = (awake, batch["noise"], batch["time"], text, (batch["shown"], batch["mask"]))
    with torch.no_grad():
        for scale, expected in ((0.0, none), (1 + 1e-9, one), (3.0, none + 3 * (one - none))):
            torch.testing.assert_close(StenosisSampler(5, scale)._predict(*given), expected, atol=1e-5, rtol=1e-4)


def test_guidance_one_is_the_conditional_model_alone(awake, batch, monkeypatch):
    sizes = []
    plain = awake.predict
    monkeypatch.setattr(awake, "predict", lambda latents, *rest: (sizes.append(len(latents)), plain(latents, *rest))[1])
    torch.testing.assert_close(
        StenosisSampler(3, 1.0)(awake, batch), StenosisSampler(3, 1.0 + 1e-9)(awake, batch), atol=1e-5, rtol=0
    )
    assert sizes == [3, 3, 3, 6, 6, 6]


def test_bfloat16_makes_nearly_the_same_picture(awake, batch, tmp_path):
    awake.save(tmp_path)
    half = StenosisModel.load(tmp_path).to("cpu", torch.bfloat16)
    whole = StenosisSampler(5)(awake, batch)
    made = StenosisSampler(5)(half, batch)
    assert made.dtype == torch.float32
    assert float((made - whole).abs().mean()) < 0.02 * float(whole.std())


def test_what_the_hole_hides_is_never_looked_at(awake, batch):
    other = {**batch, "image": torch.where(batch["hole"] > 0, torch.rand(batch["image"].shape), batch["image"])}
    assert torch.equal(StenosisSampler(3)(awake, other), StenosisSampler(3)(awake, batch))


def test_weights_are_a_function_of_the_seed_and_leave_torch_s_generator_alone(tiny):
    state = torch.get_rng_state()
    again, other = (StenosisModel.new(PRESETS["tiny"], seed) for seed in (0, 7))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(tiny.unet.parameters(), again.unet.parameters(), strict=True))
    assert not torch.equal(other.unet.conv_in.weight, tiny.unet.conv_in.weight)


def test_a_saved_model_is_the_same_model_without_any_pickle(awake, batch, tmp_path):
    awake.save(tmp_path)
    assert not [f for f in tmp_path.rglob("*") if f.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")]
    assert torch.equal(predict(StenosisModel.load(tmp_path), batch), predict(awake, batch))


def test_the_digest_names_the_weights(tmp_path):
    found = []
    for n, seed in enumerate((0, 0, 1)):
        StenosisModel.new(PRESETS["tiny"], seed).save(tmp_path / str(n))
        found.append(StenosisModel.load(tmp_path / str(n)).settings.digest)
    assert found[0] == found[1] != found[2]
    assert len(found[0]) == 64


def test_a_folder_that_is_no_fitted_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"lesionforge\.json"):
        StenosisModel.load(tmp_path)


# -- sd15


def test_sd15_has_the_published_sizes():
    """ControlNet for Stable Diffusion 1.5: 361 M parameters; the U-Net 860 M. On torch's meta device, no memory."""
    from diffusers import UNet2DConditionModel

    from lesionforge.generators.stenosis.diffusion.model import _controls

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)  # the rest is diffusers' default
        controls = _controls(unet, PRESETS["sd15"].hint, channels=3)
    assert [sum(p.numel() for p in net.parameters()) for net in controls.nets] == [361_279_120] * 2
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory):
    return write(tmp_path_factory.mktemp("stable-diffusion"))


def test_a_local_stable_diffusion_folder_makes_an_image(stable_diffusion, tmp_path):
    model = StenosisModel.on_stable_diffusion(PRESETS["sd15"], stable_diffusion, seed=0)
    assert (model.cell, model.multiple, model.shape(64)) == (8, 16, (4, 8, 8))
    ids = model.tokens([prompt("severe")])
    assert ids.shape == (1, 77)
    assert len(ids.unique()) > 10  # the real tokenizer has read it
    toy = Toy(model.shape(SIDE))
    batch = stacked([toy[n] for n in range(2)], "cpu")
    made = StenosisSampler(4, guidance=3.0)(model, batch)
    assert made.shape == (2, 1, SIDE, SIDE)
    assert torch.isfinite(made).all()
    model.save(tmp_path / "fitted")
    assert torch.equal(StenosisSampler(4, guidance=3.0)(StenosisModel.load(tmp_path / "fitted"), batch), made)


def test_stable_diffusion_s_noise_levels_are_taken_from_its_folder(stable_diffusion):
    model = StenosisModel.on_stable_diffusion(PRESETS["sd15"], stable_diffusion, seed=0)
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    np.testing.assert_allclose(model.schedule.alphas_cumprod, np.cumprod(1 - betas), rtol=1e-4)
    assert model.schedule.config.prediction_type == "epsilon"
    assert float(model.schedule.alphas_cumprod[-1]) == pytest.approx(0.0047, abs=1e-4)


def test_a_stable_diffusion_folder_that_lacks_a_part_is_named(stable_diffusion, tmp_path):
    (tmp_path / "unet").symlink_to(stable_diffusion / "unet")
    with pytest.raises(ValueError, match="no text_encoder, tokenizer, scheduler, vae"):
        StenosisModel.on_stable_diffusion(PRESETS["sd15"], tmp_path, seed=0)
