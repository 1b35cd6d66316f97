"""The command line is a contract: one JSON object, exit codes, one line for a person's mistake."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer
import webdataset as wds
import yaml

from lesionforge.jobs import cli as cli_module
from lesionforge.jobs import console
from lesionforge.jobs.options import pairs
from tests.command_line import inside as cli

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "jobs" / "recipes" / "demo.yaml"
IMAGECAS = ROOT / "jobs" / "recipes" / "biplane_imagecas.yaml"
CHANGES = {
    "sources.0.options.count": 3, "generator.params.grid": 64, "generator.params.detector": 128,
    "generator.params.spacing_mm": [1.7, 2.2], "shard.samples": 4,
}  # fmt: skip
TINY = [word for path, value in CHANGES.items() for word in ("--set", f"{path}={value}")]


def process(*args, code=0):
    """The command line as a user runs it: for what cannot be shown inside of this process."""
    done = subprocess.run(
        [sys.executable, "-c", "from lesionforge.jobs.cli import main; main()", *map(str, args)],
        cwd=ROOT, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo, small, made by two Ray workers through the command line."""
    out = tmp_path_factory.mktemp("demo") / "out"
    body = json.loads(process("generate", DEMO, *TINY, "--out", out, "--workers", "2", "--json").stdout)
    return out, body


def test_plan_says_what_would_be_made():
    body = json.loads(cli("plan", DEMO, "--json").stdout)
    assert (body["samples"], body["shards"], body["splits"]) == (80, 8, {"train": 64, "val": 8, "test": 8})
    assert body["classes"]["train"] == {"motion": 16, "still": 48}
    assert 80 * 20e3 < body["bytes"] < 80 * 100e3
    text = cli("plan", DEMO).stdout
    assert "demo: 80 samples (x2)" in text
    assert "8 shards" in text


def test_a_command_is_built_without_the_others():
    """Typer builds all it has; whoever names none, or one that is not there, gets all."""
    names = [command.callback.__name__ for command in cli_module._alone("plan").registered_commands]
    assert names == ["plan"]
    assert [group.name for group in cli_module._alone("study").registered_groups] == ["study"]
    assert cli_module._alone() is cli_module._alone("plam") is cli_module.app


def test_plan_estimates_from_three_samples():
    body = json.loads(cli("plan", DEMO, *TINY, "--estimate", "--workers", "2", "--json").stdout)["estimate"]
    assert body["samples_made"] == 3
    assert body["hours"] == pytest.approx(12 / body["samples_per_second"] / 3600, rel=0.05)
    assert body["bytes"] > 0


def test_generate_reports_and_leaves_a_good_dataset(demo):
    out, body = demo
    assert (body["samples"], body["planned"], body["quarantined"], body["quota_met"]) == (12, 12, 0, True)
    verdict = json.loads(cli("verify", out, "--json").stdout)
    assert verdict["problems"] == []
    assert (verdict["samples"], verdict["quarantined"], verdict["shards"]) == (12, 0, body["shards"])
    status = json.loads(cli("status", out, "--json").stdout)
    assert (status["state"], status["samples"], status["samples_planned"]) == ("complete", 12, 12)
    assert {p.name for p in out.iterdir()} >= {"recipe.json", "manifest.json", "wids.json", "README.md", "_SUCCESS"}


def test_generate_again_makes_nothing_and_needs_no_cluster(demo):
    out, _ = demo
    body = json.loads(cli("generate", DEMO, *TINY, "--out", out, "--json").stdout)
    assert body["shards_found"] == body["shards"]
    assert body["samples_per_second"] == 0


def test_replay_and_preview(demo, tmp_path):
    out, _ = demo
    body = json.loads(cli("replay", out, "train-0001-00000002", "--to", tmp_path, "--json").stdout)
    assert body["identical"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"train-0001-00000002.{m}" for m in body["members"])
    page = Path(json.loads(cli("preview", out, "--json").stdout)["preview"])
    assert "train-0001-00000002" in page.read_text()


def test_webdataset_reads_the_shards_without_our_code(demo):
    out, body = demo
    manifest = json.loads((out / "manifest.json").read_text())
    seen = []
    for split in manifest["splits"].values():
        for sample in wds.WebDataset(str(out / split["urls"]), shardshuffle=False).decode("l8"):
            seen.append(sample["__key__"])
            assert sample["view0.png"].shape == (128, 128)
            assert set(np.unique(sample["view0.png"])) == {0, 255}
            packed = pa.input_stream(pa.py_buffer(sample["volume64.npy.zst"]), compression="zstd").read()
            volume = np.load(io.BytesIO(packed))  # as the card says
            assert volume.dtype == np.uint8
            assert volume.sum() == sample["json"]["measured"]["occupied_cells"]
            assert sample["json"]["side"] in ("left", "right")
    assert len(seen) == len(set(seen)) == body["samples"]


def test_a_card_says_what_it_is(demo):
    card = (demo[0] / "README.md").read_text()
    for words in ("12 synthetic samples", "| train |", "CC0-1.0", "`biplane`", "still", "Known limits", "seed 7"):
        assert words in card, words


def test_subjects_keep_to_one_split(demo):
    splits = {}
    for path in (demo[0] / "shards").glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    meta = json.load(io.BytesIO(tar.extractfile(member).read()))
                    splits.setdefault(meta["subject"], set()).add(meta["split"])
    assert len(splits) == 3
    assert all(len(s) == 1 for s in splits.values())


def test_schema_is_a_json_schema():
    body = json.loads(cli("schema", "--json").stdout)
    assert body["required"] == ["name", "seed", "sources", "generator"]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["plan", "none.yaml"], 1, "none.yaml: No such file"),
        (["plan", "stenosis_arcad"], 1, "did you mean stenosis_arcade?"),
        (["init", "nothing"], 1, "see lesionforge recipes"),
        (["plan", "demo", "--unset", "shard.sample"], 1, "--unset shard.sample: the recipe has no such key"),
        (["plan", DEMO, "--set", "generator.name=biplan"], 1, "did you mean biplane?"),
        (["plan", DEMO, "--set", "balance={fast: 1}"], 1, "does not make 'fast'; its classes are still, motion"),
        (
            ["plan", IMAGECAS, "--set", "sources.0.uri=imagecas:/none"],
            1,
            "sources.0.uri (imagecas): no such file or folder",
        ),
        (["status", "/none"], 1, "holds no dataset"),
        (["generate", DEMO], 1, "give --out"),
        (["generate", DEMO, "--out", "s3://"], 1, "s3://"),
        (["generate", DEMO, "--out", "/proc/none/x"], 1, "/proc/none/x"),
        (["verify"], 2, "OUT"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_a_person_s_mistake_is_one_line(args, code, words):
    done = cli(*args, code=code)
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    done = cli(*args, "--json", code=code)
    assert words in json.loads(done.stdout)["error"]


@pytest.mark.parametrize(("args", "code"), [(["plan", "none.yaml"], 1), (["nonsense"], 2)])
def test_a_process_ends_with_the_code_of_a_mistake(args, code):
    done = process(*args, "--json", code=code)
    assert json.loads(done.stdout)["error"] in done.stderr


def test_a_shipped_recipe_is_found_by_name_from_anywhere():
    body = json.loads(cli("recipes", "--json").stdout)["recipes"]
    assert {one["name"] for one in body} == {path.stem for path in DEMO.parent.glob("*.yaml")}
    assert {one["name"]: one["needs"] for one in body}["demo"] == "nothing"
    assert all(one["makes"].endswith(".") for one in body)
    for one in body:  # the command in its comment names it
        assert f"lesionforge generate {one['name']} " in Path(one["file"]).read_text()
    assert process("init", "demo").stdout == DEMO.read_text()
    assert cli("--version").stdout.startswith("lesionforge ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["generate", "demo", "--out", "o"], "what is committed stays, run the same command again to continue"),
        (["train", "detection", "--out", "o"], "to continue from the last checkpoint, if there is one yet"),
        (["study", "detection"], "runs that have ended stay"),
        (["export", "o"], "what was written is removed again"),
        (["score", "detection", "m"], "nothing was written"),
        (["verify", "o"], "what --rebuild or --repair has made stays, run it again"),
        ([], "nothing was written"),
    ],
)
def test_an_interrupted_command_says_what_is_true_of_it(words, says, monkeypatch, capsys):
    monkeypatch.setattr(cli_module, "_alone", lambda *_: lambda **_: console.INTERRUPTED)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["lesionforge", *words, "--json"])
    with pytest.raises(SystemExit) as end:
        cli_module.main()
    assert end.value.code == 130
    assert says in json.loads(capsys.readouterr().out)["error"]


def test_a_setting_that_is_no_yaml_is_wrong_usage():
    with pytest.raises(typer.BadParameter, match=r"steps: '\[' is not YAML"):
        pairs(["steps=["])


def test_help_teaches():
    for command in ("generate", "plan", "recipes", "init", "status", "verify", "replay", "preview", "schema"):
        assert "--json" in cli(command, "--help").stdout
    assert "Exit codes" in cli("--help").stdout


def test_example_recipes_plan(tmp_path, data_dir):
    for path in (ROOT / "jobs" / "recipes").glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["name"]
    uri = f"sources.0.uri=imagecas:{data_dir / 'coronary_tree_3d'}"
    body = json.loads(cli("plan", ROOT / "jobs/recipes/biplane_imagecas.yaml", "--set", uri, "--json").stdout)
    assert body["samples"] == 20


def test_a_real_label_goes_through_the_whole_job(tmp_path, data_dir):
    uri = f"sources.0.uri=imagecas:{data_dir / 'coronary_tree_3d'}"
    args = [ROOT / "jobs/recipes/biplane_imagecas.yaml", "--set", uri, "--set", "multiply=3", "--out", tmp_path]
    body = json.loads(cli("generate", *args, "--in-process", "--json").stdout)
    assert (body["samples"], body["quarantined"]) == (6, 0)
    assert json.loads(cli("verify", tmp_path, "--json").stdout)["problems"] == []
    source = f"0=imagecas:{data_dir / 'coronary_tree_3d' / 'imagecas_example.label.nii.gz'}"
    assert json.loads(cli("replay", tmp_path, "train-0002-00000001", "--source", source, "--json").stdout)["identical"]
