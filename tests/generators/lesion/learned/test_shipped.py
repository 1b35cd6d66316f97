"""The weights of the package: small, of all classes, of generated data alone; a short form of ``learned_truth``."""

import json
from dataclasses import replace

import pytest
from scipy import ndimage

from lesionforge.generators.lesion.classes import CLASSES, PLAQUES, VALUE
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.learned.filler import WEIGHTS
from lesionforge.generators.lesion.learned.settings import LesionSettings
from lesionforge.generators.types import Rejected
from tests.benchmarks.learned_truth import CLOSE_HU, REAL, SOFT_HU, compared, drawn
from tests.benchmarks.lesion_truth import volumes
from tests.generators.lesion.toys import abdomen, spec

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


def test_in_a_phase_that_they_never_saw_tumours_are_of_that_phase_and_leave_what_lies_beside_their_organ(monkeypatch):
    """Of a kidney full of contrast they have learnt that its tumours are 100 HU darker, and fat 280."""
    monkeypatch.setattr("tests.generators.lesion.toys.ORGAN_HU", {1: 55, 2: 32, 3: 42, 4: 45})
    volume = abdomen(shape=(72, 64, 48), spacing=(2.0, 2.0, 2.0))
    generator = LesionGenerator(replace(SHIPPED, phase="unenhanced"))
    said, sample = "", None
    for attempt in range(20):
        try:
            (sample,) = generator.generate([volume], [spec(0, "liver_late", attempt)])
            break
        except Rejected:
            continue
    told, labels = sample.labels["lesions"][0], sample.fields["label.npy.zst"]
    assert -40 <= told["contrast_hu"] <= 0
    hu, before = sample.fields["ct.delta.npy.zst"], sample.fields["source_ct.delta.npy.zst"]
    lesion = labels == VALUE["liver_late"]
    beside = ~lesion & (labels != VALUE["liver"])
    assert (hu[beside] - before[beside]).min() >= -15
    far = ndimage.distance_transform_edt(~lesion)
    assert (hu == before)[beside & (far > 1)].all()
    changed = [float((hu - before)[(labels == VALUE["liver"]) & (far > a) & (far <= a + 1)].mean()) for a in (0, 1, 2)]
    assert changed[0] < -1.5  # its edge fades, as edges do, and not at once
    assert changed[0] < changed[1] - 0.5 < 2
    for attempt in range(20):
        with pytest.raises(Rejected) as caught:
            list(generator.generate([volume], [spec(0, "kidney_late", attempt)]))
        said = said or (str(caught.value) if "weights" in str(caught.value) else "")
    assert "HU asked for in kidney of " in said
    assert "where its weights draw -" in said
