"""Cubes of made datasets: about lesions, of the class they say, a pure function of their number."""

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.lesion.classes import VALUE
from lesionforge.generators.lesion.learned.crop import hounsfield
from lesionforge.generators.lesion.learned.settings import WINDOWS, LesionSettings
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit import tissue
from lesionforge.jobs.fit import volumes as module
from lesionforge.jobs.fit.cubes import Cubes
from lesionforge.jobs.fit.lesion import LesionFit, fit_lesion, new_model
from lesionforge.jobs.fit.lesion import cubes as cubes_of
from lesionforge.jobs.fit.volumes import Volumes, ordered
from lesionforge.sinks.store import Store
from tests.sinks import lesions
from tests.sinks.lesions import LESION_HU

SIDE = 16
WINDOW = WINDOWS["abdomen"]
CLASSES = ("healthy", "liver_early", "kidney_early", "pancreas_early")
LATENT = (4, 4, 4, 4)
MOST_MM = 10 / 3  # margin of the largest early tumour


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lesions")
    lesions.write(Store(str(folder)), 6, bed=True)
    return str(folder)


def cubes(place, healthy=0.15, classes=CLASSES, key="a", empty=0.1, noise=(LATENT, 200)):
    return Cubes(Volumes([place], "train"), key, SIDE, WINDOW, classes, healthy, 1.0, 0.0, empty, noise)


def same(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_classes_are_those_of_the_lesions_in_their_usual_order(place):
    volumes = Volumes([place], "train")
    assert ordered(volumes.classes) == ("healthy", "liver_early", "kidney_early")
    assert volumes.spacing_mm == (1.0, 1.0, 1.0)


def test_a_cube_is_a_pure_function_of_its_number(place):
    first, again = cubes(place), cubes(place)
    assert all(same(first[n], again[n]) for n in range(10))
    assert not same(first[3], first[4])
    assert not same(first[3], cubes(place, key="b")[3])


def test_lesions_are_hidden_and_of_the_class_they_say(place):
    some = cubes(place, healthy=0)
    kinds = set()
    for n in range(24):
        item = some[n]
        kind = CLASSES[item["lesion"]]
        hole = item["hole"][0] > 0
        kinds.add(kind)
        assert hole.any()
        assert (item["shown"][0][hole] == 0).all()
        mask = item["regions"][item["lesion"]] > 0
        assert not (mask & ~hole).any()
        assert (ndimage.distance_transform_edt(~mask)[hole] <= max(1.0, MOST_MM)).all()  # its halo, no more
        if kind != "pancreas_early":
            assert abs(hounsfield(item["image"][0][mask], WINDOW).mean() - LESION_HU[kind]) < 6
        assert item["image"].shape == (1, SIDE, SIDE, SIDE)
        assert item["noise"].shape == LATENT
        assert 0 <= item["time"] < 200
    assert kinds == set(CLASSES[1:])  # real tumours among them, classed by their size


def test_a_real_tumour_is_early_up_to_10_mm_and_a_stray_is_none(place):
    volume = Volumes([place], "train")[0]
    found = [one.kind for one in volume.lesions(("healthy", "pancreas_early", "pancreas_late"), 1.0)]
    assert found == ["pancreas_early"]
    large = type(volume)(volume.hu, volume.labels, volume.legend, (5.0, 5.0, 5.0))  # 64 voxels of 125 mm3: 12.4 mm
    assert [one.kind for one in large.lesions(("healthy", "pancreas_early", "pancreas_late"), 1.0)] == ["pancreas_late"]


def test_healthy_cubes_hide_nothing_and_come_at_their_share(place):
    some = cubes(place, healthy=0.5)
    healthy = [some[n] for n in range(60) if some[n]["lesion"] == 0]
    assert abs(len(healthy) / 60 - 0.5) < 4 * np.sqrt(0.25 / 60)
    assert all(not item["hole"].any() and np.array_equal(item["shown"], item["image"]) for item in healthy)


def test_prompts_are_dropped_at_the_asked_rate(place):
    some = cubes(place, empty=0.5)
    share = np.mean([some[n]["drop"] for n in range(100)])
    assert abs(share - 0.5) < 4 * np.sqrt(0.25 / 100)


def test_an_autoencoder_gets_a_seed_and_places_of_slices_in_place_of_noise(place):
    item = cubes(place, noise=None)[0]
    assert "noise" not in item
    assert item["slices"].shape == (3,)
    assert 0 <= item["slices"].min() <= item["slices"].max() < SIDE


def test_what_cannot_be_fitted_on_is_named(place, tmp_path):
    with pytest.raises(UsageError, match="no lesion of liver_late with its organ or vessel beside it in 6 volumes"):
        cubes(place, healthy=0, classes=("healthy", "liver_late"))[0]
    with pytest.raises(UsageError, match=r"holds no dataset with samples: correct the place$"):
        Volumes([str(tmp_path)], "train")
    lesions.write(Store(str(tmp_path / "thick")), 2, spacing=(1.0, 1.0, 3.0))
    with pytest.raises(UsageError, match="resample the source"):
        _ = Volumes([place, str(tmp_path / "thick")], "train").spacing_mm


def test_few_volumes_stay_in_memory_and_are_read_once_while_they_do(place, monkeypatch):
    volumes = Volumes([place], "train")
    first = volumes[0]
    assert volumes[0] is first
    monkeypatch.setattr(module, "KEPT", 2 * first.hu.size)
    assert volumes[1] is not first
    assert volumes[0] is first  # used last
    assert volumes[2] is volumes[2]
    assert volumes[0] is first  # the other one went
    assert len(volumes._kept) == 2
    monkeypatch.setattr(module, "KEPT", 0)  # of volumes larger than the bound, one
    assert volumes[3] is volumes[3]
    assert len(volumes._kept) == 1


def test_a_model_of_voxels_learns_from_holes_that_hold_the_level_they_are_filled_with(place):
    asked = LesionFit(kind="promptlesion", preset="voxel", data=(place,), out="x")
    volumes = Volumes([place], "train")
    own = new_model(asked, volumes.classes, volumes.spacing_mm, volumes.spacings_mm).settings
    item = cubes_of(asked, own, volumes, (1, SIDE, SIDE, SIDE))[0][0]
    (shown,) = np.unique(item["shown"][item["hole"] > 0])
    levels = [one.level for n in range(len(volumes)) for one in volumes[n].lesions(own.classes, own.halo_mm)]
    assert np.isclose(hounsfield(shown, own.window, own.bend_hu), levels, atol=0.5).any()


ILL, ALONE = (4, 31), 17  # of ``rare``'s subjects


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    """Scans as a hospital has them: two of forty have a liver tumour, one a kidney tumour with no kidney about it."""
    fields, meta = lesions.fields, lesions.meta

    def scan(i, bed):
        hu, labels = fields(1 if i == ALONE else 2)["ct.npy"], np.full(lesions.SHAPE, VALUE["liver"], np.uint8)
        if i in ILL:
            labels[5:11, 6:12, 4:10] = VALUE["liver_tumour"]
        if i == ALONE:
            labels[5:11, 6:12, 4:10] = VALUE["kidney_tumour"]
        return {"ct.npy": hu, "label.npy.gz": labels}

    folder = tmp_path_factory.mktemp("rare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lesions, "fields", scan)
        patch.setattr(lesions, "meta", lambda *told: meta(*told) | {"lesions": []})
        lesions.write(Store(str(folder)), 40)
        lesions.write(Store(str(folder)), 3, "val", first=50)
    return str(folder)


def test_every_cube_finds_its_lesion_among_scans_of_which_most_are_healthy(rare, monkeypatch, capsys, tmp_path):
    asked = LesionFit(kind="promptlesion", preset="voxel", data=(rare,), out=str(tmp_path))
    volumes = Volumes([rare], "train")
    own = new_model(asked, volumes.learnable, volumes.spacing_mm, volumes.spacings_mm).settings
    learnt, held = cubes_of(asked, own, volumes, (1, SIDE, SIDE, SIDE))
    read, numbers = Volumes._read, []
    monkeypatch.setattr(Volumes, "_read", lambda self, number: numbers.append(number) or read(self, number))
    volumes._kept.clear()
    for n in range(30):
        for some in (learnt, held):  # the split val has no lesion at all
            assert some[n]["hole"].any()
    assert set(numbers) == set(ILL)
    assert "no lesion of liver_early in the split val: the held-out loss is of other cubes" in capsys.readouterr().err


def test_a_lesion_without_its_organ_beside_it_is_left_out_and_told(rare, capsys, tmp_path):
    """The median of whatever is about it says nothing of what it lies in."""
    volumes = Volumes([rare], "train")
    assert (volumes.classes, volumes.learnable) == ({"liver_early", "kidney_early"}, {"liver_early"})
    assert volumes.alone == {"kidney_early": 1}
    own = LesionSettings("promptlesion", 16, WINDOW, (1.0, 1.0, 1.0), classes=CLASSES, preset="voxel")
    read = tissue.read(volumes, own)["hu"]
    assert set(read) == {"liver_early"}
    assert read["liver_early"]["rest"] == sorted(read["liver_early"]["rest"])
    (radius,) = set(read["liver_early"]["radius_mm"])
    assert radius == pytest.approx((3 * 216 / (4 * np.pi)) ** (1 / 3), abs=0.01)  # 6 mm cubed, each
    assert volumes[ALONE].lesions(CLASSES, 1.0) == []
    asked = LesionFit(
        kind="promptlesion", preset="voxel", data=(rare,), out=str(tmp_path), classes=("liver_early", "kidney_early")
    )
    with pytest.raises(UsageError, match="the data have no lesion of kidney_early to learn from, but of liver_early"):
        fit_lesion(asked)
    shown = capsys.readouterr().err
    assert "lesions are left out, near which no voxel of their organ or vessel is labelled: 1 kidney_early" in shown


def test_a_class_that_no_lesion_has_is_refused_and_real_ones_beside_drawn_ones_are_found(place, tmp_path):
    asked = {"kind": "promptlesion", "preset": "voxel", "data": (place,), "out": str(tmp_path)}
    with pytest.raises(
        UsageError, match="no lesion of liver_late to learn from, but of liver_early, kidney_early, pan"
    ):
        fit_lesion(LesionFit(classes=("liver_early", "liver_late"), **asked))
    volumes = Volumes([place], "train")
    assert volumes.holding(("healthy", "kidney_early")) == [1, 3, 5]
    assert volumes.learnable == {"liver_early", "kidney_early"}  # of whom the samples' words tell
    assert volumes.holding(("healthy", "pancreas_early")) == [0, 3]
