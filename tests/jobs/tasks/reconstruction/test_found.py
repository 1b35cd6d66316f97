import math
import mmap
from dataclasses import dataclass, replace

import numpy as np
import pytest

from lesionforge.jobs.tasks.reconstruction.found import reconstructed
from lesionforge.jobs.tasks.reconstruction.metrics import volume_scores
from lesionforge.jobs.tasks.reconstruction.paper import SWEEPS
from tests.jobs.tasks.reconstruction import worlds

CHUNK = 40_000_000  # bytes


@dataclass(frozen=True)
class Settings:
    guidance: float = 7.5


class Oracle:
    """Finds the truth, the more of it the stronger its guidance; holds much while it does so."""

    threshold = 0.5

    def __init__(self, settings):
        self.settings = settings

    def varied(self, **changes):
        return Oracle(replace(self.settings, **changes))

    def predict(self, pair):
        held = np.frombuffer(mmap.mmap(-1, CHUNK), np.uint8)  # pages of its own: malloc may hold freed ones
        held[:] = 1
        out = pair.target.astype(np.float32) * 0.8 * held[0]
        out[: round(24 - 2 * self.settings.guidance)] = 0
        return out


@pytest.fixture(scope="module")
def item(trees):
    return worlds.pairs(trees)[0]


def test_scores_cost_and_the_hull_s_beside(item):
    pair = item.read()
    (found,) = reconstructed(Oracle(Settings(12)), [item])
    scores = found.scores()
    assert scores["dsc"] == 1
    assert 10 < scores["psnr"] < 60
    assert scores["seconds"] > 0
    for name, value in volume_scores(pair.target, pair.hull, pair.grid.spacing_mm).items():
        assert scores[f"{name}@hull"] == value
    assert {"dsc_x0", "dsc_x1_eroded", "chamfer_x0@hull"} <= set(scores)


def test_memory_is_of_the_case_not_of_what_was_before(item):
    """After a large array is gone the next case does not count it."""
    large = np.ones(4 * CHUNK, np.uint8)
    del large
    (found,) = reconstructed(Oracle(Settings()), [item])
    if math.isnan(found.memory_mb):
        pytest.skip("this system does not tell the peak of a process")
    (small,) = reconstructed(type("Hull", (), {"threshold": 0.5, "predict": lambda _, pair: pair.hull * 1.0})(), [item])
    assert 0.8 * CHUNK < (found.memory_mb - small.memory_mb) * 1e6 < 2 * CHUNK


def test_a_sweep_tries_the_paper_s_values_on_one_trained_network(item):
    (found,) = reconstructed(Oracle(Settings()), [item], "guidance")
    scores = found.scores()
    swept = [scores[f"dsc@guidance={value:g}"] for value in SWEEPS["guidance"]]
    assert swept == sorted(swept)
    assert swept[-1] == 1 > swept[0] == 0
    (found,) = reconstructed(Oracle(Settings()), [item], "levels")  # it has none
    assert not found.varied


def test_of_a_clinical_pair_only_the_re_projection_is_known(item):
    pair = replace(item.read(), truth=None, paper=None)
    learner = type("Hull", (), {"threshold": 0.5, "predict": lambda _, pair: pair.hull * 1.0})()
    (found,) = reconstructed(learner, [pair])
    names = {name.removesuffix("@hull") for name in found.scores()}
    assert names == {"seconds", "memory_mb"} | {
        f"{score}_x{n}{end}" for n in (0, 1) for score, end in (("dsc", ""), ("dsc", "_eroded"), ("chamfer", ""))
    }
