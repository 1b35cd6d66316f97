"""The example generator, its test and a recipe work in an empty folder that knows nothing of the tree."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHELL = "import sys; from lesionforge.jobs.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    for name in ("low_dose.py", "test_low_dose.py", "low_dose.yaml"):
        shutil.copy(HERE / name, folder)

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command):
        command = [sys.executable, "-P", *command]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
        return done.returncode, done.stdout + done.stderr

    return folder, run


def test_the_example_is_short():
    assert len((HERE / "low_dose.py").read_text().splitlines()) <= 40


def test_its_own_test_passes(outside):
    _, run = outside
    code, said = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:odl_plugins", "test_low_dose.py")
    assert code == 0, said
    assert "1 passed" in said


def test_a_recipe_uses_it_by_its_dotted_name(outside):
    folder, run = outside
    code, said = run("-c", SHELL, "plan", "low_dose.yaml")
    assert code == 0, said
    assert "16 samples" in said
    code, said = run("-c", SHELL, "generate", "low_dose.yaml", "--out", "made", "--in-process")
    assert code == 0, said
    assert (folder / "made" / "_SUCCESS").exists()
    code, said = run("-c", SHELL, "preview", "made")
    assert code == 0, said
    assert (folder / "made" / "preview" / "index.html").stat().st_size > 100_000
