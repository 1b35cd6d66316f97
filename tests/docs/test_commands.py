"""Every command and every Python block of the README and of the rooms' pages is run as it stands, long ones shortened.

A page is a session: its blocks run in order in one empty folder, so that a later block may use what an earlier one made.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "engine/README.md", "generators/README.md", "sinks/README.md", "jobs/README.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT = 200

#: What is not run here, and what does it instead.
ELSEWHERE = {
    r"git clone ": "needs the network",
    r"make (demo|test|bench|chaos|fuzz|privacy)\b": "CI runs make test, which this is part of; tests/chaos, fuzz, privacy run short forms",
    r"pip install ": "tests/test_wheel.py installs the wheel",
    r"ray job submit ": "tests/test_wheel.py submits one",
    r"export (AWS|RAY)_": "the test sets them",
}
#: Real data, by the place that the pages use; a command that needs what is not here is left out, and told.
DATA = {"/data/arcade": "arcade", "/data/imagecas": "coronary_tree_3d"}
#: Shorter forms: (command, what is put behind it).
SHORT: list[tuple[str, str]] = []


def blocks(page):
    """Language and text of every fenced block of a page."""
    return BLOCK.findall((ROOT / page).read_text())


def commands(text):
    """The commands of a shell block: continued lines joined, comments gone."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield line.strip()


def elsewhere(command):
    return next((why for pattern, why in ELSEWHERE.items() if re.match(pattern, command)), None)


def shortened(command):
    for pattern, more in SHORT:
        if re.search(pattern, command):
            code, _, comment = command.partition("   #")
            command = f"{code} {more}"
    return command
