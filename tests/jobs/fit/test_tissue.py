"""What a fitted model is told of its lesions: HU beside their organ, what is uneven by itself, the scan's grain."""

import numpy as np
import pytest

from lesionforge.generators.lesion.learned.settings import LesionSettings
from lesionforge.jobs.fit import tissue
from lesionforge.jobs.fit.volumes import Volume

KINDS = ("liver_early", "kidney_early")
LEGEND = {1: "liver", 2: "kidney", 3: "liver_early", 4: "kidney_early"}
GRAIN, UNEVEN = 10.0, 30.0


def volume(rng, kind, level, contrast, radius=6.0):
    """A ball in its organ under white noise; the kidney's has more of it, the liver's half of the scan's."""
    at = np.indices((32, 32, 32)) - 15.5
    ball = (at**2).sum(0) <= radius**2
    sd = np.where(ball, np.hypot(GRAIN, UNEVEN) if kind == KINDS[1] else GRAIN / 2, GRAIN)
    hu = level + contrast * ball + sd * rng.standard_normal(ball.shape)
    labels = np.full(ball.shape, 1 + KINDS.index(kind), np.uint8)
    labels[ball] = 3 + KINDS.index(kind)
    return Volume(np.rint(hu).astype(np.int16), labels, LEGEND, (1.0, 1.0, 1.0))


def test_hu_follow_the_organ_and_grain_is_told_from_what_is_uneven():
    rng = np.random.default_rng(3)
    contrasts = rng.uniform(-60, -20, 12)
    organs = {kind: rng.uniform(80, 200, len(contrasts)) for kind in KINDS}
    levels = {kind: [organs[kind].min(), organs[kind].max()] for kind in KINDS}
    some = [volume(rng, k, organ, c) for k in KINDS for organ, c in zip(organs[k], contrasts, strict=True)]
    own = LesionSettings(
        "promptlesion", 16, (-1000.0, 1800.0), (1.0, 1.0, 1.0), classes=("healthy", *KINDS), preset="voxel"
    )
    read = tissue.read(some, own)
    hu, grain = read["hu"], read["grain"]
    for kind in KINDS:
        assert read["levels_hu"][kind] == pytest.approx(levels[kind], abs=8)
        slope, rest = hu[kind]["follows"], hu[kind]["rest"]
        assert slope == pytest.approx(1, abs=0.3)
        assert len(rest) == len(contrasts)
        assert rest == sorted(rest)
        seen = [slope * level + part for level in (140.0,) for part in (rest[0], rest[-1])]
        assert seen == pytest.approx([140 + contrasts.min(), 140 + contrasts.max()], abs=12)
    assert grain["liver_early"] == pytest.approx([0, 0.5], abs=0.1)
    assert grain["kidney_early"] == pytest.approx([UNEVEN, 1], rel=0.15)


def test_each_size_has_its_hu():
    """Large balls are 60 HU darker than their organ, small ones 20."""
    rng = np.random.default_rng(4)
    radii = [3.0, 8.0] * 5
    some = [volume(rng, KINDS[0], 110.0, -20.0 if radius < 5 else -60.0, radius) for radius in radii]
    own = LesionSettings(
        "promptlesion", 16, (-1000.0, 1800.0), (1.0, 1.0, 1.0), classes=("healthy", KINDS[0]), preset="voxel"
    )
    found = tissue.read(some, own)["hu"][KINDS[0]]
    for rest, radius in zip(found["rest"], found["radius_mm"], strict=True):
        large = radius > 5
        assert radius == pytest.approx(8 if large else 3, abs=0.2)
        assert rest + found["follows"] * 110 == pytest.approx(50 if large else 90, abs=6)
