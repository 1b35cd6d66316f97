"""The abdomen phantom: organs of their size, in their place, with their HU; options of the sources of CT phantoms."""

import hashlib

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.engine.sources.base import SourceError
from lesionforge.engine.sources.phantom import Phantom, PhantomOptions
from lesionforge.generators.phantom.ct.abdomen import LEGEND, phantom_abdomen

VALUE = {name: value for value, name in LEGEND.items()}
MILLILITRES = {"liver": (900, 2600), "kidney": (180, 480), "spleen": (90, 450), "pancreas": (35, 160)}
HU = {"liver": (88, 126), "kidney": (130, 215), "spleen": (100, 140), "pancreas": (60, 112), "aorta": (125, 180)}


def key(n):
    return hashlib.blake2b(f"abdomen/{n}".encode(), digest_size=32).digest()


@pytest.fixture(scope="module")
def subjects():
    return [phantom_abdomen(key(n), "s", shape=(96, 72, 66), spacing_mm=(3.75, 3.75, 3.75)) for n in range(4)]


def test_organs_have_their_size_and_their_hounsfield_units(subjects):
    for volume in subjects:
        ml = np.prod(volume.spacing_mm) / 1000
        for name, (low, high) in MILLILITRES.items():
            assert low < (volume.labels == VALUE[name]).sum() * ml < high, name
        for name, (low, high) in HU.items():
            mask = volume.labels == VALUE[name]
            inner = ndimage.binary_erosion(mask)
            assert low < np.median(volume.hu[inner if inner.sum() > 20 else mask]) < high, name


def test_organs_lie_where_they_do_in_people(subjects):
    for volume in subjects:
        centre = {
            name: np.argwhere(volume.labels == value).mean(0) * volume.spacing_mm + volume.origin_mm
            for name, value in VALUE.items()
            if (volume.labels == value).any()
        }
        assert centre["liver"][0] < -25 < 60 < centre["spleen"][0]  # LPS: +x to the left
        assert centre["kidney"][1] > 25 > centre["stomach"][1]
        assert centre["lung"][2] > centre["liver"][2] > centre["small_bowel"][2]
        parts, count = ndimage.label(volume.labels == VALUE["kidney"])
        sizes = sorted(ndimage.sum_labels(parts > 0, parts, range(1, count + 1)))[-2:]
        assert sizes[0] > 0.4 * sizes[1]  # two of them
        liver, count = ndimage.label(volume.labels == VALUE["liver"])
        assert np.bincount(liver.ravel())[1:].max() > 0.97 * (liver > 0).sum()


def test_subjects_differ_and_one_is_always_the_same(subjects):
    again = phantom_abdomen(key(0), "s", shape=(96, 72, 66), spacing_mm=(3.75, 3.75, 3.75))
    assert again.source_id == subjects[0].source_id
    assert len({v.source_id for v in subjects}) == 4
    volumes = [float((v.labels == VALUE["liver"]).sum()) for v in subjects]
    assert np.std(volumes) / np.mean(volumes) > 0.01


def test_no_tissue_is_laid_half_over_all_others(subjects):
    """Peritoneal fat keeps its HU beside and in front of the organs: a soft edge ends half a voxel away."""
    for volume in subjects:
        fat = (volume.labels == 0) & (volume.hu > -160) & (volume.hu < -40)
        assert np.median(volume.hu[fat]) == pytest.approx(-104, abs=10)
        front = volume.hu[:, :24][fat[:, :24]]
        assert np.median(front) == pytest.approx(np.median(volume.hu[fat]), abs=8)


@pytest.mark.parametrize("kind", ["ccta", "abdomen"])
def test_the_source_makes_them(kind):
    options = PhantomOptions(count=3, shape=(32, 24, 20), spacing_mm=(8.0, 8.0, 8.0), noise_hu=0.0, kernel="soft")
    source = Phantom(kind, options)
    assert (source.subjects, source.cases_per_subject) == (3, 1)
    volume = source.read(1)
    assert volume.hu.shape == (32, 24, 20)
    assert volume.spacing_mm == (8.0, 8.0, 8.0)
    assert volume.subject == "phantom/0/1"
    assert volume.notes["kernel"] == "soft"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": (8, 64, 64)}, "shape is 8: give 16 or more"),
        ({"shape": (4096, 4096, 4096)}, "in all at most"),
        ({"spacing_mm": (0.01, 1, 1)}, "spacing_mm is 0.01: give 0.2 to 10"),
        ({"noise_hu": -1}, "noise_hu is -1: give 0 to 200"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        PhantomOptions(**options)


def test_unknown_phantoms_are_told_with_those_there_are():
    with pytest.raises(SourceError, match="phantom:ccta, phantom:abdomen"):
        Phantom("brain", PhantomOptions())
