"""Real CT and the phantoms through the whole job, with every backend; learned ones with weights of a few steps."""

import json

import numpy as np
import pytest
from scipy import ndimage

from lesionforge.generators.lesion import blend
from lesionforge.generators.lesion.classes import PLAQUES, TUMOURS, home
from lesionforge.generators.lesion.learned.model import LesionModel
from lesionforge.generators.lesion.learned.settings import BACKENDS
from lesionforge.generators.lesion.phase import contrast_range
from lesionforge.jobs.commands import verify
from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.fit.lesion import LesionFit, fit_lesion
from lesionforge.sinks.reader import Samples
from lesionforge.sinks.store import Store
from tests.generators.lesion import real_ct

STEPS = 3  # of each fit: enough to pass through all of it
SPACING = {"ccta": (0.5, 0.5, 0.5), "abdomen": (2.0, 2.0, 2.0)}
PLAQUE = {"size": 64, "plaques": [1, 1], "length_mm": [6, 10], "percent_ds": [25, 60], "psf_mm": [0.6, 0.8]}
TUMOUR = {"size": 64, "early": [1, 1], "liver_mm": [10.5, 20], "kidney_mm": [10.5, 15]}


def job(folder, name, sources, classes, multiply, **params):
    """A dataset's samples, through recipe, plan, shards and verification."""
    recipe = {
        "name": name,
        "seed": 5,
        "sources": sources,
        "generator": {"name": "lesion", "params": {"keep_source": True, **params}},
        "multiply": multiply,
        "splits": ["train"],
        "balance": dict.fromkeys(classes, 1 / len(classes)),
        "quality": {"redraws": 40},
    }
    file = folder / f"{name}.json"
    file.write_text(json.dumps(recipe))
    body = generate(file, str(folder / name), None, in_process=True).body()
    assert (body["samples"], body["quarantined"]) == (multiply * len(sources), 0), body
    assert verify.verify(Store(str(folder / name)), rebuild=True).problems == []
    return folder / name


def check(folder, backend):
    """Only voxels of the blended lesions have changed, and there they have."""
    for sample in Samples(str(folder)):
        told, label = sample["json"], sample["label.npy.zst"]
        changed = sample["ct.delta.npy.zst"] != sample["source_ct.delta.npy.zst"]
        assert told["drawn"]["backend"] == backend
        assert told["lesions"]
        weight = np.zeros(label.shape)
        for lesion, drawn in zip(told["lesions"], told["drawn"]["lesions"], strict=True):
            own = label == lesion["label"]
            assert changed[own].mean() > 0.5
            assert np.isfinite(lesion["measured_hu"])
            weight = np.maximum(weight, blend.weights(own, drawn["sigma_mm"], told["spacing_mm"]))
        assert not changed[weight == 0].any()


def source(folder, domain, **options):
    """A real volume, cut down and on voxels that the learned models share with the phantom."""
    legend = {1: "coronary"} if domain == "ccta" else real_ct.ORGANS
    return {
        "uri": f"ct:{folder}",
        "options": {"layout": "pair", "legend": legend, "spacing_mm": SPACING[domain], **options},
        "split": {"train": 1},
    }


PHANTOM = {
    "uri": "phantom:ccta",
    "options": {"count": 1, "spacing_mm": SPACING["ccta"], "shape": [80, 80, 80], "about": "left"},
    "split": {"train": 1},
}


@pytest.fixture(scope="module")
def folders(data_dir, tmp_path_factory):
    place = tmp_path_factory.mktemp("real")
    return {
        "ccta": real_ct.cardiac(data_dir, place / "cardiac"),
        "abdomen": real_ct.organs(data_dir, place / "organs"),
    }


def test_the_traced_artery_is_one(data_dir):
    """Its size is a right coronary artery's (Dodge et al. 1992: 3.9 +- 0.6 mm), and fat lies about most of it."""
    hu, lumen, line, _ = real_ct.artery(data_dir)
    length = np.linalg.norm(np.diff(line, axis=0), axis=1).sum() * 0.5
    assert 30 < length < 40
    diameter = 2 * np.sqrt(lumen.sum() * 0.5**3 / length / np.pi)
    assert 3.0 < diameter < 4.5
    gap = ndimage.distance_transform_edt(~lumen) * 0.5
    beside = hu[(gap > 1.5) & (gap < 2.5)]
    assert np.median(hu[lumen]) > 300
    assert np.median(beside) < 50


@pytest.fixture(scope="module")
def textured(folders, tmp_path_factory):
    """Both domains with the texture backend, which the learned ones learn from."""
    out = tmp_path_factory.mktemp("texture")
    plaques = job(out, "plaques", [source(folders["ccta"], "ccta")], PLAQUES, 4, **PLAQUE)
    organs = source(folders["abdomen"], "abdomen", region=["liver", "kidney", "pancreas"])
    return {"ccta": plaques, "abdomen": job(out, "tumours", [organs], TUMOURS, 6, **TUMOUR)}


def test_texture_plaques_of_every_class_in_a_real_coronary_artery(textured):
    check(textured["ccta"], "texture")
    found = [lesion for sample in Samples(str(textured["ccta"])) for lesion in sample["json"]["lesions"]]
    assert {lesion["class"] for lesion in found} == set(PLAQUES)
    assert all(lesion["hu_in_class"] for lesion in found)
    by = {"hu": "measured_ds_hu", "label": "measured_ds"}
    assert np.mean([abs(lesion["requested_ds"] - lesion[by[lesion["requested_ds_by"]]]) for lesion in found]) < 4
    hu = {name: [one["measured_hu"] for one in found if one["class"] == name] for name in PLAQUES}
    assert min(hu["calcified"]) > max(hu["mixed"]) > max(hu["low_attenuation"])


def test_texture_tumours_of_every_class_in_real_organs(textured):
    check(textured["abdomen"], "texture")
    found = [lesion for sample in Samples(str(textured["abdomen"])) for lesion in sample["json"]["lesions"]]
    assert {lesion["class"] for lesion in found} == set(TUMOURS)
    assert {lesion["phase"] for lesion in found} == {"unenhanced"}  # as this scan is
    for lesion in found:
        low, high = contrast_range(home(lesion["class"]), "unenhanced")
        level = lesion["measured_hu"] - lesion["contrast_hu"]  # of the organ: fat in it may bring that below water,
        high = max(high, -level)  # and a tumour's solid tissue is never less dense than water
        assert lesion["hu_in_class"]
        assert lesion["necrosis_share"] or low - 15 <= lesion["contrast_hu"] <= high + 15


@pytest.mark.parametrize("domain", ["ccta", "abdomen"])
def test_learned_backends_in_real_ct_and_in_the_phantom_ccta(folders, textured, tmp_path, domain):
    """Fitted on what the texture backend drew; what they draw after a few steps is noise, but only where it may be."""

    def fit(kind, **options):
        config = LesionFit(
            kind=kind, data=(str(textured[domain]),), out=str(tmp_path / kind), preset="tiny", domain=domain,
            steps=STEPS, every=STEPS, batch=2, precision="float32", loaders=0, **options,
        )  # fmt: skip
        return str(fit_lesion(config))

    autoencoder = fit("vqgan")
    sources = [source(folders[domain], domain), PHANTOM][: 2 if domain == "ccta" else 1]
    shape, classes = (PLAQUE, ("calcified", "non_calcified")) if domain == "ccta" else (TUMOUR, ("liver_early",))
    for backend in BACKENDS:
        weights = fit(backend, levels=4, vqgan=None if backend == "medddpm" else autoencoder)
        more = {"backend": backend, "weights": weights, "steps": 2, "check_hu": False}
        check(made := job(tmp_path, f"drawn-{backend}", sources, classes, 1, **shape, **more), backend)
        digest = LesionModel.load(tmp_path / backend / "model").settings.digest
        assert {sample["json"]["drawn"]["weights"] for sample in Samples(str(made))} == {digest}
