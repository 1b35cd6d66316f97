"""The weights of the package: small, of all classes, of generated data alone; a short form of ``learned_truth``."""

import json
from dataclasses import replace

import pytest

from lesionforge.generators.lesion.classes import CLASSES, PLAQUES
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.learned.filler import WEIGHTS
from lesionforge.generators.lesion.learned.settings import LesionSettings
from tests.benchmarks.learned_truth import CLOSE_HU, REAL, SOFT_HU, compared, drawn
from tests.benchmarks.lesion_truth import volumes

SHIPPED = replace(REAL, backend="promptlesion", liver_mm=(10.5, 13), spotty=0.0)  # four spots say little


@pytest.fixture(scope="module")
def backgrounds():
    """Phantoms, none of which it was fitted on."""
    return volumes(1, ("plaque", "tumour"))


def test_they_are_small_and_their_card_says_what_made_them():
    own, card = LesionSettings.load(WEIGHTS), json.loads((WEIGHTS / "card.json").read_text())
    assert own.classes == CLASSES
    assert own.backend == "promptlesion"
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir() if file.is_file()) < 3e6
    assert {source["uri"].split(":")[0] for one in card["data"] for source in one["recipe"]["sources"]} == {"phantom"}
    assert card["settings"]["seed"] == 0
    assert "home" not in json.dumps(card)


@pytest.mark.parametrize("kind", ["calcified", "liver_late"])
def test_lesions_are_of_their_class_unchecked(backgrounds, kind):
    some = backgrounds["plaque" if kind in PLAQUES else "tumour"]
    row, _ = compared(kind, some, replace(SHIPPED, check_hu=False), 4, (0,))
    assert row["n"] >= 3
    assert row["in_class"] >= 0.8
    assert abs(row["hu"] - row["real_hu"]) <= 3 * CLOSE_HU.get(kind, SOFT_HU)  # of few lesions
    assert 0.6 < row["grain"] / row["real_grain"] < 1.6


@pytest.mark.parametrize("kind", ["mixed", "pancreas_early"])
def test_checked_they_have_the_hu_that_are_asked_for(backgrounds, kind):
    generator = LesionGenerator(SHIPPED)
    sample, _ = drawn(generator, backgrounds["plaque" if kind in PLAQUES else "tumour"][0], kind, kind, 10)
    told = sample.labels["lesions"][0]
    assert told["hu_in_class"]
    assert abs(told["measured_hu"] - told["requested_hu"]) <= 3
    assert len(sample.drawn["weights"]) == 64
