"""The experiment on phantoms: its recipes are valid, its arms are what they say, its stages resume."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lesionforge.engine.driver import RecipeFault
from lesionforge.jobs.commands import generate as generating
from lesionforge.jobs.commands import recipes
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.fit import lesion
from lesionforge.jobs.studies.runs import runs
from lesionforge.jobs.tasks.segmentation import arms, phantoms
from lesionforge.jobs.tasks.segmentation.arms import DOMAINS, learned
from lesionforge.jobs.tasks.segmentation.phantoms import PHANTOMS


@pytest.fixture
def made(monkeypatch):
    """Datasets that would be made, as checked recipes by place; nothing is."""
    made = {}

    def generate(recipe, place, workers, in_process):
        made[place.rsplit("/", 1)[1]] = recipes.load(recipe, ())
        if place.endswith(("difftumor-calcified", "difftumor-kidney", "copy-paste")):
            raise RecipeFault("the first 24 samples all failed for one reason")
        few = place.endswith("medddpm")
        told = {"samples": 0 if few else 6, "quarantined": 6 * few, "reasons": {"not as labelled": 6} if few else {}}
        return SimpleNamespace(manifest=told, notes=[])

    monkeypatch.setattr(generating, "generate", generate)
    monkeypatch.setattr(arms, "_learnt", lambda real, balance, tell: balance)
    monkeypatch.setattr(
        arms, "_fitted", lambda room, arm, classes, *_: room / arm.kind / arm.preset / "+".join(classes)
    )
    return made


def prepare(out, domain, subjects, test, wanted, tell):
    room, tests = out / f"n{subjects}", out / f"test{test}"
    return arms.prepare(phantoms.cohort(domain, subjects, test), room, tests, wanted, None, tell)


def drawn_on(recipe):
    """Which subjects, and whether they are ill."""
    (source,) = recipe.sources
    return source.options["series"], source.options["count"], source.options["disease"]


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_arm_draws_on_the_same_subjects(made, tmp_path, domain):
    stages = []
    every, backends = phantoms.cohort(domain, 8, 6).arms, learned(DOMAINS[domain])
    one = "difftumor-calcified" if domain == "plaques" else "difftumor-kidney"
    study, there = prepare(tmp_path, domain, 8, 6, every, stages.append)
    assert made.keys() == {"test6", *every}
    assert there == [arm for arm in every if arm not in (one, "medddpm", "copy-paste")]
    told = (
        f"{one}: the first 24 samples all failed for one reason",
        "medddpm: 6 of 6 are left out: 6 x not as labelled",
    )
    for line in (*told, "copy-paste is left out: it has no sample", "medddpm is left out: it has no sample"):
        assert line in stages
    assert list(study.synthetic) == there[1:]
    assert [run.arm for run in runs(study, ["unet"], [8], there, seeds=1)] == there
    ill = {name: drawn_on(recipe) for name, recipe in made.items()}
    assert (ill["real"], ill["test6"], ill["fresh"]) == ((0, 8, True), (1, 6, True), (2, 24, True))
    assert {ill[name] for name in (*backends, "texture", "copy-paste", "placebo")} == {(0, 8, False)}
    for name in ("real", "test6", "fresh", "placebo"):  # nothing is drawn on what counts as real
        assert set(made[name].balance) == {"healthy"}
    checks = {name: made[name].generator.params.get("check_hu", True) for name in backends}
    assert checks == {name: not name.endswith("-unchecked") for name in backends}
    shares = {name: (made[name].balance, made[name].generator.params["weights"]) for name in backends}
    for name, (balance, weights) in shares.items():
        only = {"difftumor-calcified": {"calcified"}, "difftumor-non_calcified": {"non_calcified"}} | {
            f"difftumor-{organ}": {f"{organ}_early", f"{organ}_late"} for organ in ("liver", "kidney", "pancreas")
        }
        assert set(balance) == only.get(name, set(PHANTOMS[domain].balance))
        assert weights.endswith("/" + "+".join(balance))
    drawn = {name: made[name].generator.params for name in ("texture", "promptlesion-voxel")}
    own = {"size": None, **DOMAINS[domain].params, **PHANTOMS[domain].params}
    assert {name: drawn["texture"][name] for name in own} == own
    assert drawn["promptlesion-voxel"]["hu_tolerance"] == DOMAINS[domain].tolerance
    assert made["copy-paste"].generator.params["donors"].endswith("n8/real")


def test_one_difftumor_draws_all_that_its_column_holds(made, tmp_path):
    shares = {"calcified": 2, "low_attenuation": 1, "mixed": 1}
    cohort = replace(phantoms.cohort("plaques", 8, 6), balance=lambda real, test: shares)
    wanted = ["real", "difftumor-non_calcified", "promptlesion"]
    arms.prepare(cohort, tmp_path / "n8", tmp_path / "test6", wanted, None, lambda line: None)
    own = made["difftumor-non_calcified"]
    assert own.balance == {"low_attenuation": 1, "mixed": 1}
    assert own.generator.params["weights"].endswith("/low_attenuation+mixed")
    assert made["promptlesion"].balance == shares


@pytest.mark.parametrize(("arm", "steps"), [("difftumor-calcified", None), ("promptlesion-mask-voxel", 7)])
def test_a_backend_is_fitted_on_its_column_and_its_autoencoder_on_all(monkeypatch, tmp_path, arm, steps):
    fits = []

    def fit(settings, progress):
        fits.append(settings)
        return Path(settings.out)

    monkeypatch.setattr(lesion, "fit_lesion", fit)
    monkeypatch.setattr(lesion.LesionSettings, "load", lambda folder: SimpleNamespace(backend=folder.name))
    own, every = learned(DOMAINS["plaques"])[arm], ("calcified", "mixed")
    given = {"data": ("real",), "classes": every, "device": "cpu"}
    classes = tuple(name for name in every if name.startswith(own.only))
    weights = arms._fitted(tmp_path, own, classes, "ccta", steps, given, lambda line: None)
    assert weights == tmp_path / arm
    last = fits[-1]
    assert (last.kind, last.data, last.device, last.classes) == (own.kind, ("real",), "cpu", classes)
    if steps:
        assert [one.steps for one in fits] == [7]
        assert (last.preset, last.batch, last.rate) == ("voxel", 16, 2e-3)
        return
    base, _ = fits
    assert (base.kind, base.classes, base.out) == ("vqgan", every, last.vqgan)
    assert (base.domain, base.factor, base.steps, last.steps, last.levels) == ("all", 2, 2000, 1000, 4)


def test_what_is_there_is_not_made_again(made, tmp_path):
    (tmp_path / "n8" / "texture").mkdir(parents=True)
    (tmp_path / "n8" / "texture" / "_SUCCESS").touch()
    told = {"samples": 3, "quarantined": 0, "reasons": {}}
    (tmp_path / "n8" / "texture" / "manifest.json").write_text(json.dumps(told))
    _, there = prepare(tmp_path, "plaques", 8, 6, ["real", "texture"], lambda stage: None)
    assert there == ["real", "texture"]
    assert made.keys() == {"real", "test6"}
    with pytest.raises(UsageError, match="domain 'heads' is unknown; give plaques or tumours"):
        prepare(tmp_path, "heads", 8, 6, ["real"], lambda stage: None)
    with pytest.raises(
        UsageError, match="arm 'painted' is unknown here; give some of real, placebo, copy-paste, texture"
    ):
        prepare(tmp_path, "plaques", 8, 6, ["painted"], lambda stage: None)


def test_wrong_networks_and_settings_are_told_before_anything_is_made(tmp_path):
    from typer.testing import CliRunner

    from lesionforge.jobs.cli import app

    for wrong, message in ((("--models", "nnunet"), "give unet or dynunet"), (("--set", "stepz=3"), "no such setting")):
        done = CliRunner().invoke(app, ["study", "phantoms", "--out", str(tmp_path / "out"), *wrong])
        assert isinstance(done.exception, UsageError)
        assert message in str(done.exception)
        assert not (tmp_path / "out").exists()
