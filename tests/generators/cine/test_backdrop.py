"""What lies behind vessels: real frames freed of them, held against scenes whose ground is known; their grain."""

import hashlib

import numpy as np
import pytest
import scipy

from lesionforge.engine.sources.pictures.arcade import Arcade, ArcadeOptions
from lesionforge.generators.carm.view import View
from lesionforge.generators.cine.backdrop import chest_backdrop, real_backdrop
from lesionforge.generators.cine.grain import KNOTS, LEVEL, Grain
from lesionforge.generators.cine.removal import cleared, filled, open_field
from lesionforge.generators.types import stream

VIEW = View(1000, 750, -20, 15, 384, 384, (0.4, 0.4))
LAGS = np.array([1, 0.57, 0.1, 0.0])


def lags(grain, clear=None):
    """Correlations of neighbours, down and across, by their definition."""
    out = []
    for axis in (0, 1):
        g = np.moveaxis(grain, axis, 0).astype(float)
        out.append([(g[: len(g) - k] * g[k:]).mean() / (g * g).mean() for k in (1, 2, 3)])
    return np.array(out)


def test_grain_is_as_strong_at_each_level_and_goes_with_its_neighbours_as_told():
    strength = np.interp(np.arange(KNOTS) * LEVEL, [0, 100, 256], [6.0, 4.0, 2.0])
    grain = Grain.of(strength, LAGS, np.array([1, 0.3, 0.0, 0.0]))
    texture = grain.texture(stream(b"a", "grain"), (700, 900))
    assert abs(texture.mean()) < 0.01
    assert texture.std() == pytest.approx(1, abs=0.005)
    assert lags(texture)[:, 0] == pytest.approx([0.57, 0.3], abs=0.02)
    assert lags(texture)[:, 1:] == pytest.approx(np.array([[0.1, 0], [0, 0]]), abs=0.02)
    still = np.tile(np.linspace(0, 255, 1000, dtype=np.float32), (400, 1))
    drawn = grain.draw(stream(b"a", "grain"), still)
    assert drawn[:, :40].std() == pytest.approx(5.9, rel=0.03)
    assert drawn[:, -40:].std() == pytest.approx(2.05, rel=0.03)
    found = Grain.measured(drawn, still, np.ones(still.shape, bool))
    assert found.strength == pytest.approx(grain.strength, rel=0.06)
    assert found.down == pytest.approx(grain.down, abs=0.03)
    assert found.across == pytest.approx(grain.across, abs=0.03)


def test_grain_is_the_same_on_every_machine():
    texture = Grain.of(np.full(KNOTS, 3.0), LAGS, LAGS).texture(stream(b"a", "grain"), (64, 96))
    assert hashlib.sha256(texture.astype("<f4").tobytes()).hexdigest()[:16] == "e9ccb4e599cc3b05"


def test_a_soap_film_hangs_in_a_hole():
    row, col = np.mgrid[:120, :150].astype(np.float32)
    plane = 3 * row - 2 * col + 50  # harmonic: its film is itself
    hole = np.zeros(plane.shape, bool)
    hole[30:60, 40:100] = hole[80:83, 5:140] = True
    film = filled(np.where(hole, np.float32(1e4), plane), hole)
    assert np.array_equal(film[~hole], plane[~hole])
    assert np.abs(film - plane).max() < 6  # of 177 grey levels between the hole's rims


def scene(seed):
    """A procedural frame with tubes and a catheter in it, its ground, and where they are."""
    ground = chest_backdrop(stream(bytes([seed]), "chest"), VIEW)
    row, col = np.mgrid[:384, :384].astype(float)
    passed = np.ones(ground.still.shape)
    t = np.linspace(0, 1, 400)
    ways = [(60 + 240 * t, 90 + 130 * t + 50 * np.sin(5 * t), 9), (120 + 100 * t, 130 + 190 * t, 5)]
    ways.append((90 * t, 0 * t + 80, 7))
    for down, right, width in ways:
        away = np.full(row.shape, np.inf)
        for y, x in zip(down[::4], right[::4], strict=True):
            np.minimum(away, np.hypot(row - y, col - x), out=away)
        passed *= np.exp(-0.35 * np.sqrt(np.maximum(1 - (away / (width / 2)) ** 2, 0)))
    seen = ground.seen(passed.astype(np.float32))
    image = np.clip(np.rint(seen + ground.grain.draw(stream(bytes([seed]), "grain"), seen)), 0, 255).astype(np.uint8)
    return image, ground, (passed < 0.97) & ground.field


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_vessels_go_and_nothing_else_changes(seed):
    image, ground, vessel = scene(seed)
    image.setflags(write=False)
    found = real_backdrop(image)
    before = np.abs(image.astype(float) - ground.still)[vessel].mean()
    after = np.abs(found.still - ground.still)[vessel].mean()
    noise = float(ground.grain.strength[6:10].mean())
    assert after < 0.25 * before
    assert after < 1.2 * noise
    mask = cleared(image, None, stream(hashlib.sha256(image.tobytes()).digest(), "removal")).mask
    assert (mask & vessel).sum() > 0.9 * vessel.sum()
    assert mask.mean() < vessel.mean() + 0.15
    assert np.abs(found.still + found.own_grain - image)[~mask].max() < 0.02  # a single picture keeps every pixel
    again = real_backdrop(image)
    assert np.array_equal(found.still, again.still)
    assert np.array_equal(found.own_grain, again.own_grain)
    new = found.grain.draw(stream(b"b", "grain"), found.still)
    clear = ground.field & ~mask
    told = ground.grain.spread(ground.still)[clear].mean()
    assert new[clear].std() == pytest.approx(told, rel=0.15)
    assert lags(new)[:, 0] == pytest.approx([0.57, 0.57], abs=0.1)
    assert (ground.field == found.field).mean() > 0.97


def test_what_somebody_marked_goes_though_nothing_shows_it():
    image, ground, _ = scene(4)
    known = np.zeros(image.shape, bool)
    known[200:260, 280:330] = True
    known &= ground.field
    assert not cleared(image, None, stream(b"a", "r")).mask[known].all()
    assert cleared(image, known, stream(b"a", "r")).mask[known].all()


def test_the_open_field_is_found_and_a_whole_frame_is_whole():
    image = np.full((200, 240), 120, np.uint8)
    assert open_field(image).all()
    image[:12] = image[:, -5:] = 20
    image[90:130, 100:140] = 25  # dark, but reaches no border
    field = np.ones(image.shape, bool)
    field[:12] = field[:, -5:] = False
    found = open_field(image)
    assert not (found & ~field).any()
    assert (field & ~found).sum() < 3 * (200 + 240)  # within three pixels of the rim
    assert open_field(np.zeros((64, 64), np.uint8)).all()


def test_vessels_of_real_frames_go(data_dir):
    """Marked vessels are darker than what is beside them; hardly so afterwards."""
    source = Arcade(str(data_dir / "arcade"), ArcadeOptions())
    ratios = []
    for case in range(0, source.cases, max(1, source.cases // 6)):
        frame = source.read(case)
        found = real_backdrop(frame.image)
        near = scipy.ndimage.binary_dilation(frame.mask, iterations=9) & ~frame.mask
        before, after = (
            float(np.log(picture[near] + 1.0).mean() - np.log(picture[frame.mask] + 1.0).mean())
            for picture in (frame.image, found.still)
        )
        ratios.append(after / before)
    assert np.median(ratios) < 0.2
    assert max(ratios) < 0.6
