"""Every command and every Python block of the README and of the rooms' pages is run; long ones are shortened.

A page is a session: its blocks run in order in one folder, so that a later block may use what an earlier one made.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.engine.sources import makers

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "engine/README.md", "generators/README.md", "sinks/README.md", "jobs/README.md")
BLOCK = re.compile(r"^```(\w*)(?: ([\w.]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 600  # for one process

#: What no page's test runs, and what looks at it instead.
ELSEWHERE = {
    r"pip install ": "tests/test_wheel.py installs the wheel",
    r"make ": "the Makefile's own targets; this test is part of one",
    r"ray job submit ": "tests/test_wheel.py submits one",
    r"kubectl |docker ": "tests/infra",
    r"nnUNetv2_": "tests/sinks/exports/test_nnunet.py, with the extra nnunet; training wants a GPU",
    r"lesionforge read ": "tests/jobs/reading",
    r"lesionforge (study|report) readers ": "tests/jobs/studies/test_readers.py; people answer in between",
    r"lesionforge (train|score|study|report) severity": "tests/jobs/tasks/severity; runs as small as here show none",
    r"lesionforge study phantoms": "tests/jobs/tasks/segmentation/test_phantoms.py; networks would learn for minutes",
    r"lesionforge study lesions": "tests/jobs/tasks/segmentation/test_patients.py; so they would here",
    r"lesionforge study detection --real runs": "tests/jobs/tasks/detection; a minute to learn nothing",
    r"lesionforge reconstruct ": "tests/jobs/tasks/reconstruction/clinical",
    r"lesionforge generate angio_ct_phantom": "tests/generators/angio_ct; its volumes take minutes",
}
#: Shorter forms: what a command begins with, and the options that make it short.
TOY_FIT = "--preset tiny --set steps=2 --set batch=2 --set every=2 --set loaders=0 --device cpu"
FEW = "--set sources.0.options.count=4 --set 'sources.0.split={train: 0.5, test: 0.5}' --set multiply=1 --in-process"
PLAQUES = FEW.replace("count=4", "count=2") + " --set generator.params.size=64 --set 'generator.params.plaques=[1, 1]'"
FILM = "--in-process --set sources.0.options.count=2 --set 'sources.0.split={train: 1}' --set 'splits=[train]'"
FILM += " --set generator.params.size=256"
ANY = "--set quality.max_quarantined=1 --set quality.redraws=1"  # for models that have learnt next to nothing
CINE = "--set generator.params.size=256 --set generator.params.points=false --set quality.max_quarantined=0.5"
SOON = "--set size=32 --set steps=2 --set run_steps=2"
SHORT = {
    "lesionforge generate demo": "--set sources.0.options.count=6",
    "lesionforge generate stenosis_phantom": "--set sources.0.options.count=5 --in-process",
    "lesionforge generate stenosis_arcade": f"--in-process --set multiply=2 {ANY}",
    "lesionforge generate plaque_phantom --out learned": f"{PLAQUES} {ANY} --unset balance",
    "lesionforge generate plaque_phantom": f"{PLAQUES} --set quality.max_quarantined=0.5",
    "lesionforge generate lesion_phantom": f"{FEW} {ANY}",
    "lesionforge generate lesion_ct": (
        "--in-process --set generator.params.size=48 --set 'generator.params.early=[1, 1]' --set multiply=1 "
        "--set 'sources.0.options={region: [liver]}' --set 'sources.0.split={train: 1}'"
    ),
    "lesionforge generate angio_ct_imagecas": (
        "--in-process --set generator.params.size=48 --set 'generator.params.length_mm=[4, 8]' --set multiply=1 "
        "--set 'generator.params.calcified_mm=[3, 5]' --set 'sources.0.split={train: 1}' --set 'splits=[train]' " + ANY
    ),
    "lesionforge generate cine_backgrounds": (
        f"{FILM} --set 'backgrounds.split={{train: 1}}' --set generator.params.frames=4"
    ),
    "lesionforge generate cine_phantom --out runs --set": f"{FEW} {CINE} --set generator.params.frames=30",
    "lesionforge generate cine_phantom --out stills --set sources": f"{FEW} {CINE}",
    "lesionforge generate cine_phantom --out stills": FILM,
    "lesionforge generate cine_phantom": f"{FILM} --set generator.params.frames=4",
    "lesionforge generate biplane_imagecas": "--in-process --set multiply=1 --set 'sources.0.split={train: 1}'",
    "lesionforge train frames": SOON,
    "lesionforge study frames": f"{SOON} --seeds 1 --in-process",
    "lesionforge train view": "--set size=32 --set steps=2",
    "lesionforge study view": "--set size=32 --set steps=2 --seeds 1 --in-process",
    "lesionforge train detection": "--set steps=2 --set batch=2",
    "lesionforge study detection": "--sizes 2 --arms real,x1 --seeds 1 --set steps=2 --set batch=2 --in-process",
    "lesionforge study segmentation": "--models unet --arms real,texture --seeds 1 --set steps=2 --in-process",
    "lesionforge train reconstruction": "--set steps=2",
    "lesionforge study reconstruction": "--sizes all --seeds 1 --set sparse.steps=2 --in-process",
    "lesionforge fit vqgan --settings": "",
    "lesionforge fit promptlesion texture --preset voxel": TOY_FIT.replace("tiny", "voxel"),
    "lesionforge fit ": TOY_FIT,
}
#: Folders that the pages speak of, made small.
DATA = {
    "arcade:/data/arcade": makers.arcade_parts,
    "imagecas:/data/imagecas": makers.imagecas,
    "ct:/data/imagecas": makers.ct_imagecas,
    "ct:/data/ct": makers.ct,
}


def blocks(page):
    """Language, file name if it shows one, and text of every fenced block of a page."""
    return BLOCK.findall((ROOT / page).read_text())


def commands(text):
    """The commands of a shell block: continued lines joined, comments gone."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if words := shlex.split(line, comments=True):
            yield shlex.join(words)


#: Commands of ours that follow each other, in one process: each would import torch anew.
IN_TURN = """
import json, sys
from lesionforge.jobs.cli import main
for words in json.loads(sys.argv[1]):
    print("$ lesionforge", *words, file=sys.stderr)
    sys.argv = ["lesionforge", *words]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
OURS = [sys.executable, "-P", "-c", IN_TURN]  # as the installed command, which does not look for modules where it is


def steps(page, here):
    """What to run, in order, in the folder ``here``; and what is left out, with its reason."""
    to_run, left_out = [], []
    for language, file, text in blocks(page):
        if file:
            (here / file).write_text(text)
            continue
        for code in commands(text) if language == "sh" else [text] if language == "python" else ():
            if why := next((why for start, why in ELSEWHERE.items() if re.match(start, code)), None):
                left_out.append((code, why))
                continue
            more = next((more for start, more in SHORT.items() if code.startswith(start)), "")
            for uri, make in DATA.items():
                if uri in re.split(r"[ =]", code):
                    scheme, place = uri.split(":/")
                    data = here.parent / scheme / place
                    if not data.exists():
                        make(data)
                    code = code.replace(uri, f"{scheme}:{data}")
            words = shlex.split(f"{code} {more}") if language == "sh" else None
            if language == "python":
                to_run.append([sys.executable, "-c", code])
            elif words[0] != "lesionforge":
                to_run.append(words)
            elif to_run and to_run[-1][:-1] == OURS:
                to_run[-1][-1] = json.dumps([*json.loads(to_run[-1][-1]), words[1:]])
            else:
                to_run.append([*OURS, json.dumps([words[1:]])])
    return to_run, left_out


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.timeout(900)
def test_the_page_does_what_it_says(page, tmp_path, capsys):
    here = tmp_path / "here"
    here.mkdir()
    binaries = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": binaries, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    to_run, left_out = steps(page, here)
    for command in to_run:
        done = subprocess.run(
            command, cwd=here, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, f"{page}: {command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
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


def test_the_example_s_files_are_those_of_the_tree_and_short():
    """So the generators' page runs them: in an empty folder that knows nothing of the tree."""
    shown = {file: text for _, file, text in blocks("generators/README.md") if file}
    assert shown.keys() == {"low_dose.py", "test_low_dose.py", "low_dose.yaml"}
    for file, text in shown.items():
        assert text == (ROOT / "tests" / "example" / file).read_text(), file
    assert len(shown["low_dose.py"].splitlines()) <= 40
