"""One recipe made as other CPUs would: every library told to leave out what those lack."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from numpy._core._multiarray_umath import __cpu_dispatch__ as DISPATCHED  # what numpy has more than one loop for

ROOT = Path(__file__).resolve().parents[2]
OLD = " ".join(DISPATCHED)
NO_AVX512 = " ".join(name for name in DISPATCHED if name == "X86_V4" or "AVX512" in name)
SETTINGS: dict[str, Mapping[str, str]] = {
    "this CPU": {},
    "AVX2": {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": NO_AVX512, "ATEN_CPU_CAPABILITY": "avx2"},
    "SSE4.2": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": OLD,
        "ATEN_CPU_CAPABILITY": "default",
        # exp, log, sin ... of the C library, which numpy's and scipy's plain loops and Python call
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F,-AVX2_Usable,-FMA_Usable",
    },
    "SSE4.2, numba too": {  # compiles every kernel anew
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": OLD,
        "NUMBA_CPU_NAME": "nehalem",
    },
}


def made(setting: str, recipe: str | Path, out: Path, *options: str) -> dict[str, str]:
    """SHA-256 of each shard of a recipe that is made under one of the settings.

    Args:
        options: of ``lesionforge generate``.
    """
    env = os.environ | SETTINGS[setting] | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    if setting.endswith("numba too"):
        env["NUMBA_CACHE_DIR"] = str(out.parent / "numba")
    main = "from lesionforge.jobs.cli import main; main()"
    command = [sys.executable, "-c", main, "generate", str(recipe), "--in-process", "--out", str(out), "--json"]
    done = subprocess.run([*command, *options], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{setting}: {done.stdout} {done.stderr}"
    assert json.loads(done.stdout)["samples"]
    tars = sorted(out.glob("shards/*.tar"))
    return {tar.name: hashlib.sha256(tar.read_bytes()).hexdigest() for tar in tars}
