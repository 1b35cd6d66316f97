"""What a fitted model's folder says beside its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

FILE = "lesionforge.json"
HEALTHY = "healthy"
BACKENDS = ("difftumor", "medddpm", "promptlesion", "promptlesion-mask")

#: HU that the networks tell apart. DiffTumor's for the abdomen; there lumen and calcium would both be clipped.
WINDOWS: Mapping[str, tuple[float, float]] = {"abdomen": (-175.0, 250.0), "ccta": (-200.0, 900.0)}


@dataclass(frozen=True)
class Settings:
    """A model in words and numbers.

    Attributes:
        backend: one of ``BACKENDS``, or ``vqgan`` for an autoencoder alone.
        preset: name it was built from.
        side: of the cubes it works on, voxels.
        window: HU that become -1 and 1.
        spacing_mm: edge lengths of the voxels it was fitted on, (i, j, k).
        networks: arguments of each network there is: ``vqgan``, ``unet``, ``pixels``, ``prompt``.
        classes: of lesions, ``healthy`` the first.
        levels: of noise in the schedule.
        steps: of the sampler. All levels: DDPM's ancestral steps; fewer: DDIM without fresh noise.
        strength: share of the way to pure noise from which the background is taken back; 1: from noise alone.
        guidance: of the prompt against none; 1 takes the prompt as it is.
        digest: SHA-256 over the weights, so that a dataset can tell which ones made it.
    """

    backend: str
    preset: str
    side: int
    window: tuple[float, float]
    spacing_mm: tuple[float, float, float]
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    levels: int = 0
    steps: int = 0
    strength: float = 1.0
    guidance: float = 1.0
    digest: str = ""

    @property
    def prompted(self) -> bool:
        return self.backend.startswith("promptlesion")

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Settings:
        """Raises FileNotFoundError or ValueError, naming the file and what to do."""
        file = folder / FILE
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: give the folder `model` that `lesionforge fit` wrote")
        try:
            told = json.loads(file.read_text())
            if not isinstance(told, dict) or set(told) != {f.name for f in fields(cls)}:
                raise ValueError("other fields")
            for name in ("window", "spacing_mm", "classes"):
                told[name] = tuple(told[name])
            return cls(**told)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{file} is not of this version: {error}") from None
