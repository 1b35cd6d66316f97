"""A fitted model as a folder: networks as safetensors, never a pickle, and ``lesionforge.json`` beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

FILE = "lesionforge.json"
REMEDY = "give the folder `model` that `lesionforge fit` wrote"


@dataclass(frozen=True, kw_only=True)
class FittedSettings:
    """What a fitted model's folder says beside its weights; every learned backend adds its own fields.

    Attributes:
        preset: name of the sizes it was built from.
        steps: of the sampler, unless the recipe says otherwise.
        guidance: of the prompt against none; 1 takes the prompt as it is.
        digest: SHA-256 over the saved weights, so that a dataset can tell which ones made it.
    """

    preset: str
    steps: int = 0
    guidance: float = 1.0
    digest: str = ""

    def save(self, folder: Path) -> None:
        """Write ``lesionforge.json``."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``lesionforge.json``; its lists are tuples.

        Raises:
            FileNotFoundError, ValueError: no such folder; no such file in it, or one of another version; the message
                names it, and the fix.
        """
        file = folder / FILE
        if not folder.is_dir():  # it may be there again in a while
            raise FileNotFoundError(f"{folder} is not there: {REMEDY}")
        if not file.is_file():
            raise ValueError(f"{file} is missing: {REMEDY}")
        try:
            record = json.loads(file.read_text())
            known = {f.name for f in fields(cls)}
            if not isinstance(record, dict) or set(record) != known:
                raise ValueError(f"its fields are not {', '.join(sorted(known))}")
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{file} is not of this version: {error}; fit it again") from None


S = TypeVar("S", bound=FittedSettings)


class FittedModel(Generic[S]):
    """Networks, a noise schedule and settings as one thing. Subclasses hold each network under its name.

    Attributes:
        NETWORKS: names of the attributes that hold networks; None where a backend has none.
        settings: in words and numbers.
        schedule: a diffusers ``DDIMScheduler``: training and sampling take every noise level from this one object,
            so that neither can know another schedule than the other.
    """

    NETWORKS: ClassVar[tuple[str, ...]]
    settings: S
    schedule: Any

    def networks(self) -> Iterator[tuple[str, Any]]:
        """Name and module of each network there is."""
        for name in self.NETWORKS:
            if getattr(self, name) is not None:
                yield name, getattr(self, name)

    def to(self, device: str, dtype: Any = None) -> Self:
        """Move to a device; ``dtype`` for the networks, None as they are."""
        for _, network in self.networks():
            network.to(device)
            if dtype is not None:
                network.to(dtype)
        if self.schedule is not None:
            self.schedule.alphas_cumprod = self.schedule.alphas_cumprod.to(device)
        return self

    def save(self, folder: Path) -> None:
        """Write everything the sampler needs; the settings then hold the weights' digest."""
        folder.mkdir(parents=True, exist_ok=True)
        self._save_networks(folder)
        self.settings = replace(self.settings, digest=_digest(folder))
        self.settings.save(folder)
        mode = (folder / FILE).stat().st_mode  # what the umask asks for; safetensors makes files their owner's alone
        for file in folder.rglob("*.safetensors"):
            file.chmod(mode)

    @staticmethod
    def check(folder: Path, settings: FittedSettings) -> None:
        """Hold the weights in a folder against the digest that its settings have of them.

        Raises:
            ValueError: where they are others.
        """
        if _digest(folder) != settings.digest:
            raise ValueError(f"the weights in {folder} are not those that its {FILE} was written for: copy both again")

    def _save_networks(self, folder: Path) -> None:
        raise NotImplementedError


@contextmanager
def fresh_weights(seed: int) -> Iterator[None]:
    """Networks made inside get the same random weights for a seed; torch's global generator is left as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):  # networks know only torch's global generator
        torch.manual_seed(seed)
        yield


def _digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of a folder's weights."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.safetensors")):
        digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()
