"""One process of the campaign: makes inputs by their numbers, has the product read them, and says how each ended.

It reads ``KIND NUMBER`` lines and answers each with a line of JSON. What kills it, hangs it or fills its memory is the
parent's to tell.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

from lesionforge.generators.types import UserError
from tests.fuzz.guard import Guard, limit_growth
from tests.fuzz.kinds import KINDS, load
from tests.fuzz.mutate import Rng

GENERIC = re.compile(r"(source|error): (\w+\.)*[A-Z]\w+: .*\(\w+\.py:\d+\)", re.DOTALL)  # see engine.sample.describe
LOOKED = ("read ", "os.listdir ", "os.scandir ")
MEMORY = re.compile(r"^memory: |MemoryError|malloc of size|[Uu]nable to allocate|bad_alloc")


def attempt(kind: str, number: int, seed: int, folder: Path, guard: Guard) -> dict[str, Any]:
    """Make one input and have it read.

    Returns:
        ``end``: read, quarantined, error (one line that names what it is about), generic (quarantined with an
        exception's type for a reason), crash (anything else that was raised), memory or escape; and what it ``said``.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    module, rng = load(kind), Rng(f"{seed}/{kind}/{number}")
    module.build(rng, folder)
    try:
        with guard.on(folder), contextlib.redirect_stderr(sys.__stderr__):
            said = [str(line) for line in module.run(rng, folder)]
        end = getattr(module, "NOTICED", "quarantined") if said else "read"
        if any(GENERIC.match(line) for line in said):
            end = "generic"
    except UserError as error:
        end, said = "error", [str(error)]
    except MemoryError as error:
        end, said = "memory", [repr(error)]
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        end, said = "crash", [f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"]
    if any(MEMORY.search(line) for line in said):
        end = "memory"
    if end == "error" and not module.told(said[0]):
        end, said = "crash", [f"says neither file nor field: {said[0]}"]
    if escapes := [e for e in guard.escapes if not (e.startswith(LOOKED) and getattr(module, "LOOKS_ANYWHERE", False))]:
        end, said = "escape", escapes
    return {"kind": kind, "number": number, "end": end, "said": [line[:300] for line in said[:3]]}


def main() -> None:
    """Serve until the input ends; arguments: seed, bytes of memory, folder."""
    seed, memory, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    os.environ["LESIONFORGE_CACHE"] = ""
    guard = Guard()
    for kind in KINDS:  # imports, and the sound input of each kind: none of that counts as an input's memory
        for _ in range(2):  # what is looked for once, such as tables of the library, is no escape
            warm = attempt(kind, -1, seed, folder, guard)
        if warm["end"] != "read":
            raise AssertionError(f"the sound {kind} is not read: {warm}")
    limit_growth(memory)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        kind, number = line.split()
        print(json.dumps(attempt(kind, int(number), seed, folder, guard)), file=answers, flush=True)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
