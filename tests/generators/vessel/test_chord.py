"""The blurred chord against closed forms and a brute-force convolution."""

import numpy as np
import pytest

from lesionforge.generators.vessel.chord import blurred_chord, chord_tables, line_of, without_line


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.6])
def test_the_mass_is_the_area_of_the_disc_whatever_the_blur(sigma: float) -> None:
    radius = np.array([0.3, 1.0, 4.0, 9.5])
    t = np.arange(-25, 25.01, 0.05)
    mass = blurred_chord(radius, t, sigma).sum(axis=1) * 0.05
    assert np.allclose(mass, np.pi * radius**2, rtol=1e-6)


@pytest.mark.parametrize("radius", [0.8, 3.0, 8.0])
def test_the_profile_is_the_chord_convolved_with_a_gaussian(radius: float) -> None:
    step, sigma = 0.005, 0.9
    t = np.arange(-15, 15 + step / 2, step)
    chord = 2 * np.sqrt(np.maximum(radius**2 - t**2, 0))
    kernel = np.exp(-0.5 * (t / sigma) ** 2)
    want = np.convolve(chord, kernel / kernel.sum(), mode="same")
    got = blurred_chord(np.array([radius]), t, sigma)[0]
    assert np.abs(got - want)[100:-100].max() < 2e-3 * radius


def test_tables_interpolate_between_their_radii_and_hold_no_line() -> None:
    full, bare = chord_tables(0.9, 14)
    between = np.array([1.03, 3.21, 7.77])
    assert np.abs(full.at(between) - blurred_chord(between, full.t, 0.9)).max() < 0.02
    assert (full.deepest(between) == full.at(between).max(axis=1)).all()
    level, slope = line_of(bare.full, bare.t)
    assert np.abs(level).max() < 1e-9
    assert np.abs(slope).max() < 1e-9
    assert np.allclose(bare.energy, (bare.full**2).sum(axis=1))
    assert (bare.columns == bare.full.T).all()


def test_the_line_taken_out_is_least_squares() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 21))
    t = np.arange(-10, 11) * 0.5
    want = np.stack([row - np.polyval(np.polyfit(t, row, 1), t) for row in rows])
    assert np.allclose(without_line(rows, t), want)
