"""Tumours by organ and phase: what is drawn, and that nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.lesion.classes import TUMOURS, home
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.lesion.phase import contrast_range, phase_of
from lesionforge.generators.types import Rejected
from tests.generators.lesion.toys import abdomen, spec

PARAMS = LesionParams(size=72, early=(1, 2), liver_mm=(10.5, 14), kidney_mm=(10.5, 13), keep_source=True)
PLAIN = {1: 57, 2: 33, 3: 42, 4: 48}  # unenhanced organs of ``toys.abdomen``


def unenhanced():
    """The toy abdomen without contrast."""
    source = abdomen()
    hu = source.hu.astype(float)
    for value, level in PLAIN.items():
        own = source.labels == value
        hu[own] += level - np.median(hu[own])
    return replace(source, hu=np.rint(hu).astype(np.int16), source_id="plain")


def made(source, name, n, params=PARAMS):
    for attempt in range(20):
        try:
            (sample,) = LesionGenerator(params).generate([source], [spec(n, name, attempt)])
            return sample
        except Rejected:
            continue
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("levels", "phase"),
    [
        ({"aorta": 42, "liver": 110}, "unenhanced"), ({"aorta": 320, "liver": 70}, "arterial"),
        ({"aorta": 140}, "venous"), ({"liver": 56}, "unenhanced"), ({"kidney_left": 32}, "unenhanced"),
        ({"kidney_left": 130, "liver": 72}, "arterial"), ({"kidney_left": 160, "liver": 108}, "venous"),
        ({"liver": 110}, "venous"), ({"pancreas": 40}, "unenhanced"), ({"spleen": 40}, "venous"),
    ],
)  # fmt: skip
def test_the_phase_is_read_from_aorta_or_organs(levels, phase):
    legend = dict(enumerate(levels, 1))
    labels = np.repeat(np.arange(len(levels) + 1, dtype=np.uint8), 50).reshape(1, 1, -1)
    hu = np.array([0, *levels.values()], np.int16)[labels]
    assert phase_of(hu, labels, legend) == phase


@pytest.mark.parametrize("lesion_class", TUMOURS)
def test_outside_the_stored_mask_nothing_changes_and_the_blend_is_as_wide_as_said(lesion_class):
    for n, source in enumerate((abdomen(), unenhanced())):
        sample = made(source, lesion_class, n)
        ct, before, changed = (sample.fields[f"{name}.npy.zst"] for name in ("ct.delta", "source_ct.delta", "changed"))
        assert changed.dtype == np.uint8
        assert (ct == before)[changed == 0].all()
        assert (ct != before)[changed > 0].mean() > 0.7  # and it is no box about them
        label, phase = sample.fields["label.npy.zst"], sample.labels["phase"]
        assert phase == ("venous", "unenhanced")[n]
        near = np.zeros(label.shape, bool)
        for lesion in sample.labels["lesions"]:
            assert lesion["blend_mm"] <= lesion["radius_mm"] / 3 + 1e-9
            gap = ndimage.distance_transform_edt(label != lesion["label"], sampling=source.spacing_mm)
            near |= gap <= lesion["blend_mm"]
            low, high = contrast_range(home(lesion["class"]), phase)
            if not lesion["necrosis_share"]:
                assert low - 15 <= lesion["contrast_hu"] <= high + 15
        assert not changed[~near].any()


def test_dead_tissue_lies_in_the_core_and_is_as_dark_as_water():
    params = replace(PARAMS, necrosis=1.0, late=(1, 1))
    darker = []
    for n in range(4):
        sample = made(abdomen(sigma=4.0), "kidney_late", n, params)
        (lesion,) = sample.labels["lesions"]
        own = sample.fields["label.npy.zst"] == lesion["label"]
        depth = ndimage.distance_transform_edt(own)
        hu = ndimage.uniform_filter(sample.fields["ct.delta.npy.zst"].astype(float), 3)
        assert 0.2 <= lesion["necrosis_share"] <= 0.6
        assert hu[own].min() < 40
        assert abs(lesion["requested_hu"] - lesion["measured_hu"]) <= 15
        rim = np.median(hu[own & (depth <= 3) & (depth > 1)])
        darker.append(rim - np.median(hu[depth > 0.6 * depth.max()]))
    assert np.mean(darker) > 10


def test_a_phase_may_be_said():
    sample = made(unenhanced(), "liver_early", 0, replace(PARAMS, phase="venous", check_hu=False))
    assert sample.labels["phase"] == "venous"
