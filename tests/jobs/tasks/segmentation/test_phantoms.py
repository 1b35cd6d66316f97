"""The experiment on phantoms: its recipes are valid, its stages resume, its study is one."""

import pytest

from lesionforge.jobs.commands import generate as generating
from lesionforge.jobs.commands import recipes
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies.runs import runs
from lesionforge.jobs.tasks.segmentation import phantoms
from lesionforge.jobs.tasks.segmentation.phantoms import DOMAINS, LEARNED, prepare


@pytest.fixture
def made(monkeypatch):
    """Datasets that would be made, as checked recipes by place; nothing is."""
    made = {}

    def generate(recipe, place, workers, in_process, changes):
        made[place.rsplit("/", 1)[1]] = recipes.load(recipe, changes)

    monkeypatch.setattr(generating, "generate", generate)
    monkeypatch.setattr(phantoms, "_fit", lambda out, own, kind, steps: out / "fit" / kind / "model")
    return made


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_backend_draws_on_the_same_subjects(made, tmp_path, domain):
    stages = []
    study = prepare(tmp_path, domain, 8, 20, stages.append)
    arms = ["placebo", "texture", *LEARNED[:2], "medddpm-checked", *LEARNED[2:]]
    assert list(study.synthetic) == arms
    assert [run.arm for run in runs(study, ["unet"], seeds=1)] == ["real", *arms]
    assert made.keys() == {"real", *arms}
    assert len({repr((r.seed, r.sources)) for r in made.values()}) == 1
    assert {name for name, r in made.items() if r.splits == ("train", "test")} == {"real"}
    assert made["real"].generator.params["others"] != made["texture"].generator.params.get("others")
    assert len(stages) == len(made) + len(LEARNED) + 1


def test_what_is_there_is_not_made_again(made, tmp_path):
    (tmp_path / "texture").mkdir()
    (tmp_path / "texture" / "_SUCCESS").touch()
    prepare(tmp_path, "plaques", 8, 20, lambda stage: None)
    assert "texture" not in made
    with pytest.raises(UsageError, match="domain 'heads' is unknown; give plaques or tumours"):
        prepare(tmp_path, "heads", 8, 20, lambda stage: None)
