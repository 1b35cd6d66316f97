"""Pictures as PNG: what other people's readers make of them, how small, how fast."""

import io
import time
import zlib

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy import ndimage

from lesionforge.sinks import png
from lesionforge.sinks.encode import encode

RNG = np.random.default_rng(0)
SHAPE = (256, 256)
FRAME = np.clip(128 + ndimage.gaussian_filter(RNG.normal(0, 400, SHAPE), 6) + RNG.normal(0, 4, SHAPE), 0, 255)
FRAME = FRAME.astype(np.uint8)
MASK = (ndimage.gaussian_filter(RNG.normal(0, 1, SHAPE), 12) > 0.05) * np.uint8(255)
PICTURES = {"frame": FRAME, "mask": MASK}


def pillow(value):
    out = io.BytesIO()
    Image.fromarray(value).save(out, format="PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return out.getvalue()


def read(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 40)] * 2), elements=st.sampled_from([0, 1, 255])),
    st.integers(1, 270),
    st.booleans(),
)
def test_runs_of_any_length_come_back(value, times, wide):
    value = value.repeat(times, axis=1) if wide else value.astype(np.uint16) * 257 + np.uint16(times)
    assert np.array_equal(read(encode("a.png", value)), value)


@pytest.mark.parametrize("name", PICTURES)
def test_it_is_as_small_as_pillow_s_and_takes_half_the_time(name):
    value = PICTURES[name]
    assert np.array_equal(read(encode("a.png", value)), value)
    assert len(encode("a.png", value)) < 1.02 * len(pillow(value))
    if name == "frame":
        assert least(lambda: encode("a.png", value)) < 0.7 * least(lambda: pillow(value))


def test_it_is_written_where_no_kernel_can_be_kept(monkeypatch):
    """As in a read-only image without a home, where Numba finds no place."""

    def nowhere(*_):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(numba.core.dispatcher.Dispatcher, "enable_caching", nowhere)
    png._compiled.cache_clear()
    for value in PICTURES.values():
        assert np.array_equal(read(encode("a.png", value)), value)
    png._compiled.cache_clear()


def least(work):
    """CPU seconds of the fastest of a few times."""
    found = []
    for _ in range(9):
        start = time.thread_time()
        work()
        found.append(time.thread_time() - start)
    return min(found)
