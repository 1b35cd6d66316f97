"""Grain of a frame, against Pillow's JPEG codec and noise made by scipy."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lesionforge.generators.stenosis.texture import Texture, jpeg_quality, quantisation, requantise
from lesionforge.generators.types import stream
from tests.generators.vessel import tubes


def scene(seed=0, size=160):
    rng = stream(bytes([seed]), "scene")
    tube = tubes.render(tubes.line(30), tubes.lesion(12, 0, 10), rng, mu=0.03)
    return tube.image[:size, :size]


def through_jpeg(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(buffer.getvalue())))


@pytest.mark.parametrize("quality", [35, 50, 60, 75, 85, 90])
def test_the_quality_of_a_jpeg_is_found(quality):
    """Or a neighbour whose table differs only where the picture has nothing: quantised again it stays as it is."""
    frame = through_jpeg(scene(), quality)
    found = jpeg_quality(frame)
    assert found is not None
    assert abs(found - quality) <= 1
    again = requantise(frame, np.ones(frame.shape, bool), (0, 0), found).astype(int)
    assert np.abs(again - frame).mean() < 0.05


def test_no_jpeg_is_found_where_there_was_none():
    for seed in range(6):
        assert jpeg_quality(scene(seed)) is None
    shifted = through_jpeg(scene(), 75)[3:, 5:]  # its grid does not start at the corner
    assert jpeg_quality(shifted) is None


def test_tables_are_those_of_the_codec():
    for quality in (10, 30, 50, 75, 92, 100):
        buffer = io.BytesIO()
        Image.fromarray(scene()).save(buffer, "JPEG", quality=quality)
        tables = Image.open(io.BytesIO(buffer.getvalue())).quantization
        assert sorted(tables[0]) == sorted(quantisation(quality).ravel().astype(int))


def test_requantised_blocks_are_the_codec_s():
    """A block quantised by us differs from libjpeg's by rounding alone; all others are untouched."""
    source = through_jpeg(scene(), 75)
    edited = source.astype(int)
    edited[37:75, 50:101] += (20 * np.hanning(38)[:, None] * np.hanning(51)).astype(int)
    edited = np.clip(edited, 0, 255).astype(np.uint8)
    box = (slice(32, 80), slice(48, 104))
    ours = requantise(edited[box], edited[box] != source[box], (32, 48), 75).astype(int)
    theirs = through_jpeg(edited, 75)[box].astype(int)
    changed = np.zeros_like(source, bool)
    changed[edited != source] = True
    blocks = changed[box].reshape(6, 8, 7, 8).any(axis=(1, 3)).repeat(8, 0).repeat(8, 1)
    assert blocks.any()
    assert not blocks.all()
    assert np.mean(np.abs(ours - theirs)[blocks]) < 0.1
    assert np.abs(ours - theirs)[blocks].max() <= 4  # a coefficient half-way between two steps
    assert np.array_equal(ours[~blocks], source[box][~blocks])


def test_blocks_cut_by_the_patch_stay():
    source = through_jpeg(scene(), 60)
    patch = source[3:30, 5:40] + np.uint8(1)
    out = requantise(patch, np.ones(patch.shape, bool), (3, 5), 60)
    inner = np.zeros(patch.shape, bool)
    inner[5:21, 3:35] = True
    assert np.array_equal(out[~inner], patch[~inner])


@pytest.mark.parametrize("blur", [0.0, 0.65, 1.0])
def test_fresh_noise_has_the_frame_s_spectrum(blur):
    """Correlation at a distance of one pixel, of noise above 1/8 cycles per px, as scipy's own noise has it."""
    rng = stream(b"noise", str(blur))
    field = rng.normal(0, 4, (256, 256))
    field = ndimage.gaussian_filter(field, blur) if blur else field
    image = np.clip(np.rint(120 + field * 4 / field.std()), 0, 255).astype(np.uint8)
    noise = Texture.of(image).noise(stream(b"fresh", ""), 256, 256)
    assert noise.std() == pytest.approx(1, abs=0.02)
    assert lag_one(noise) == pytest.approx(lag_one(high_pass(image - image.mean())), abs=0.06)


def test_a_black_frame_has_no_noise():
    assert not Texture.of(np.zeros((64, 64), np.uint8)).kernel.any()


def high_pass(field):
    spectrum = np.fft.fft2(field)
    f = np.fft.fftfreq(256)
    spectrum[np.hypot(f[:, None], f[None]) < 1 / 8] = 0
    return np.fft.ifft2(spectrum).real


def lag_one(field):
    return np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1]
