"""What a lesion shows beyond its label: hidden from the networks, and theirs to make; nothing is blurred twice."""

from dataclasses import replace

import numpy as np
import pytest

from lesionforge.generators.lesion.blend import HALO_MM
from lesionforge.generators.lesion.classes import VALUE, home
from lesionforge.generators.lesion.drawing import LesionDrawing
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.learned import LearnedFiller
from lesionforge.generators.lesion.learned.crop import hidden, hounsfield
from lesionforge.generators.lesion.learned.settings import WINDOWS, LesionSettings
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.types import Rejected
from lesionforge.jobs.fit.cubes import Cubes
from lesionforge.jobs.fit.volumes import Volume
from tests.generators.lesion.toys import abdomen, spec, vessel

PARAMS = LesionParams(size=None, early=(1, 1), plaques=(1, 1), keep_source=True, kidney_mm=(10.5, 13))
CLASSES = ("calcified", "non_calcified", "low_attenuation", "mixed", "liver_early", "kidney_late")
WINDOW = WINDOWS["ccta"]
CT, BEFORE = "ct.delta.npy.zst", "source_ct.delta.npy.zst"


class Perfect(LearnedFiller):
    """Draws the very voxels of a lesion that a scanner has seen."""

    def __init__(self, real):
        self._real = real
        self.settings = LesionSettings("promptlesion", 16, WINDOW, (1.0, 1.0, 1.0), preset="none")

    def prepare(self, device):
        """There is nothing to load."""

    def fill(self, patches, rngs):
        return [self._real[patch.memo["box"]].astype(np.float32) for patch in patches]


@pytest.fixture(scope="module", params=CLASSES)
def real(request):
    """A lesion that stands in for a real one, and how it was asked for."""
    kind = request.param
    volume, generator = abdomen() if "_" in kind and kind.split("_")[0] in ("liver", "kidney") else vessel(), None
    generator = LesionGenerator(PARAMS)
    for attempt in range(20):
        try:
            asked = spec(1, kind, attempt)
            (sample,) = generator.generate([volume], [asked])
            return volume, asked, sample
        except Rejected:
            continue
    raise AssertionError(f"{kind} was never accepted")


def test_a_perfect_filler_s_lesion_is_the_real_one(real, monkeypatch):
    """Laid through the blurred mask again, calcium loses 85 HU and every fourth lesion its class."""
    volume, asked, sample = real
    patch = LesionDrawing.patch

    def told(self, least):
        out = patch(self, least)
        out.memo["box"] = self.box
        return out

    monkeypatch.setattr(LesionDrawing, "patch", told)
    generator = LesionGenerator(replace(PARAMS, check_hu=False))
    generator._filler = Perfect(sample.fields[CT])
    (again,) = generator.generate([volume], [asked])
    one, other = sample.labels["lesions"][0], again.labels["lesions"][0]
    assert np.array_equal(again.fields["label.npy.zst"], sample.fields["label.npy.zst"])
    assert other["hu_in_class"]
    assert abs(other["measured_hu"] - one["measured_hu"]) <= 1
    off = int(np.abs(again.fields[CT].astype(int) - sample.fields[CT]).max())
    assert off <= 10  # beyond the hole as well: there the real one shows next to nothing
    untouched = again.fields["changed.npy.zst"] == 0
    assert np.array_equal(again.fields[CT][untouched], again.fields[BEFORE][untouched])


def test_nothing_of_a_lesion_is_seen_while_its_model_is_fitted(real):
    """What is shown is the same whether the lesion is there or not: else its halo tells class and HU."""
    _, _, sample = real
    told, label = sample.labels, sample.fields["label.npy.zst"]
    legend = {int(value): name for value, name in told["legend"].items()}
    classes = ("healthy", told["class"])
    shown = []
    for name in (CT, BEFORE):
        volume = Volume(sample.fields[name], label, legend, tuple(told["spacing_mm"]))
        cubes = Cubes([volume], "leak", 24, WINDOW, classes, healthy=0.0, halo_mm=HALO_MM)
        shown.append([hounsfield(cubes[n]["shown"], WINDOW) for n in range(6)])
    seen = float(np.abs(np.subtract(*shown)).max())
    there = int(np.abs(sample.fields[CT].astype(int) - sample.fields[BEFORE]).max())
    assert seen <= 10
    assert there > 40


def test_other_lesions_are_not_hidden_and_what_bounds_the_vessel_stays():
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[2:4, 4, 4], labels[5, 4, 4] = VALUE["calcified"], VALUE["mixed"]
    legend = {value: name for name, value in VALUE.items()}
    hole = hidden(labels == VALUE["calcified"], labels, legend, 2.0, (1.0, 1.0, 1.0))
    assert hole[1:5, 4, 4].all()
    assert not hole[5, 4, 4]
    assert hole[4, 5, 4]
    assert home("mixed") == "coronary"
