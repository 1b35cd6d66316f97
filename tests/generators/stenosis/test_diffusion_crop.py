"""Windows, conditions, pasting and prompts: all of it numpy."""

import numpy as np
import pytest

from generators.stenosis.diffusion.crop import BLEND_PX, HIDDEN, Window, paste, views
from generators.stenosis.diffusion.prompt import WORDS, prompt


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


def test_paste_fades_in_from_the_border_and_keeps_equal_pixels(frame):
    made = np.full_like(frame, 200)
    source = np.full_like(frame, 100)
    box = (10, 20, 40, 60)
    out = paste(source, made, box)
    assert out.shape == (40, 30)
    np.testing.assert_array_equal(out[20, : BLEND_PX + 2], [125, 150, 175, 200, 200])
    assert (out[BLEND_PX:-BLEND_PX, BLEND_PX:-BLEND_PX] == 200).all()
    np.testing.assert_array_equal(paste(frame, frame, box), frame[20:60, 10:40])


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
