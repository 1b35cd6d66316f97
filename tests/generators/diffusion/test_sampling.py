"""One schedule for training and sampling: published numbers, and steps against their formulas."""

import numpy as np
import pytest
import torch

from lesionforge.generators.diffusion.sampling import cosine


def test_four_levels_are_the_published_ones():
    schedule = cosine(4)
    np.testing.assert_allclose(schedule.betas, [0.153, 0.417, 0.708, 0.9999], atol=5e-4)
    np.testing.assert_allclose(schedule.alphas_cumprod[:3], [0.847, 0.494, 0.144], atol=5e-4)
    assert schedule.alphas_cumprod[3] == pytest.approx(1.44e-5, rel=0.01)


@pytest.mark.parametrize("levels", [4, 200, 250])
def test_signal_follows_the_cosine_until_the_cut(levels):
    t = (np.arange(levels + 1) / levels + 0.008) / 1.008 * np.pi / 2
    expected = np.cos(t) ** 2 / np.cos(t[0]) ** 2
    np.testing.assert_allclose(cosine(levels).alphas_cumprod[:-1], expected[1:-1], rtol=1e-3, atol=1e-6)


def test_fifty_ddim_steps_of_200_levels():
    schedule = cosine(200)
    schedule.set_timesteps(50)
    assert schedule.timesteps.tolist() == list(range(199, 0, -4))


@pytest.mark.parametrize(("levels", "steps"), [(200, 50), (4, 4)])
def test_ddim_with_the_true_noise_gives_the_image_back(levels, steps):
    schedule = cosine(levels)
    schedule.set_timesteps(steps)
    torch.manual_seed(0)
    clean = torch.rand(1, 2, 4, 4, 4, dtype=torch.float64) * 1.8 - 0.9
    noise = torch.randn(clean.shape, dtype=torch.float64)
    x = schedule.add_noise(clean, noise, schedule.timesteps[:1])
    for time in schedule.timesteps:
        signal = schedule.alphas_cumprod[time].double()
        true = (x - signal.sqrt() * clean) / (1 - signal).sqrt()
        x = schedule.step(true, time, x, eta=0.0, use_clipped_model_output=True).prev_sample
    torch.testing.assert_close(x, clean, atol=1e-4, rtol=0)


def test_all_levels_with_fresh_noise_are_ddpm_s_ancestral_steps():
    """Posterior mean and variance of Ho et al. 2020, eq. 7, from the predicted image cut to -1 ... 1."""
    schedule = cosine(4)
    schedule.set_timesteps(4)
    torch.manual_seed(0)
    x, out, fresh = (torch.randn(1, 1, 3, 3, 3, dtype=torch.float64) for _ in range(3))
    for time in (3, 2, 1):
        now, before = (schedule.alphas_cumprod[t].double() for t in (time, time - 1))
        beta = 1 - now / before
        image = ((x - (1 - now).sqrt() * out) / now.sqrt()).clamp(-1, 1)
        mean = before.sqrt() * beta / (1 - now) * image + (now / before).sqrt() * (1 - before) / (1 - now) * x
        expected = mean + ((1 - before) / (1 - now) * beta).sqrt() * fresh
        made = schedule.step(out, time, x, eta=1.0, use_clipped_model_output=True, variance_noise=fresh).prev_sample
        torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)
