"""What only a GPU can show, in one command of nine minutes: ``python -m tests.gpu --data TREES`` (or ``make gpu``).

Parts run in the order of their value, each in a process of its own and within its share of the time; what one leaves
goes to the next. ``OUT/NAME.json`` grows while a part runs, ``OUT/results.json`` holds all. Exit code 0: all passed;
1: something failed; 3: nothing failed, but something was skipped as a library is missing. To add a part: a module here
with ``NEEDS`` (modules), ``SHARE`` (of the time) and ``run(asked, report)``, and its name in ``PARTS``.

The trees are made beforehand, on CPUs (2,200 of them: ten core minutes, 40 MB):

    lesionforge generate tests/gpu/trees.yaml --out trees

Without ``--data`` they are made here, on all cores, out of the same time. ``--stenoses`` takes real frames (a dataset
of tests/gpu/stenoses.yaml) to fit the diffusion backend on and to draw into, in place of phantoms that are made here,
``--lesions`` CT with plaques (of tests/gpu/lesions.yaml, or any dataset of plaques) to fit the lesion backends on.
``--device cpu --toy`` runs everything at toy size in a minute or two.

On a bare machine: a copy of the tree is enough, nothing is to be installed (the package is found in ``.src``, whose
links must be kept). From its root: ``python3 -m tests.gpu --data trees``. It must hold torch, torchvision, accelerate,
safetensors, numpy, scipy, scikit-image, numba, pyarrow, fsspec, cloudpickle, pillow and rich. Parts say what else they
miss; carried as wheels (10 MB in all, `pip install --no-deps --target site *.whl`, `PYTHONPATH=site`) diffusers with
transformers, pydantic with pydantic-core, annotated-types and typing-inspection, and monai make all of them run but for
``dataset``, which needs Ray and lesionforge itself installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if find_spec("lesionforge") is None:  # a bare checkout; processes of this one find it by the variable
    sys.path.insert(0, str(ROOT / ".src"))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / ".src"), *filter(None, [os.environ.get("PYTHONPATH")])])

from tests.gpu.part import Asked, MissingError, Report, missing, need, say, write  # noqa: E402

# The most valuable first.
PARTS = ("reconstruction", "diffusion", "stenoses", "lesions", "projector", "backends", "dataset")
SECONDS = 530.0
GRACE = 8.0  # seconds after its time until a part is ended


CARD = """
import json, os, sys, torch
told = {"torch": torch.__version__, "CUDA": torch.version.cuda, "cores": len(os.sched_getaffinity(0))}
if torch.cuda.is_available():
    card = torch.cuda.get_device_properties(sys.argv[1])
    told = {"device": card.name, "GiB": round(card.total_memory / 2**30), **told}
else:
    told["problem"] = "no GPU is seen: try --device cpu --toy"
print(json.dumps(told))
"""


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="TREES", help="a dataset of tests/gpu/trees.yaml")
    parser.add_argument("--stenoses", type=Path, metavar="DRAWN", help="a dataset of tests/gpu/stenoses.yaml")
    parser.add_argument("--lesions", type=Path, metavar="DRAWN", help="a dataset of tests/gpu/lesions.yaml")
    parser.add_argument(
        "--out", type=Path, default=Path("gpu-results"), metavar="OUT", help="folder of the results (%(default)s)"
    )
    parser.add_argument("--device", default="cuda", help="torch device")
    parser.add_argument("--toy", action="store_true", help="toy sizes: shows that all runs")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of the parts")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts together (%(default)g)")
    parser.add_argument("--in-process", action="store_true", help="all in one process, none is ended; to look closely")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)  # this is the process of a part
    asked = parser.parse_args(given)
    if asked.data is not None and not asked.data.is_dir():
        parser.error(f"--data {asked.data} is no folder: give a dataset that tests/gpu/trees.yaml made")
    if asked.stenoses is not None and not asked.stenoses.is_dir():
        parser.error(f"--stenoses {asked.stenoses} is no folder: give a dataset that tests/gpu/stenoses.yaml made")
    if asked.lesions is not None and not asked.lesions.is_dir():
        parser.error(f"--lesions {asked.lesions} is no folder: give a dataset that tests/gpu/lesions.yaml made")
    asked.out.mkdir(parents=True, exist_ok=True)
    told = Asked(asked.device, asked.toy, asked.data, asked.out, asked.stenoses, asked.lesions)
    if asked.part:
        return here(asked.part, told, asked.seconds)
    end = time.monotonic() + asked.seconds
    machine = seen(told)
    if "problem" in machine:
        parser.error(machine["problem"])
    say(", ".join(f"{name} {value}" for name, value in machine.items()))
    results: dict[str, Any] = {"machine": machine, "toy": told.toy, "parts": {}}
    rest = [name for name in PARTS if name in asked.only]
    for at, name in enumerate(rest):
        shares = [importlib.import_module(f"tests.gpu.{other}").SHARE for other in rest[at:]]
        seconds = max(1.0, (end - time.monotonic() - GRACE) * shares[0] / sum(shares))
        say(f"{name} (at most {seconds:.0f} s)")
        (here if asked.in_process else apart)(name, told, seconds)
        results["parts"][name] = json.loads((told.out / f"{name}.json").read_text())
        write(told.out / "results.json", results)
    states = [part["state"] for part in results["parts"].values()]
    results["passed"] = all(state == "passed" for state in states)
    write(told.out / "results.json", results)
    say(summary(results))
    return 0 if results["passed"] else 1 if "failed" in states else 3


def here(name: str, asked: Asked, seconds: float) -> int:
    """Run a part in this process."""
    module, report = importlib.import_module(f"tests.gpu.{name}"), Report(name, asked.out, seconds)
    try:
        need(*module.NEEDS)
        module.run(asked, report)
    except MissingError as error:
        report.skip(f"the part {name}", str(error))
    except Exception as error:
        traceback.print_exc()
        if lacks := missing(error):
            report.skip(f"the part {name}", lacks)
            report.end()
            return 0
        report.end(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")
        return 1
    report.end()
    return 0


def apart(name: str, asked: Asked, seconds: float) -> None:
    """Run a part in a process of its own, whose memory and faults are its own, and end that when its time is over."""
    told = {key: str(value) for key, value in asdict(asked).items() if key != "toy" and value is not None}
    command = [sys.executable, "-m", "tests.gpu", "--part", name, "--seconds", f"{seconds:.1f}"]
    command += [word for key, value in told.items() for word in (f"--{key}", str(Path(value).absolute()))
                if key != "device"] + ["--device", asked.device] + ["--toy"] * asked.toy  # fmt: skip
    file = asked.out / f"{name}.json"
    file.unlink(missing_ok=True)
    with (asked.out / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=log, start_new_session=True)
        try:
            process.wait(seconds + GRACE)
            why = f"its process ended with {process.returncode}"
        except subprocess.TimeoutExpired:
            why = f"it did not end within {seconds:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # with its own workers
                process.wait()
    body = json.loads(file.read_text()) if file.is_file() else {"seconds": seconds, "checks": [], "skipped": []}
    if body.get("state", "running") == "running":
        write(file, {**body, "state": "failed", "error": f"{why}; see {log.name}"})
        say(f"  FAILED: {why}; see {log.name}")


def seen(asked: Asked) -> dict[str, Any]:
    """The machine, asked in a process that ends: one that has touched a GPU cannot be forked."""
    if find_spec("torch") is None:
        return {"problem": "torch is not installed: every part needs it"}
    if not asked.cuda:
        return {"device": asked.device, "cores": len(os.sched_getaffinity(0))}
    done = subprocess.run([sys.executable, "-c", CARD, asked.device], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"problem": f"--device {asked.device}: {(done.stderr.splitlines() or ['no message'])[-1]}"}
    return dict(json.loads(done.stdout))


def summary(results: dict[str, Any]) -> str:
    """A line a part."""
    lines = ["", "part             state    checks met      s"]
    for name, part in results["parts"].items():
        met = f"{sum(one['met'] for one in part['checks'])} of {len(part['checks'])}"
        lacking = dict.fromkeys(word for one in part["skipped"] for word in one["needs"].split(", "))
        why = part.get("error", f"needs {', '.join(lacking)}" if lacking else "")
        lines.append(f"{name:15s}  {part['state']:7s}  {met:>10s}  {part['seconds']:5.0f}  {why}".rstrip())
    return "\n".join([*lines, "", "all passed" if results["passed"] else "not all passed"])


if __name__ == "__main__":
    sys.exit(main())
