"""The types of the whole tree hold."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(900)
def test_mypy_finds_nothing():
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
