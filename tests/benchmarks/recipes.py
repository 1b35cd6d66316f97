"""Whole recipes, this tree against another: ``python -m tests.benchmarks.recipes [--before PYTHON] [--only ROW ...]``.

``PYTHON`` is the interpreter of another checkout's environment; the two take turns, A B A B. Every run is a process of
its own with an empty cache folder, which first makes a small dataset of the same recipe from other subjects (imports,
compiled kernels), and then the one that is measured: a whole ``generate`` in the process, its end and its pictures
included. CPU is user and system of that second run, over its samples. Then what people wait for: ``plan``, ``status``
and opening the reader, of 10,000 shards. The decoded members of both trees are compared. What needs real data is
skipped where ``LESIONFORGE_DATA`` (or ``../shared/data``) has none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from tests.benchmarks.common import Row, goal, goals, load, median, table

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("LESIONFORGE_DATA") or ROOT.parent / "shared" / "data")
RECIPES = ROOT / "jobs" / "recipes"
SHARDS = 10_000  # of the dataset that is looked at and opened
REMEMBERED = 16  # frames in memory where ARCADE's sample stands for its 1,000 frames and the 256 of a real run
TRUTH = "cells are filled by their share of volume, images are of the surface, trees are framed"
PACKED = re.compile(r"(\.delta)?(\.npy)(\.gz|\.zst)?$")


@dataclass(frozen=True)
class Kind:
    """A recipe that is measured: what is set in it, of the small run before and of the run itself."""

    recipe: str
    warm: Mapping[str, Any]
    run: Mapping[str, Any]
    goal_ms: float
    goal_kb: float | None = None
    goal_mib: float | None = None
    data: Callable[[Path], None] | None = None  # writes warm/ and run/ into a folder
    differs: str = ""  # why its members may be other than those of the tree before


def _phantoms(count: int, multiply: int) -> dict[str, Any]:
    return {"multiply": multiply, "sources.0.options.count": count, "sources.0.split": {"train": 1}}


def _kinds() -> dict[str, Kind]:
    arcade = {"sources.0.uri": "arcade:{data}", "quality.max_quarantined": 1}
    labels = {"sources.0.uri": "imagecas:{data}", "sources.0.split": {"train": 1}}
    organs = {
        "sources.0.uri": "ct:{data}",
        "sources.0.split": {"train": 1},
        "sources.0.options.legend": {5: "liver", 2: "kidney", 3: "kidney", 7: "pancreas"},
        "sources.0.options.region": ["liver", "kidney"],
    }
    return {
        "demo, x20": Kind("demo", {"seed": 1, **_phantoms(2, 2)}, _phantoms(10, 20), 20, differs=TRUTH),
        "biplane_imagecas, x10": Kind(
            "biplane_imagecas", {**labels, "multiply": 2}, labels, 40, 60, None, _labels, TRUTH
        ),
        "stenosis_arcade, x4": Kind("stenosis_arcade", arcade, arcade, 65, None, None, _arcade),
        "stenosis_phantom, x1": Kind("stenosis_phantom", {"seed": 1, **_phantoms(1, 1)}, _phantoms(20, 1), 270),
        "plaque_phantom, x5": Kind("plaque_phantom", {"seed": 1, **_phantoms(1, 1)}, _phantoms(8, 5), 250),
        "lesion_phantom, x5": Kind("lesion_phantom", {"seed": 1, **_phantoms(1, 1)}, _phantoms(8, 5), 200),
        "lesion_ct, x5": Kind("lesion_ct", {**organs, "multiply": 1}, organs, 800, None, None, _volumes),
        "angio_ct_phantom, x2": Kind(
            "angio_ct_phantom", {"seed": 1, **_phantoms(1, 1)}, _phantoms(2, 2), 3000, None, 600
        ),
    }


def _labels(folder: Path) -> None:
    """One real label as five patients: mirrored and rolled, so that none is another's twin."""
    import nibabel as nib
    import numpy as np

    image = nib.load(DATA / "coronary_tree_3d" / "imagecas_example.label.nii.gz")
    voxels = np.asarray(image.dataobj).astype(np.uint8)
    for k in range(5):
        place = folder / ("run" if k else "warm")
        place.mkdir(exist_ok=True)
        moved = np.roll(voxels, 3 * k, axis=2)[:: -1 if k % 2 else 1]
        nib.save(nib.Nifti1Image(moved, image.affine), place / f"{k + 1}.label.nii.gz")


def _arcade(folder: Path) -> None:
    """ARCADE's sample; of the small run one of its frames."""
    shutil.copytree(DATA / "arcade", folder / "run")
    os.mkdir(folder / "warm")
    shutil.copytree(DATA / "arcade" / "images", folder / "warm" / "images")
    for path in (DATA / "arcade").glob("*.json"):
        raw = json.loads(path.read_text())
        kept = {image["id"] for image in sorted(raw["images"], key=lambda image: image["file_name"])[:4]}
        raw["images"] = [image for image in raw["images"] if image["id"] in kept]
        raw["annotations"] = [one for one in raw["annotations"] if one["image_id"] in kept]
        (folder / "warm" / path.name).write_text(json.dumps(raw))


def _volumes(folder: Path) -> None:
    """The real CT of organs as it is (small run), and two of 512 x 512 x 300 voxels: slices mirrored to 30 cm."""
    import nibabel as nib
    import numpy as np
    from scipy import ndimage

    for name, of, order in (("ct", "ct_sm", 1), ("seg", "seg", 0)):
        path = DATA / "ct_organs" / f"example_{of}.nii.gz"
        for place in ("warm", "run"):
            (folder / place).mkdir(exist_ok=True)
        shutil.copy(path, folder / "warm" / f"a_{name}.nii.gz")
        image = nib.load(path)
        voxels = np.asarray(image.dataobj).astype(np.int16)
        voxels = np.pad(voxels, ((0, 0), (0, 0), (35, 35)), "symmetric")
        factors = np.divide((512, 512, 300), voxels.shape)
        fine = ndimage.zoom(voxels, factors, order=order, grid_mode=True, mode="nearest")
        affine = image.affine @ np.diag([*(1 / factors), 1])
        for subject, voxels in (("b", fine), ("c", fine[::-1])):  # of one alone the reader remembers
            nib.save(nib.Nifti1Image(voxels, affine), folder / "run" / f"{subject}_{name}.nii.gz")


# In the child: whichever tree its interpreter belongs to


def child(name: str, folder: Path) -> None:
    from lesionforge.generators.stenosis import generator as stenosis
    from lesionforge.jobs import console
    from lesionforge.jobs.commands.generate import generate

    console.err.quiet = True
    with mock.patch.object(stenosis, "FRAMES", REMEMBERED):
        generate(folder / "warm.yaml", str(folder / "out-warm"), None, in_process=True)
        before, start = _cpu(), time.monotonic()
        result = generate(folder / "run.yaml", str(folder / "out"), None, in_process=True)
    found = {
        "cpu": _cpu() - before,
        "wall": time.monotonic() - start,
        "peak_mib": _peak(),
        "samples": result.body()["samples"],
        "quarantined": result.body()["quarantined"],
        "bytes": result.body()["bytes"],
    }
    sys.stdout.write(f"\nRESULT {json.dumps(found)}\n")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak() -> float:
    """MiB at most, of this process: the system's other figure, ru_maxrss, knows of its parent's, too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


# In the parent


def run(python: str, name: str, kind: Kind, inputs: Path) -> Row:
    """One process of one tree; with the SHA-256 of its decoded members."""
    folder = Path(tempfile.mkdtemp(prefix="lesionforge-bench-"))
    try:
        for which, changes in (("warm", kind.warm), ("run", kind.run)):
            raw = yaml.safe_load((RECIPES / f"{kind.recipe}.yaml").read_text())
            for path, value in changes.items():
                _assign(raw, path.split("."), value.format(data=inputs / which) if isinstance(value, str) else value)
            (folder / f"{which}.yaml").write_text(json.dumps(raw))
        out = _process([python, "-m", "tests.benchmarks.recipes", "--child", name, str(folder)], folder)
        found: Row = json.loads(out.split("RESULT ", 1)[1])
        return {**found, "members": members(folder / "out" / "shards")}
    finally:
        shutil.rmtree(folder)


def _assign(node: Any, path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    node[path[-1]] = value


def _process(command: list[str], folder: Path) -> str:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    env["LESIONFORGE_CACHE"] = str(folder / "cache")
    os.makedirs(env["LESIONFORGE_CACHE"], 0o700, exist_ok=True)
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def members(shards: Path) -> str:
    """SHA-256 of all decoded arrays and pictures of a folder's shards, whatever they are packed in."""
    import tarfile

    from lesionforge.sinks.encode import decode

    found = []
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as file:
            for one in file:
                if not one.name.endswith(".json"):
                    array = decode(one.name.split(".", 1)[1], file.extractfile(one).read())
                    name = PACKED.sub(".npy", one.name)
                    found.append(f"{name} {array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}")
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


WAITED = {
    "plan demo": (
        "import sys\nfrom lesionforge.jobs.cli import main\nsys.argv = ['lesionforge', 'plan', 'demo']\nmain()",
        0.35,
    ),
    "status": (
        "import sys\nfrom lesionforge.jobs.cli import main\nsys.argv = ['lesionforge', 'status', {out!r}]\nmain()",
        2.0,
    ),
    "reader open": ("from lesionforge.sinks.reader import Samples\nassert len(Samples({out!r}))", 2.0),
}


def looked_at(folder: Path) -> str:
    """A dataset of many shards of a tiny sample."""
    from lesionforge.jobs.commands.generate import generate
    from tests.benchmarks.scale import recipe

    out = str(folder / "out")
    generate(recipe(SHARDS), out, None, in_process=True)
    return out


def waited(python: str, code: str, folder: Path) -> Row:
    """CPU and wall seconds of a command, its process included."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    _process([python, "-c", code], folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": cpu, "wall": time.monotonic() - start}


def compare(trees: Mapping[str, str], names: Sequence[str], rounds: int) -> dict[str, Any]:
    """Rows of the recipes and of the commands; ``trees``: interpreters by name, ours last."""
    kinds, rows, told = _kinds(), [], []
    for name in [name for name in names if name in kinds]:
        kind = kinds[name]
        with tempfile.TemporaryDirectory(prefix="lesionforge-bench-") as folder:
            if kind.data:
                if not DATA.is_dir():
                    say(f"{name}: skipped, no real data at {DATA}")
                    continue
                kind.data(Path(folder))
            runs: dict[str, list[Row]] = {tree: [] for tree in trees}
            for tree, python in list(trees.items()) * rounds:
                runs[tree].append(run(python, name, kind, Path(folder)))
        for tree in trees:
            rows.append(_row(name, tree, runs[tree]))
            say(
                f"{name}, {tree}: " + " ".join(f"{one['cpu'] / one['samples'] * 1e3:.1f}" for one in runs[tree]) + " ms"
            )
        told += _goals(name, kind, rows[-1])
        alike = {one["members"] for some in runs.values() for one in some}
        if kind.differs and len(alike) > 1:
            told.append(goal(f"{name}: decoded members differ, as they are meant to: {kind.differs}", True))
        else:
            told.append(goal(f"{name}: decoded members of {rows[-1]['samples']} samples are the same", len(alike) == 1))
    commands = [name for name in names if name in WAITED]
    looks = []
    with tempfile.TemporaryDirectory(prefix="lesionforge-bench-") as folder:
        out = looked_at(Path(folder)) if set(commands) - {"plan demo"} else ""
        for name in commands:
            code, most = WAITED[name]
            found: dict[str, list[Row]] = {tree: [] for tree in trees}
            for tree, python in list(trees.items()) * max(rounds, 2):
                found[tree].append(waited(python, code.format(out=out), Path(folder)))
            for tree in trees:
                looks.append(
                    {
                        "what": name,
                        "tree": tree,
                        **{key: median([one[key] for one in found[tree]]) for key in ("cpu", "wall")},
                    }
                )
                say(f"{name}, {tree}: " + " ".join(f"{one['cpu']:.2f}" for one in found[tree]) + " s")
            told.append(goal(f"{name}: {looks[-1]['cpu']:.2f} s of CPU (at most {most})", looks[-1]["cpu"] <= most))
    return {"rows": rows, "commands": looks, "goals": told}


def _row(name: str, tree: str, runs: Sequence[Row]) -> Row:
    samples = runs[0]["samples"]
    return {
        "recipe": name,
        "tree": tree,
        "samples": samples,
        "quarantined": runs[0]["quarantined"],
        "cpu_ms": 1e3 * median([one["cpu"] for one in runs]) / samples,
        "lowest": 1e3 * min(one["cpu"] for one in runs) / samples,
        "rate": samples / median([one["wall"] for one in runs]),
        "kb": runs[0]["bytes"] / samples / 1e3,
        "mib": max(one["peak_mib"] for one in runs),
    }


def _goals(name: str, kind: Kind, row: Row) -> list[Row]:
    out = []
    for what, key, most in (("ms", "cpu_ms", kind.goal_ms), ("kB", "kb", kind.goal_kb), ("MiB", "mib", kind.goal_mib)):
        if most:
            out.append(goal(f"{name}: {row[key]:.1f} {what} (at most {most:g})", row[key] <= most))
    return out


def measure(quick: bool = False) -> dict[str, Any]:
    """This tree alone; ``quick``: of the demo."""
    names = ["demo, x20", "plan demo"] if quick else [*_kinds(), *WAITED]
    return compare({"ours": sys.executable}, names, 1)


def text(result: dict[str, Any]) -> str:
    """The tables, for people."""
    columns = {
        "recipe": "recipe",
        "tree": "tree",
        "samples": "samples",
        "quarantined": "quarantined",
        "cpu_ms": "CPU ms a sample",
        "lowest": "lowest",
        "rate": "samples/s",
        "kb": "kB",
        "mib": "peak MiB",
    }
    out = table("Whole recipes in one process, the second dataset of that process", columns, result["rows"])
    commands = table(
        f"Whole commands ({SHARDS:,} shards)",
        {"what": "command", "tree": "tree", "cpu": "CPU s", "wall": "s"},
        result["commands"],
    )
    return out + commands + goals(result["goals"])


def say(line: str) -> None:
    sys.stderr.write(line + "\n")


def main() -> None:
    names = [*_kinds(), *WAITED]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.recipes")
    parser.add_argument("--before", metavar="PYTHON", help="the interpreter of the tree to compare with")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="ROW", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        return child(asked.child[0], Path(asked.child[1]))
    trees = {"before": asked.before} if asked.before else {}
    say(f"load {load():.2f}")
    result = compare({**trees, "ours": sys.executable}, asked.only, asked.rounds)
    sys.stdout.write(text(result))


if __name__ == "__main__":
    main()
