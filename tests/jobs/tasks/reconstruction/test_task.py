"""The task in the frame: train, score, study, report."""

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from lesionforge.jobs.cli import app
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.reconstruction.measures import SIDES
from lesionforge.jobs.tasks.reconstruction.task import Reconstruction
from tests.jobs.tasks.reconstruction import worlds
from tests.jobs.tasks.reconstruction.worlds import SIZE, TINY

SETTINGS = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]


def run(*words):
    done = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_study_from_shards_to_the_paper_s_tables(trees, tmp_path):
    """Train, score, study with a size and the hull, the same again, report: all that the commands do."""
    pytest.importorskip("torch")
    model = tmp_path / "model.safetensors"
    run("train", "reconstruction", "--real", trees, "--out", model, "--set", f"size={SIZE}", *SETTINGS)
    alone = run("score", "reconstruction", model, "--test", trees)  # the grid is the model's
    assert alone["test"]["items"] == 4
    assert alone["scores"]["right/dsc"]["n"] == 2
    words = ["study", "reconstruction", "--real", trees, "--test", trees, "--out", tmp_path / "study"]
    words += ["--models", "sparse,hull", "--sizes", "2,all", "--arms", "real", "--seeds", 1, "--in-process"]
    words += ["--set", f"size={SIZE}", *SETTINGS]
    study = run(*words)
    assert study["runs"] == 4
    values = {(cell["model"], cell["size"], cell["measure"]): cell["values"] for cell in study["cells"]}
    assert values["sparse", None, "right/dsc"] == pytest.approx([alone["scores"]["right/dsc"]["value"]])
    assert values["sparse", None, "right/psnr"] != values["sparse", 2, "right/psnr"]
    assert values["hull", None, "left/o2"] == values["sparse", 2, "left/o2@hull"]
    again = run(*words)
    assert again == study
    report = (tmp_path / "study" / "report.md").read_text()
    for part in ("Tables 4 and 8", "Table 5", "Table 6", "learning curve", "paper: diffusion, motion"):
        assert part in report


def test_what_a_model_does_not_do_is_not_passed_over(tmp_path, monkeypatch):
    made = SimpleNamespace(options={"size": SIZE, "rule": "half"}, settings=SimpleNamespace(network="sparse"))
    monkeypatch.setattr("lesionforge.jobs.tasks.reconstruction.models.learner.opened_learner", lambda *_: made)
    assert Reconstruction(rule="half").load(tmp_path, "cpu")[0] == Reconstruction(size=SIZE, rule="half")
    for options, words in (
        ({"size": SIZE + 1}, f"--set size={SIZE + 1}: the model learnt with {SIZE}; leave it out"),
        ({"sweep": "guidance"}, "--set sweep=guidance: sparse has no such setting"),
    ):
        with pytest.raises(UsageError, match=words):
            Reconstruction(**options).load(tmp_path, "cpu")


def test_test_subjects_are_not_learnt_from(trees, tmp_path):
    words = ["study", "reconstruction", "--real", trees, "--test", trees, "--test-split", "train"]
    words += ["--out", tmp_path, "--models", "hull", "--in-process", "--set", f"size={SIZE}"]
    with pytest.raises(UsageError, match="test subjects are also learnt from"):
        CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False, standalone_mode=False)


def test_a_test_that_cannot_be_scored_on_is_refused():
    def of(sides, views):
        return [SimpleNamespace(side=side, view_count=views) for side in sides]

    train, both = of(SIDES, 2), Reconstruction()
    both.check_test(of(SIDES, 2), train)
    Reconstruction(side="left").check_test(of(["left"], 2), train)
    for task, test, words in (
        (both, of(["left"], 2), "--test holds no right tree: give data that does, or --set side=left"),
        (Reconstruction(side="left"), [], "--test holds no left tree: give data that does, or --set side=right"),
        (both, of(SIDES, 3), "pairs of 2 views are learnt from, --test holds pairs of 3: give data of one number"),
    ):
        with pytest.raises(UsageError, match=f"^{words}$"):
            task.check_test(test, train)


def test_sizes_count_subjects_and_grow(trees):
    """Both trees of each; a larger number holds the smaller one's, or a curve would be of other subjects."""
    task, items = Reconstruction(size=SIZE), worlds.pairs(trees)
    few, more = ({item.subject for item in task.training_set("real", n, 0, items, []).real} for n in (1, 2))
    assert len(few) == 1 < len(more) == 2
    assert few < more
    assert len(task.training_set("real", 2, 0, items, []).real) == 4
    with pytest.raises(UsageError, match="9 subjects are asked for; there are 3"):
        task.training_set("real", 9, 0, items, [])


def test_settings_are_of_all_learners_of_a_study_or_of_one():
    task, changes = Reconstruction(), {"sparse.steps": 9, "steps": 5, "xradiff.levels": 2}
    assert [task.changed(model, changes).steps for model in ("sparse", "xradiff")] == [9, 5]
    assert task.changed("xradiff", changes).levels == 2
    assert task.changed("hull", changes) == task.settings("hull")
    assert task.changed("viterbi", changes) == task.settings("viterbi")
    assert task.changed("viterbi", {"held": 0.3, "steps": 5}).held == 0.3
    with pytest.raises(UsageError, match="--set stepps: no such setting"):
        task.changed("sparse", {"stepps": 1})
    with pytest.raises(UsageError, match="--set stepps: no such setting"):
        task.changed("viterbi", {"stepps": 1})
    with pytest.raises(UsageError, match="there is no learner 'spars'; give sparse, "):
        task.changed("unet", {"spars.steps": 1})


def test_options_are_checked_before_anything_is_read():
    for options, words in (
        ({"rule": "thick"}, "rule is 'thick': give paper or half"),
        ({"side": "up"}, "side is 'up': give right or left or both"),
        ({"sweep": "batch"}, "sweep is 'batch': give guidance or levels"),
        ({"size": 4}, "size is 4"),
        ({"size": "big"}, "size is big: give a whole number"),
    ):
        with pytest.raises(UsageError, match=words):
            Reconstruction(**options)
    task = Reconstruction(side="left")
    assert set(task.shown) == {"left/dsc", "left/chamfer", "left/o2", "left/cldice"}
    assert task.bounds("left/dsc_x0_eroded@hull") == (0, 1)
    assert task.bounds("left/pieces@hull")[1] > 1
    with pytest.raises(UsageError, match="yields a SimpleNamespace; reconstruction learns from generated pairs"):
        task.item_of_case(SimpleNamespace())
