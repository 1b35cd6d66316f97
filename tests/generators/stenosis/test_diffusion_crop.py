"""Windows, conditions, pasting and prompts: all of it numpy."""

import numpy as np
import pytest

from lesionforge.generators.stenosis.diffusion.crop import BLEND_PX, HIDDEN, Window, _membrane, paste, views
from lesionforge.generators.stenosis.diffusion.prompt import WORDS, prompt


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 256, (80, 100), dtype=np.uint8)


@pytest.mark.parametrize("box", [(40, 30, 50, 45), (0, 0, 9, 9), (90, 70, 100, 80), (0, 5, 100, 75), (99, 0, 100, 1)])
def test_a_window_shows_its_box(frame, box):
    window = Window.around(box, frame.shape, 32, 8)
    crop = window.cut(frame)
    x0, y0, x1, y1 = box
    a0, b0, a1, b1 = window.box
    assert crop.shape == (window.side, window.side)
    assert window.side % 8 == 0
    assert window.side >= 32
    np.testing.assert_array_equal(crop[b0:b1, a0:a1], frame[y0:y1, x0:x1])
    assert window.inside().sum() == (x1 - x0) * (y1 - y0)


def test_a_window_stays_in_the_frame_where_it_fits_and_mirrors_it_where_not(frame):
    inside = Window.around((0, 0, 9, 9), frame.shape, 32, 8)
    assert (inside.left, inside.top) == (0, 0)
    large = Window.around((40, 30, 50, 45), frame.shape, 96, 8)
    assert (large.side, large.top) == (96, -8)
    np.testing.assert_array_equal(large.cut(frame)[:8], large.cut(frame)[8:16][::-1])


def test_a_window_refuses_a_box_outside_the_frame(frame):
    with pytest.raises(ValueError, match=r"\(90, 70, 101, 80\)"):
        Window.around((90, 70, 101, 80), frame.shape, 32, 8)


def test_moving_a_window_moves_the_box_the_other_way(frame):
    window = Window.around((40, 30, 50, 45), frame.shape, 32, 8)
    moved = window.moved(5, -4, frame.shape)
    assert (moved.left, moved.top) == (window.left + 5, window.top - 4)
    x0, y0, x1, y1 = moved.box
    np.testing.assert_array_equal(moved.cut(frame)[y0:y1, x0:x1], frame[30:45, 40:50])
    assert window.moved(10**4, 0, frame.shape).left == 100 - 32


def test_hidden_pixels_are_minus_one_and_black_ones_zero(frame):
    frame[0, 0] = 0
    hole = np.zeros(frame.shape, bool)
    hole[10:20, 30:50] = True
    seen = views(frame, frame > 100, hole)
    assert (seen["shown"][0][hole] == HIDDEN).all()
    assert HIDDEN == -1
    np.testing.assert_array_equal(np.rint(seen["shown"][0][~hole] * 255), frame[~hole])
    np.testing.assert_array_equal(np.rint((seen["image"][0] + 1) * 127.5), frame)
    assert set(np.unique(seen["mask"])) == {0, 1}


def test_paste_takes_what_was_made_and_fades_it_in(frame):
    box = (10, 20, 40, 60)
    np.testing.assert_array_equal(paste(frame, frame, box), frame[20:60, 10:40])
    source = np.full_like(frame, 100)
    made = source.copy()
    made[30:50, 18:32] = 200
    out = paste(source, made, box)
    assert out.shape == (40, 30)
    np.testing.assert_array_equal(out, made[20:60, 10:40])
    made[:] = 100
    made[38:42] = 200  # meets the border
    left = paste(source, made, box)[19, : BLEND_PX + 1].astype(int)
    assert (np.diff(left) > 0).all()


def test_paste_takes_away_what_is_too_bright_as_a_whole():
    """A shift, and a slope, are harmonic: the membrane is exactly that."""
    rows, cols = np.mgrid[:80, :100]
    source = (60 + 0.5 * rows + 0.3 * cols).astype(np.uint8)
    for shift in (np.full(source.shape, 25), 0.4 * rows - 0.2 * cols):
        out = paste(source, (source + shift).astype(np.uint8), (10, 20, 40, 60))
        assert abs(out.astype(int) - source[20:60, 10:40]).max() <= 2
    assert paste(np.full_like(source, 250), np.full_like(source, 0), (10, 20, 40, 60)).min() == 250


def test_the_membrane_is_harmonic_and_meets_its_border():
    rows, cols = np.mgrid[:24, :31] / 20
    field = np.exp(rows) * np.cos(cols)  # harmonic
    inner = _membrane(field)
    laplacian = inner[:-2, 1:-1] + inner[2:, 1:-1] + inner[1:-1, :-2] + inner[1:-1, 2:] - 4 * inner[1:-1, 1:-1]
    assert abs(laplacian).max() < 1e-9
    assert abs(inner - field).mean() < 0.03 * np.ptp(field)  # the border is averaged over three pixels


def test_prompts_follow_the_template():
    assert prompt("severe", "right", "2", (28.0, -21.0)) == (
        "coronary angiogram, right coronary artery, segment 2, LAO 30 CAU 20, severe stenosis"
    )
    assert prompt(None) == "coronary angiogram, no stenosis"


def test_the_small_vocabulary_has_every_word_of_the_template():
    words = set()
    for severity in (None, "mild", "moderate", "severe"):
        for segment in (None, "1", "9a", "12b", "16c"):
            for view in (None, (-180.0, 90.0), (176.0, -4.0)):
                words |= set(prompt(severity, "left", segment, view).replace(",", " ,").split())
    assert words <= set(WORDS)
