"""A plan says what a run would meet: mistakes, places that are examples, samples that cannot be made."""

import pytest
from typer.testing import CliRunner

import lesionforge as lf
from lesionforge.generators.types import UserError
from lesionforge.jobs.cli import app
from tests.engine.conftest import toy


@pytest.mark.parametrize("recipe", [None, 3, ["demo"], b"demo"])
def test_what_is_no_recipe_is_one_line(recipe):
    with pytest.raises(UserError, match=r"^recipe is .*: give a file, the name of a shipped recipe, a mapping"):
        lf.plan(recipe)


@pytest.mark.parametrize("workers", [0, -1, "two", None])
def test_less_than_a_worker_is_refused(workers, tmp_path):
    with pytest.raises(UserError, match=r"^workers is .*: give 1 or more"):
        lf.plan("demo", workers=workers)
    if workers is not None:
        with pytest.raises(UserError, match=r"^workers is .*: give 1 or more"):
            lf.generate("demo", tmp_path, workers=workers)


def test_one_is_said_in_the_singular():
    told = repr(lf.plan(toy(sources__0__options={"count": 1}, sources__0__split={"train": 1}, multiply=1)))
    assert "1 sample (x1)" in told
    assert "1 shard of at most 8 samples" in told
    assert "1 subject, 1 case" in told


def test_the_place_in_a_shipped_recipe_is_said_to_be_an_example():
    with pytest.raises(UserError, match=r"no such folder.*give yours with --set sources\.0\.uri=arcade:FOLDER$"):
        lf.plan("stenosis_arcade")
    with pytest.raises(UserError, match=r"no such folder$"):
        lf.plan("stenosis_arcade", ["sources.0.uri=arcade:/nowhere"])


def test_an_estimate_that_can_make_nothing_says_why_once_and_ends_with_3(tmp_path):
    path = tmp_path / "toy.json"
    path.write_text(toy(quality={"limits": {"mean": {"min": 300}}, "redraws": 0}).model_dump_json())
    result = CliRunner().invoke(app, ["plan", str(path), "--estimate"])
    assert result.exit_code == 3, result.output
    estimate = lf.plan(path, estimate=True).body()["estimate"]
    assert (estimate["samples_tried"], estimate["samples_made"]) == (3, 0)
    assert list(estimate["reasons"].values()) == [3]
    told = repr(lf.plan(path, estimate=True)).splitlines()[-1]
    assert told.startswith("3 of 3 samples would be quarantined: quality: ")
