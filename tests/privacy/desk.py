"""Where a campaign works: a folder, the canaries in it, the commands that are run there and what they say."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lesionforge.engine.privacy import subject_hash
from tests.privacy import worlds
from tests.privacy.canaries import Canaries
from tests.privacy.search import Searched

ROOT = Path(__file__).resolve().parents[2]
PYTHONPATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
Command = tuple[str, dict[str, str], list[str]]


@dataclass
class Desk:
    """A new folder with sources in it. ``figures``: what is known so far; ``codes``: of the commands that were run."""

    folder: Path
    canaries: Canaries = field(default_factory=Canaries)
    codes: dict[str, int] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    secrets: int = 0

    def __post_init__(self) -> None:
        for name in ("sources", "said", "tmp", "cache", "home", "out"):
            (self.folder / name).mkdir()
        self.sources = worlds.sources(self.folder / "sources", self.canaries)
        self._old_hashes()
        self.env = {
            "PYTHONPATH": PYTHONPATH,
            "TMPDIR": str(self.folder / "tmp"),
            "LESIONFORGE_CACHE": str(self.folder / "cache"),
            "HOME": str(self.folder / "home"),
            "OMP_NUM_THREADS": "1",
            "LESIONFORGE_LOG": "debug",
        }
        self.recipe = self.write_recipe("recipe", {})
        self._control()

    def _control(self) -> None:
        """Search the sources: what is not found again there would not be found in an output either."""
        control = Searched()
        control.walk(self.folder / "sources", self.canaries)
        found = {value for _, value in control.leaks}
        known = [value for value in self.canaries.planted if self.canaries.found(value.encode()).keys() & found]
        self.figures["identifiers planted"] = len(known)  # without those in files that are cut short on purpose
        self.missed = sorted(set(self.canaries.planted) - set(known))

    def _old_hashes(self) -> None:
        """A name hashed with the seed alone could be guessed from a list of names: that is a leak, too."""
        key = hashlib.blake2b(b"subject/5", digest_size=32).digest()
        for value in list(self.canaries.planted):
            for subject in (value, *(f"{kind}/{value}" for kind in ("masks", "xml", "txt", "dicom"))):
                self.canaries.hexadecimal(subject_hash(key, subject), value)

    def write_recipe(self, name: str, changes: dict[str, Any]) -> Path:
        body = {
            "name": "privacy",
            "seed": 5,
            "sources": self.sources,
            "generator": {"name": "tests.privacy.nosy.Nosy", "params": {}},
            "multiply": 2,
            "splits": ["train"],
            "shard": {"samples": 20},
            "resources": {"cpus": 0.5},
            "quality": {"max_quarantined": 1, "redraws": 0},
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(body | changes, indent=1))
        return path

    def secret(self, name: str) -> str:
        self.secrets += 1
        return self.canaries.text(f"secret: {name}")

    def run(self, commands: list[Command], more: dict[str, str] | None = None) -> dict[str, int]:
        file = self.folder / "said" / "commands"
        file.write_text(json.dumps(commands))
        done = subprocess.run(
            [sys.executable, "-m", "tests.privacy.shell", str(file)], cwd=ROOT, text=True, capture_output=True,
            env={**environment(), **self.env, **(more or {})},
        )  # fmt: skip
        file.unlink()
        assert done.returncode == 0, done.stderr
        codes: dict[str, int] = json.loads(done.stdout)
        self.codes |= codes
        return codes

    def said(self, *names: str) -> str:
        """What commands said on both streams."""
        files = [self.folder / "said" / f"{name}.{stream}" for name in names for stream in ("out", "err")]
        return "\n".join(file.read_text() for file in files)


def environment() -> dict[str, str]:
    """This process's, without what belongs to others' clusters and buckets."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RAY_", "LESIONFORGE_"))}
