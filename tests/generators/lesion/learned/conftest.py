"""Tiny models with random weights."""

from dataclasses import replace

import pytest

from lesionforge.generators.lesion.learned.model import LesionModel, networks
from lesionforge.generators.lesion.learned.settings import BEND_HU, BENT_WINDOW, PRESETS, LesionSettings

CLASSES = ("healthy", "calcified", "non_calcified")


def new(backend, seed=0, preset="tiny", **changes):
    """A tiny model of 8 levels, as a fit would begin with."""
    preset = PRESETS[preset]
    if preset.voxels:
        changes |= {"window": BENT_WINDOW, "bend_hu": BEND_HU}
    own = LesionSettings(
        backend, preset.side, (-200.0, 900.0), (1.0, 1.0, 1.0), networks(backend, preset, len(CLASSES)),
        CLASSES, preset="tiny", levels=8, steps=4, strength=0.75 if backend.startswith("prompt") else 1.0,
    )  # fmt: skip
    return LesionModel.new(replace(own, **changes), seed)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A saved model of each backend."""
    out = {}
    for backend in ("difftumor", "medddpm", "promptlesion", "promptlesion-mask"):
        out[backend] = tmp_path_factory.mktemp("models") / backend
        new(backend).save(out[backend])
    return out
