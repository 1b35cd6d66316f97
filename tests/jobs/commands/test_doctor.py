"""The doctor says what is there, flags what a lawyer or an operator must know, and fails where a run would."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import ClassVar

import pytest
from rich.console import Console

from lesionforge.jobs.commands import doctor, doctor_machine, doctor_packages
from lesionforge.sinks.store import Store, StoreError
from tests.engine.conftest import toy

ROOT = Path(__file__).resolve().parents[3]


def found(findings, name):
    return [(state, text) for one, state, text in findings if one == name]


def cli(*args, code=0, **env):
    done = subprocess.run(
        [sys.executable, "-c", "from lesionforge.jobs.cli import main; main()", "doctor", *map(str, args)],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_all_of_it_through_the_command_line(tmp_path):
    demo = ROOT / "jobs" / "recipes" / "demo.yaml"
    body = json.loads(cli(demo, "--out", tmp_path / "out", "--json").stdout)
    names = {finding["name"] for finding in body["findings"]}
    assert names >= {
        "software",
        "packages",
        "licence",
        "cores",
        "memory",
        "scratch",
        "cache",
        "files",
        "recipe",
        "gpu",
        "ray",
        "storage",
        "disk",
    }
    assert "fail" not in {finding["state"] for finding in body["findings"]}
    assert body["state"] in ("ok", "warn")
    (packages_line,) = [f["text"] for f in body["findings"] if f["name"] == "packages"]
    assert f"ray {metadata.version('ray')}" in packages_line
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]  # it cleans up after itself


@pytest.mark.parametrize(
    ("args", "env", "words"),
    [
        (["none.yaml"], {}, "none.yaml: No such file"),
        (["--out", "/proc/none/x"], {}, "storage   "),
        ([], {"RAY_ADDRESS": "127.0.0.1:1"}, "127.0.0.1:1: nothing answers (Connection refused); correct RAY_ADDRESS"),
    ],
)
def test_what_would_fail_a_run_fails_here_and_now(args, env, words):
    done = cli(*args, code=3, **env)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fail")]
    assert words in line
    assert "not fit for a run" in done.stdout


def test_a_recipe_that_needs_a_gpu_wants_one_here_or_on_a_cluster(monkeypatch):
    class Nvml:
        class NVMLError(Exception):
            pass

        def nvmlInit(self):
            raise self.NVMLError("no driver")

    recipe = toy(resources__gpus=0.5)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert found(doctor_machine.gpus(recipe, Nvml()), "gpu")[0][0] == "fail"
    assert found(doctor_machine.gpus(toy(), Nvml()), "gpu")[0][0] == "ok"
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:6379")
    assert found(doctor_machine.gpus(recipe, Nvml()), "gpu")[0][0] == "ok"


def test_gpus_are_named(monkeypatch):
    class Nvml:
        NVMLError = Exception
        nvmlInit = staticmethod(lambda: None)
        nvmlDeviceGetCount = staticmethod(lambda: 2)
        nvmlDeviceGetHandleByIndex = staticmethod(lambda number: number)
        nvmlDeviceGetName = staticmethod(lambda handle: b"NVIDIA L4")
        nvmlDeviceGetMemoryInfo = staticmethod(lambda handle: type("Memory", (), {"total": 24 * 2**30}))
        nvmlSystemGetDriverVersion = staticmethod(lambda: b"550.1")

    monkeypatch.setattr(doctor_machine, "_torch", lambda: iter(()))
    assert found(doctor_machine.gpus(None, Nvml()), "gpu") == [
        ("ok", "NVIDIA L4 (24.0 GiB), NVIDIA L4 (24.0 GiB), driver 550.1")
    ]


def test_a_disk_too_small_for_the_plan_fails(tmp_path, monkeypatch):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(toy().model_dump(mode="json")))
    usage = type("Usage", (), {"free": 100_000, "total": 10**9})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(doctor_machine.shutil, "disk_usage", lambda path: usage)
    body = doctor.examine(recipe, str(tmp_path / "out"))
    states = {finding["name"]: finding for finding in body["findings"]}
    assert states["disk"]["state"] == "fail"
    assert "planned" in states["disk"]["text"]
    assert states["scratch"]["state"] == "warn"
    assert body["state"] == "fail"


def test_a_place_that_lets_a_second_creator_overwrite_is_told(tmp_path, monkeypatch):
    def probe(store):
        store.conditional = False

    monkeypatch.setattr(Store, "probe", probe)
    (finding, *_) = doctor._storage(str(tmp_path), None, None)
    assert (finding.state, "lets a second creator overwrite" in finding.text) == ("warn", True)

    def refuse(store):
        raise StoreError("no permission there")

    monkeypatch.setattr(Store, "probe", refuse)
    assert [(f.state, f.text) for f in doctor._storage(str(tmp_path), None, None)] == [("fail", "no permission there")]


def test_a_container_s_limits_count(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{3 * 2**30}\n")
    (tmp_path / "memory.current").write_text(f"{2 * 2**30}\n")
    assert doctor_machine.cores_of(tmp_path) == 0.5
    assert doctor_machine.memory_of(tmp_path)[0] == 3 * 2**30
    assert doctor_machine.memory_of(tmp_path)[1] <= 2**30
    assert found(doctor_machine.look(tmp_path), "memory")[0][0] == "warn"
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor_machine.cores_of(tmp_path) >= 1
    assert doctor_machine.memory_of(tmp_path) == pytest.approx(doctor_machine.memory_of(tmp_path / "none"), rel=0.2)


class Installed:
    """Stands in for importlib.metadata: our package with two extras, one of them under the AGPL by what it pulls in."""

    PackageNotFoundError = metadata.PackageNotFoundError
    packages: ClassVar = {
        "lesionforge": ("0.1", ["ray>=2", "yolo>=1; extra == 'yolo'", "nice; extra == 'train'"], "Apache-2.0"),
        "ray": ("2.1", [], "Apache-2.0"),
        "yolo": ("8.0", ["deep_er; python_version > '3'", "absent; extra == 'x'"], "MIT"),
        "deep-er": ("1.0", ["yolo"], "GNU Affero General Public License v3 or later (AGPLv3+)"),
        "nice": ("1.0", [], "GPL-2.0 with linking exception"),
    }

    def version(self, name):
        return self._find(name)[0]

    def requires(self, name):
        return self._find(name)[1]

    def metadata(self, name):
        extras = ["yolo", "train"] if name == "lesionforge" else None
        licence = self._find(name)[2]

        class About(dict):
            def get_all(self, key):
                return extras if key == "Provides-Extra" else None

        return About({"License-Expression": licence, "License": None})

    def _find(self, name):
        try:
            return self.packages[name.replace("_", "-")]
        except KeyError:
            raise metadata.PackageNotFoundError(name) from None


def test_the_agpl_is_found_however_deep_it_lies(monkeypatch):
    monkeypatch.setattr(doctor_packages, "metadata", Installed())
    assert list(doctor_packages.licences()) == [
        (
            "licence", "warn",
            "extra yolo brings deep-er 1.0 (AGPLv3+): what you ship together with them, or offer over a network under "
            "the AGPL, falls under these terms",
        )
    ]  # fmt: skip
    monkeypatch.setitem(Installed.packages, "deep-er", ("1.0", [], "BSD-3-Clause"))
    assert [state for _, state, _ in doctor_packages.licences()] == ["ok"]


def test_a_missing_or_old_package_fails(monkeypatch):
    monkeypatch.setattr(doctor_packages, "metadata", Installed())
    assert [state for _, state, _ in doctor_packages.versions()] == ["ok", "ok"]
    monkeypatch.setitem(Installed.packages, "ray", ("1.9", [], "Apache-2.0"))
    assert "ray 1.9 is not >=2" in found(doctor_packages.versions(), "packages")[0][1]
    monkeypatch.delitem(Installed.packages, "ray")
    assert found(doctor_packages.versions(), "packages")[0] == (
        "fail",
        "ray is missing: pip install -U lesionforge",
    )


def test_this_installation_s_own_licences():
    """Ultralytics is in the environment of the tests, with its AGPL."""
    (warning,) = [text for _, state, text in doctor_packages.licences() if state == "warn"]
    assert warning.startswith("extra yolo brings ultralytics ")
    assert "AGPL" in warning


def test_on_a_terminal_it_is_a_table(tmp_path):
    body = {"state": "fail", "findings": [{"name": "disk", "state": "fail", "text": "x " * 60}]}
    with (tmp_path / "out").open("w") as file:
        doctor.show(body, Console(file=file, force_terminal=True, width=60))
    text = (tmp_path / "out").read_text()
    assert len(text.splitlines()) > 3
    assert "\x1b[1;31mfail" in text


def test_a_shipped_recipe_is_looked_at_as_it_would_be_run():
    findings = json.loads(cli("demo", "--set", "multiply=3", "--unset", "balance", "--json").stdout)["findings"]
    (text,) = [finding["text"] for finding in findings if finding["name"] == "recipe"]
    assert text.startswith("demo: 120 samples")


def test_the_cache_is_shown_with_what_it_holds_and_may_hold(tmp_path, monkeypatch):
    def line():
        return found(doctor_machine.look(), "cache")

    folder = tmp_path / "cache"
    monkeypatch.setenv("LESIONFORGE_CACHE", str(folder))
    monkeypatch.setenv("LESIONFORGE_CACHE_SIZE", "3 GiB")
    assert line() == [("ok", f"0 B of at most 3.0 GiB (LESIONFORGE_CACHE_SIZE) in {folder}")]
    assert not folder.exists()
    folder.mkdir(mode=0o700)
    (folder / f"{'0' * 64}.kept").write_bytes(bytes(2**20))
    (folder / "thesis.txt").write_bytes(bytes(2**20))
    assert line() == [("ok", f"1.0 MiB of at most 3.0 GiB (LESIONFORGE_CACHE_SIZE) in {folder}")]
    monkeypatch.setenv("LESIONFORGE_CACHE_SIZE", "lots")
    assert line()[0][0] == "fail"
    assert line()[0][1].startswith("LESIONFORGE_CACHE_SIZE=lots: not a size in bytes")
    folder.chmod(0o777)
    assert line() == [
        ("warn", f"{folder} is not used: others may write there (mode 777): "
                 "remove it, or name one of your own in LESIONFORGE_CACHE")
    ]  # fmt: skip
    monkeypatch.setenv("LESIONFORGE_CACHE", "")
    assert line()[0][0] == "ok"
