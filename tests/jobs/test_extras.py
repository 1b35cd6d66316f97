"""A package that is not installed is one line, said before anything is read."""

import subprocess
import sys

from lesionforge.jobs import errors

NEED = """
train detection --out o --real masks:/none
train segmentation --out o --real ct:/none
score detection /none --test masks:/none
score segmentation /none --test ct:/none
score realism /none
study detection --out o --real masks:/none --test masks:/none
fit stenosis /none --out o
"""
CODE = """
import sys
sys.modules["torch"] = None
from lesionforge.jobs.cli import main
for line in sys.stdin.read().strip().splitlines():
    sys.argv[1:] = line.split()
    try:
        main()
    except SystemExit as end:
        print(end.code)
"""


def test_without_torch_every_command_that_learns_names_the_extra(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE], input=NEED, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    count = len(NEED.strip().splitlines())
    assert done.stdout.split() == ["1"] * count, done.stderr
    line = "lesionforge: not installed: torch; this needs the extra train: pip install 'lesionforge[train]'"
    assert done.stderr.splitlines() == [line] * count


def test_help_needs_no_extra():
    code = "import sys; sys.modules['torch'] = None\nfrom lesionforge.jobs.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "detection", "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_only_what_an_extra_brings_is_explained():
    assert "lesionforge[yolo]" in str(errors.explain(ModuleNotFoundError(name="ultralytics.nn")))
    assert "lesionforge[train]" in str(errors.explain(ModuleNotFoundError(name="sklearn")))
    for name in ("numpy", "lesionforge.nothing", "whatever", None):
        assert errors.explain(ModuleNotFoundError(name=name)) is None
