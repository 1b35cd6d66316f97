"""Every command and every Python block of the README and of the rooms' pages is run; long ones are shortened.

A page is a session: its blocks run in order in one folder, so that a later block may use what an earlier one made.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "engine/README.md", "generators/README.md", "sinks/README.md", "jobs/README.md")
BLOCK = re.compile(r"^```(\w*)(?: ([\w.]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 240  # for one command

#: What no page's test runs, and what looks at it instead.
ELSEWHERE = {
    r"pip install ": "tests/test_wheel.py installs the wheel",
    r"make ": "the Makefile's own targets; this test is part of one",
    r"ray job submit ": "tests/test_wheel.py submits one",
    r"kubectl |docker ": "tests/infra",
}
#: Folders that the pages speak of, and the real data that stands for them; without it the command is left out.
DATA = {"/data/arcade": "arcade", "/data/imagecas": "coronary_tree_3d"}
#: Shorter forms: what a command begins with, and the options that make it short.
SHORT = {
    "lesionforge generate demo": "--set sources.0.options.count=6",
    "lesionforge generate stenosis_phantom": "--set sources.0.options.count=5 --in-process",
}


def blocks(page):
    """Language, file name if it shows one, and text of every fenced block of a page."""
    return BLOCK.findall((ROOT / page).read_text())


def commands(text):
    """The commands of a shell block: continued lines joined, comments gone."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if words := shlex.split(line, comments=True):
            yield shlex.join(words)


def placed(text, folder):
    """With the folders of real data in place of those that the page speaks of; None where one is not here."""
    for place, name in DATA.items():
        if place in text:
            if folder is None or not (folder / name).is_dir():
                return None
            text = text.replace(place, str(folder / name))
    return text


def session(page, run_shell, run_python, folder, here):
    """Run a page in the folder ``here``; what was left out, with its reason."""
    left_out = []
    for language, file, text in blocks(page):
        if file:
            (here / file).write_text(text)
            continue
        for code in commands(text) if language == "sh" else [text] if language == "python" else ():
            if why := next((why for start, why in ELSEWHERE.items() if re.match(start, code)), None):
                left_out.append((code, why))
            elif (real := placed(code, folder)) is None:
                left_out.append((code, "no real data here"))
            elif language == "python":
                run_python(real)
            else:
                more = next((more for start, more in SHORT.items() if code.startswith(start)), "")
                run_shell(f"{real} {more}")
    return left_out


@pytest.fixture
def data():
    """The folder of real data, None where it is not here: only its own commands are left out then."""
    given = os.environ.get("LESIONFORGE_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.timeout(900)
def test_the_page_does_what_it_says(page, tmp_path, data, capsys):
    binaries = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": binaries, "OMP_NUM_THREADS": "1"}

    def run(command, shown):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, f"{page}: {shown}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"

    left_out = session(
        page,
        lambda line: run(["bash", "-euo", "pipefail", "-c", line], line),
        lambda code: run([sys.executable, "-c", code], code),
        data,
        tmp_path,
    )
    with capsys.disabled():
        for code, why in left_out:
            print(f"\n{page}: left out: {code.strip().splitlines()[0]} ({why})", end="")  # noqa: T201


def test_no_command_hides_in_a_block_of_another_kind():
    """A fence that shows commands or Python says so, or it would not be run."""
    for page in PAGES:
        for language, _, text in blocks(page):
            if language not in ("sh", "python"):
                assert not re.search(r"^(lesionforge|python|pip|make|import|from) ", text, re.MULTILINE), (
                    f"{page}: {text}"
                )


def test_the_front_page_is_a_front_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_links_and_pictures_exist():
    """In the tree; pictures of the front page by absolute address, as a package index shows it elsewhere."""
    for page in (*PAGES, "infra/README.md"):
        text = (ROOT / page).read_text()
        for bang, target in re.findall(r"(!?)\[[^\]]*\]\(([^)#\s]+)[^)]*\)", text):
            if match := re.fullmatch(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/main/(.+)", target):
                assert (ROOT / match[1]).is_file(), f"{page}: {target}"
            elif not target.startswith("https://"):
                assert not (bang and page == "README.md"), f"{page}: {target} is relative"
                assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_the_recipe_on_the_front_page_is_the_shipped_one():
    (shown,) = [text for language, _, text in blocks("README.md") if language == "yaml"]
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "jobs" / "recipes" / "demo.yaml").read_text())


def test_the_example_s_files_are_those_of_the_tree():
    shown = {file: text for _, file, text in blocks("generators/README.md") if file}
    assert shown.keys() == {"low_dose.py", "test_low_dose.py", "low_dose.yaml"}
    for file, text in shown.items():
        assert text == (ROOT / "tests" / "example" / file).read_text(), file
