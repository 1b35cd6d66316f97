"""The image: pinned, without root, without secrets, of files that exist; built where there is a Docker daemon."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = ("cpu", "cuda")


def instructions():
    """Instruction and argument of each line, continued lines joined, grouped by stage."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "infra" / "Dockerfile").read_text())
    stages, name = {}, ""
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, argument = line.partition(" ")
        if word == "FROM":
            base, _, name = argument.partition(" AS ")
            stages[name] = [("FROM", base)]
        else:
            stages[name].append((word, argument.strip()))
    return stages


STAGES = instructions()


def all_of(word):
    return [argument for stage in STAGES.values() for found, argument in stage if found == word]


def test_targets_end_without_root():
    for target in TARGETS:
        users = [argument for word, argument in STAGES[target] if word == "USER"]
        assert users == ["1000:1000"]
        assert STAGES[target][-1][0] == "CMD"
        assert STAGES[target][0] == ("FROM", "base")
    assert re.search(r"useradd --uid 1000\b", " ".join(all_of("RUN")))


def test_everything_is_pinned():
    bases = {base for base in all_of("FROM") if base not in STAGES}
    assert len(bases) == 1
    tag = next(iter(bases)).removeprefix("python:")
    major, minor = re.match(r"(\d+)\.(\d+)\.\d+-slim-", tag).groups()
    assert (int(major), int(minor)) >= tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split(".")))
    installs = [run for run in all_of("RUN") if "pip install" in run]
    assert len(installs) == 2
    pinned = (ROOT / "constraints.txt").read_text()
    for run in installs:
        words = run.split()
        assert words[:4] == ["pip", "install", "-c", "constraints.txt"]
        for word in words[4:]:
            extra = re.fullmatch(r'"?\.(?:\[(\w+)\])?"?', word)
            if extra:
                assert extra[1] is None or extra[1] in PROJECT["optional-dependencies"]
            else:
                assert re.search(rf"^{word}==", pinned, re.MULTILINE), f"{word} has no version"


def test_what_is_copied_exists_and_reaches_the_builder():
    ignored = (ROOT / "infra" / "Dockerfile.dockerignore").read_text().split()
    sources = {word for line in all_of("COPY") if not line.startswith("--from") for word in line.split()[:-1]}
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms - {"tests"} <= sources, "a package that the wheel is to hold"
    assert next(line for line in ignored if not line.startswith("#")) == "*" or "*" in ignored


def test_no_secret_goes_in():
    assert not all_of("ARG")
    assert not re.search("KEY|TOKEN|SECRET|PASSWORD", " ".join(all_of("ENV")), re.IGNORECASE)
    assert not all_of("ADD")


@pytest.mark.parametrize("target", TARGETS)
def test_the_first_lines_say_how_to_build_it(target):
    text = (ROOT / "infra" / "Dockerfile").read_text()
    assert f"--target {target}" in text
    assert f"-t lesionforge:{PROJECT['version']}-{target} ." in text


@pytest.mark.parametrize("target", TARGETS)
def test_kernels_are_compiled_once_an_image(target):
    """Each pod compiled them anew, 8 s. ``tests/generators/test_kernels.py``: no recipe needs more than these do."""
    lines = dict(STAGES[target])
    recipes = re.search(r"for recipe in (.+?); do", lines["RUN"])[1].split()
    shipped = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "jobs" / "recipes").glob("*.yaml")}
    inputs = {n: [*r["sources"], *([r["backgrounds"]] if "backgrounds" in r else [])] for n, r in shipped.items()}
    without_data = {n for n, read in inputs.items() if all(one["uri"].startswith("phantom:") for one in read)}
    assert set(recipes) == without_data
    assert list(lines).index("RUN") > list(lines).index("USER"), "who runs the image must own what is compiled"
    environment = dict(word.split("=", 1) for word in " ".join(a for w, a in STAGES["base"] if w == "ENV").split())
    assert environment["NUMBA_CPU_NAME"] == "x86-64-v3"
    assert environment["NUMBA_CPU_FEATURES"] == ""  # else it is the builder's
    assert f"install --directory --owner 1000 --group 1000 {environment['NUMBA_CACHE_DIR']}" in " ".join(all_of("RUN"))
