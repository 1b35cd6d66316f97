from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.base import Generator
from lesionforge.generators.lesion import blend
from lesionforge.generators.lesion.classes import CLASSES, LABELS, LEGEND, PLAQUE_HU, PLAQUES, TUMOURS, VALUE, home
from lesionforge.generators.lesion.filler import Filler, OwnHu
from lesionforge.generators.lesion.generator import LesionGenerator
from lesionforge.generators.lesion.params import LesionParams
from lesionforge.generators.types import BadCase, Rejected
from tests.generators.lesion.toys import abdomen, spec, vessel

PARAMS = LesionParams(size=64, liver_mm=(10.5, 16), kidney_mm=(10.5, 14), keep_source=True, plaques=(1, 1))


@pytest.fixture(scope="module")
def volumes():
    return {"plaque": vessel(), "tumour": abdomen()}


def made(volumes, lesion_class, n=0, params=PARAMS, tries=20):
    """A sample, drawn again as the engine would."""
    generator = LesionGenerator(params)
    volume = volumes["plaque" if lesion_class in PLAQUES else "tumour"]
    for attempt in range(tries):
        try:
            (sample,) = generator.generate([volume], [spec(n, lesion_class, attempt)])
            return sample
        except Rejected:
            continue
    raise AssertionError(f"{lesion_class} was never accepted")


def test_it_is_a_generator():
    assert isinstance(LesionGenerator(PARAMS), Generator)
    assert len(set(LABELS)) == len(LABELS)
    assert set(CLASSES[1:]) < set(LABELS)


def test_a_wide_margin_fades_into_its_organ_and_not_into_what_lies_beside_it(volumes):
    wide = replace(PARAMS, size=None, liver_mm=(15, 18), blend=(0.33, 0.33))
    sample = made(volumes, "liver_late", params=wide)
    label, changed = sample.fields["label.npy.zst"], sample.fields["changed.npy.zst"] > 0
    far = ndimage.distance_transform_edt(label != VALUE["liver_late"], sampling=sample.labels["spacing_mm"])
    assert not changed[(label != VALUE["liver"]) & (far > 1.6)].any()
    assert changed[(label == VALUE["liver"]) & (far > 3)].any()


@pytest.mark.parametrize("lesion_class", CLASSES[1:])
def test_a_sample_of_each_class(volumes, lesion_class):
    sample = made(volumes, lesion_class)
    ct, before, label = (
        sample.fields[name] for name in ("ct.delta.npy.zst", "source_ct.delta.npy.zst", "label.npy.zst")
    )
    lesions = sample.labels["lesions"]
    assert lesions[0]["class"] == lesion_class == sample.labels["class"]
    assert (ct.dtype, label.dtype, ct.shape) == (np.int16, np.uint8, label.shape)
    assert set(np.unique(label)) <= set(LEGEND)
    # Nothing outside of the blended masks has changed, bit by bit.
    weight = np.zeros(ct.shape, np.float32)
    for lesion, drawn in zip(lesions, sample.drawn["lesions"], strict=True):
        box = tuple(slice(a, b) for a, b in zip(lesion["box"][:3], lesion["box"][3:], strict=True))
        own = np.zeros(ct.shape, bool)
        own[box] = label[box] == lesion["label"]
        weight = np.maximum(weight, blend.weights(own, drawn["sigma_mm"], sample.labels["spacing_mm"]))
        assert drawn["sigma_mm"] <= lesion["radius_mm"] / 3 + 1e-9
        assert own.any()
        assert lesion["hu_in_class"]
        assert abs(lesion["requested_hu"] - lesion["measured_hu"]) <= PARAMS.hu_tolerance
        where = np.argwhere(own)
        assert lesion["box"] == [*where.min(axis=0), *(where.max(axis=0) + 1)]
    assert (ct[weight == 0] == before[weight == 0]).all()
    assert (ct != before).any()
    assert sample.measured["changed_voxels"] == (ct != before).sum()
    if lesion_class in PLAQUES:
        low, high = PLAQUE_HU[lesion_class].low, PLAQUE_HU[lesion_class].high
        assert low <= lesions[0]["measured_hu"] <= high
        first = lesions[0]
        assert first["requested_ds_by"] == "hu"
        assert abs(first["requested_ds"] - first["measured_ds_hu"]) <= PARAMS.ds_tolerance
        assert first["mla_hu_mm2"] == pytest.approx(np.pi / 4 * first["mld_hu_mm"] ** 2)
        assert sample.measured["percent_ds_hu"] == first["measured_ds_hu"]
        assert sample.measured["percent_ds"] == first["measured_ds"]
        assert lesions[0]["area_stenosis"] == pytest.approx(100 * (1 - (1 - lesions[0]["measured_ds"] / 100) ** 2))
    else:
        assert lesions[0]["contrast_hu"] < -15
        assert lesions[0]["measured_volume_mm3"] == pytest.approx(lesions[0]["requested_volume_mm3"], rel=0.15)


@pytest.mark.parametrize("kind", ["plaque", "tumour"])
def test_healthy_is_the_background_bit_by_bit(volumes, kind):
    generator = LesionGenerator(PARAMS)
    (sample,) = generator.generate([volumes[kind]], [spec(0, "healthy")])
    assert (sample.fields["ct.delta.npy.zst"] == sample.fields["source_ct.delta.npy.zst"]).all()
    i, j, k = sample.drawn["corner"]
    n0, n1, n2 = sample.fields["ct.delta.npy.zst"].shape
    assert (sample.fields["ct.delta.npy.zst"] == volumes[kind].hu[i : i + n0, j : j + n1, k : k + n2]).all()
    assert sample.labels["lesions"] == []
    assert sample.measured["lesions"] == 0
    assert sample.fields["label.npy.zst"].any()


def test_a_sample_depends_on_nothing_but_its_spec(volumes):
    specs = [spec(n, "liver_early") for n in range(3)]
    volume = volumes["tumour"]
    together = list(LesionGenerator(PARAMS).generate([volume] * 3, specs))
    generator = LesionGenerator(PARAMS)
    for n in (2, 0, 1):
        (alone,) = generator.generate([volume], [specs[n]])
        assert alone.labels == together[n].labels
        assert (alone.fields["ct.delta.npy.zst"] == together[n].fields["ct.delta.npy.zst"]).all()
    (again,) = generator.generate([volume], [replace(specs[0], attempt=1)])
    assert again.labels["lesions"][0]["centre_voxel"] != together[0].labels["lesions"][0]["centre_voxel"]
    assert len({tuple(s.labels["lesions"][0]["centre_voxel"]) for s in together}) == 3


def test_several_lesions_and_classes_in_one_volume(volumes):
    params = LesionParams(size=None, early=(3, 3), others=(2, 2), liver_mm=(10.5, 14), kidney_mm=(10.5, 13))
    sample = made(volumes, "liver_early", 4, params)
    label, lesions = sample.fields["label.npy.zst"], sample.labels["lesions"]
    assert label.shape == volumes["tumour"].hu.shape
    counts = Counter(lesion["class"] for lesion in lesions)
    assert counts["liver_early"] >= 2
    assert len(counts) >= 2
    for name, count in counts.items():
        assert ndimage.label(label == VALUE[name])[1] == count  # none touch
    voxel = np.prod(sample.labels["spacing_mm"])
    total = sum(lesion["measured_volume_mm3"] for lesion in lesions)
    assert total == pytest.approx(np.isin(label, [VALUE[c] for c in TUMOURS]).sum() * voxel)


def test_what_the_volume_does_not_show_is_a_bad_case(volumes):
    generator = LesionGenerator(PARAMS)  # one for all: what it remembers is of these labels, not of this CT
    with pytest.raises(BadCase, match="no coronary"):
        list(generator.generate([volumes["tumour"]], [spec(0, "calcified")]))
    bare = replace(volumes["tumour"], labels=None)
    empty = replace(volumes["tumour"], legend=dict.fromkeys(volumes["tumour"].legend, "spleen"))
    with pytest.raises(BadCase, match="no labels"):
        list(generator.generate([bare], [spec(0, "liver_early")]))
    with pytest.raises(BadCase, match="no label of what these lie in"):
        list(generator.generate([empty], [spec(0)]))


def test_without_a_balance_every_class_that_has_a_place_comes_up(volumes):
    generator = LesionGenerator(PARAMS)
    seen = set()
    for n in range(40):
        try:
            (sample,) = generator.generate([volumes["tumour"]], [spec(n)])
        except Rejected:
            continue
        seen.add(sample.labels["class"])
    assert seen <= set(TUMOURS)
    assert len(seen) >= 4


def test_mass_effect_moves_what_lies_within_two_radii(volumes):
    params = replace(PARAMS, mass_effect=0.3, late=(1, 1))
    sample = made(volumes, "liver_late", 2, params)
    ct, before = sample.fields["ct.delta.npy.zst"], sample.fields["source_ct.delta.npy.zst"]
    lesion, spacing = sample.labels["lesions"][0], np.array(sample.labels["spacing_mm"])
    far = np.sqrt((((np.argwhere(ct != before) - lesion["centre_voxel"]) * spacing) ** 2).sum(axis=1))
    reach = max(2 * lesion["radius_mm"], 4 * sample.drawn["lesions"][0]["sigma_mm"] + 2 * lesion["radius_mm"])
    assert far.max() <= reach + spacing.max()
    plain = made(volumes, "liver_late", 2, replace(PARAMS, late=(1, 1)))
    assert sample.measured["changed_voxels"] > plain.measured["changed_voxels"]


def test_a_backend_that_ignores_hu_is_asked_once_and_measured(volumes, monkeypatch):
    class Flat(Filler):
        calls = 0
        patch_voxels = 48

        def fill(self, patches, rngs):
            Flat.calls += 1
            assert all(min(p.hu.shape) >= 48 for p in patches)
            assert all((p.others[p.mask] == VALUE[home(p.lesion_class)]).all() for p in patches)
            return [np.full(p.hu.shape, 70, np.float32) for p in patches]

    monkeypatch.setattr("lesionforge.generators.lesion.generator.open_backend", lambda params: Flat())
    params = replace(PARAMS, check_hu=False, early=(1, 1), early_mm=(7, 9))
    sample = made(volumes, "liver_early", 1, params)
    assert sample.labels["lesions"][0]["measured_hu"] == pytest.approx(70, abs=6)
    count = Flat.calls
    made(volumes, "liver_early", 1, params)
    assert Flat.calls == 2 * count
    with pytest.raises(AssertionError, match="never accepted"):
        made(volumes, "liver_early", 1, replace(params, check_hu=True, hu_tolerance=1), tries=2)


def test_a_backend_with_hu_of_its_own_is_asked_for_them_and_held_to_them(volumes, monkeypatch):
    """200 HU in the liver are no tumour's by the table, but all that this one has seen."""
    drawn = [200.0]

    class Own(Filler):
        def own_hu(self, patch, rng):
            return OwnHu(200.0, 190.0, 210.0)

        def fill(self, patches, rngs):
            return [np.full(p.hu.shape, drawn[0], np.float32) for p in patches]

    monkeypatch.setattr("lesionforge.generators.lesion.generator.open_backend", lambda params: Own())
    params = replace(PARAMS, early=(1, 1), early_mm=(7, 9), hu_tolerance=15)
    told = made(volumes, "liver_early", 1, params).labels["lesions"][0]
    assert told["requested_hu"] == 200
    assert told["hu_in_class"]
    drawn[0] = 70.0
    with pytest.raises(AssertionError, match="never accepted"):
        made(volumes, "liver_early", 1, params, tries=2)
    assert not made(volumes, "liver_early", 1, replace(params, check_hu=False)).labels["lesions"][0]["hu_in_class"]
    plaque = made(volumes, "calcified", 1, replace(params, check_hu=False, plaques=(1, 1))).labels["lesions"][0]
    assert plaque["requested_ds_by"] == "label"  # 200 HU are no calcium's, for which its shape reads as asked


def test_pictures(volumes):
    for lesion_class, count in (("calcified", 2), ("liver_early", 1), ("healthy", 1)):
        if lesion_class == "healthy":
            (sample,) = LesionGenerator(PARAMS).generate([volumes["tumour"]], [spec(0, "healthy")])
        else:
            sample = made(volumes, lesion_class, 3, replace(PARAMS, early=(1, 1)))
        shown = LesionGenerator(PARAMS).panels(sample.fields, {**sample.labels, "drawn": sample.drawn})
        assert len(shown) == count
        for panel in shown:
            shapes = {layer.shape for layer in panel.layers.values()}
            assert len(shapes) == 1
            assert all(layer.dtype == np.uint8 for layer in panel.layers.values())
        if lesion_class != "healthy":
            assert all((panel.layers["after"] != panel.layers["before"]).any() for panel in shown)
            assert all(panel.layers["lesions"].any() for panel in shown)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"early_mm": (4, 12)}, "early_mm"),
        ({"blend": (0.1, 0.5)}, "blend"),
        ({"size": 4}, "size"),
        ({"backend": "medddpm"}, "needs weights"),
        ({"weights": "here"}, "texture backend has none"),
        ({"steps": 4}, "steps: the texture backend"),
        ({"strength": 0.0}, "strength: the texture backend"),
        ({"guidance": 1.0}, "guidance: the texture backend"),
        ({"backend": "medddpm", "weights": "here", "steps": 0}, "steps is 0: give 1 to 1000"),
        ({"backend": "medddpm", "weights": "here", "strength": 1.2}, "strength is 1.2: give 0 to 1"),
        ({"backend": "promptlesion", "weights": "here", "guidance": float("nan")}, "guidance is nan: give 0 to 20"),
        ({"percent_ds": (60, 30)}, "low first"),
        ({"mass_effect": 0.9}, "mass_effect"),
    ],
)
def test_parameters_that_cannot_be(change, said):
    with pytest.raises(ValueError, match=said):
        LesionParams(**change)
