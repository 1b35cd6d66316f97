"""What is installed: one top-level name, with all its files, whatever else is installed or lies in the folder."""

import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.clusters import RayCluster

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("engine", "generators", "infra", "jobs", "sinks")
PICTURES = "https://raw.githubusercontent.com/lesionforge/lesionforge/main/"
TINY = (
    "--set", "sources.0.options.count=2", "--set", "generator.params.grid=32", "--set", "generator.params.detector=64",
    "--set", "generator.params.spacing_mm=[3.4,4.4]", "--set", "multiply=1", "--set", "splits=[train]", "--json",
)  # fmt: skip


def build(kind, source, out):
    """A wheel or an sdist, in a copy: a build leaves its traces where it runs."""
    out.mkdir(exist_ok=True)
    code = f"import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, out], cwd=source, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel, the sdist, and the wheel that the sdist gives."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in (".src", *ROOMS):
        skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=skipped)
    wheel, sdist = build("wheel", source, folder / "wheel"), build("sdist", source, folder / "sdist")
    with tarfile.open(sdist) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return wheel, build("wheel", unpacked, folder / "again")


def test_one_top_level_name_and_every_file_of_the_rooms(built):
    tracked = subprocess.run(["git", "ls-files", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    kinds = (".py", ".yaml", ".md", ".html")
    wanted = {f"lesionforge/{name}" for name in tracked.split() if name.endswith(kinds) and (ROOT / name).exists()}
    for wheel in built:
        names = set(zipfile.ZipFile(wheel).namelist())
        assert {name.split("/")[0] for name in names} == {"lesionforge", f"lesionforge-{version()}.dist-info"}
        assert names >= wanted | {"lesionforge/__init__.py", "lesionforge/py.typed"}


def version():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_its_page_says_whose_it_is_and_shows_its_pictures(built):
    wheel = zipfile.ZipFile(built[0])
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    page = email.message_from_bytes(wheel.read(name))
    for field in ("Author", "Summary", "Keywords", "License-Expression", "Description-Content-Type"):
        assert page[field], field
    assert len(page.get_all("Classifier")) > 5
    assert len(page.get_all("Project-URL")) > 1
    for address in re.findall(r"!\[[^\]]*\]\(([^)]*)\)", page.get_payload()):
        assert address.startswith(PICTURES), f"{address}: a package index shows no relative picture"
        assert (ROOT / address.removeprefix(PICTURES)).is_file(), address


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """A fresh environment with the wheel, and beside it a package with top-level ``engine`` and ``jobs``.

    What the wheel requires comes from this environment, except for this project itself.
    """
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=100)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    zipfile.ZipFile(built[0]).extractall(site)  # a wheel is installed by unpacking it; its script is made here
    for name, module in (("lesionforge", "lesionforge.jobs.cli"), ("ray", "ray.scripts.scripts")):
        script = folder / "bin" / name
        script.write_text(f"#!{folder}/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
        script.chmod(0o755)
    for room in ("engine", "jobs"):
        (site / room).mkdir()
        (site / room / "__init__.py").write_text("raise RuntimeError('somebody else has this name')\n")
    theirs = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    for path in theirs:  # what a .pth adds is honoured, but for the way to this checkout
        theirs += [line for pth in Path(path).glob("*.pth") for line in pth.read_text().splitlines() if line[:1] == "/"]
    ours = (str(ROOT), str(ROOT / ".src"))
    (site / "requirements.pth").write_text("\n".join(path for path in dict.fromkeys(theirs) if path not in ours))
    return folder


def run(installed, folder, *command):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "RAY_", "VIRTUAL"))}
    env = {**clean, "PATH": f"{installed}/bin:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path):
    """Somebody's folder, with packages of the names that our rooms have."""
    folder = tmp_path / "project"
    for room in ROOMS:
        (folder / room).mkdir(parents=True)
        (folder / room / "__init__.py").write_text("raise RuntimeError('this is the user\\'s own')\n")
    return folder


def test_it_runs_from_another_folder_beside_other_people_s_engine_and_jobs(installed, project, tmp_path):
    lesionforge = installed / "bin" / "lesionforge"
    where = "import lesionforge.jobs.cli as m, lesionforge as lf; print(m.__file__, lf.__version__)"
    file, number = run(installed, project, installed / "bin" / "python", "-c", where).split()
    assert Path(file).is_relative_to(installed)
    assert number == version()
    assert run(installed, project, lesionforge, "--version").split()[1] == number
    assert json.loads(run(installed, project, lesionforge, "plan", "demo", "--json"))["samples"] == 80
    out = tmp_path / "out"
    made = json.loads(run(installed, project, lesionforge, "generate", "demo", *TINY, "--out", out, "--in-process"))
    assert (made["samples"], made["quota_met"]) == (4, True)


def test_it_runs_as_a_job_whose_folder_has_its_own_jobs(installed, project, tmp_path):
    cluster, out = RayCluster(installed / "bin", cpus=1), tmp_path / "out"
    try:
        command = ["ray", "job", "submit", "--address", cluster.dashboard, "--working-dir", ".", "--"]
        command += ["lesionforge", "generate", "demo", *TINY, "--out", str(out), "--workers", "1"]
        done = subprocess.run(command, cwd=project, env=cluster.env, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stdout + done.stderr + cluster.said()
    finally:
        cluster.close()
    assert (out / "_SUCCESS").exists()
