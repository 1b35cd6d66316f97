"""The recipe: what dataset to make, said completely. ``recipe_yaml`` reads one from YAML."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from lesionforge.generators.types import Split

UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def in_bytes(value: Any) -> Any:
    """A size such as 256 MiB in bytes; what is no text as it is.

    Raises:
        ValueError: saying how to write one.
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", value)
    if not match or (match[2] or "B") not in UNITS:
        raise ValueError(f"not a size in bytes; write a number with one of {', '.join(UNITS)}, such as 256 MiB")
    size = float(match[1]) * UNITS[match[2] or "B"]
    if not size < 2**63:
        raise ValueError("more bytes than there are; write a number such as 256 MiB")
    return int(size)


Bytes = Annotated[int, Field(ge=1, json_schema_extra={"examples": ["256 MiB"]}), BeforeValidator(in_bytes)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class SourceRecipe(_Strict):
    """Where the real (or phantom) cases come from."""

    uri: str = Field(description="SCHEME:PLACE, e.g. phantom:coronary, imagecas:/data/imagecas")
    options: dict[str, Any] = Field(default_factory=dict, description="options of that scheme")
    split: dict[Split, Fraction] = Field(
        default={"train": 0.8, "val": 0.1, "test": 0.1},
        description="shares of the subjects; a subject is in one split only",
    )

    @model_validator(mode="after")
    def _check(self) -> SourceRecipe:
        if ":" not in self.uri:
            raise ValueError(f"uri {self.uri!r} names no scheme; write SCHEME:PLACE, e.g. phantom:coronary")
        if abs(sum(self.split.values()) - 1) > 1e-9:
            raise ValueError(f"split shares add to {sum(self.split.values()):g}; they must add to 1")
        return self

    @property
    def scheme(self) -> str:
        """The part of the URI before the first colon: the name of the source's entry point."""
        return self.uri.split(":", 1)[0]


class GeneratorRecipe(_Strict):
    """What is made of a case."""

    name: str = Field(description="as installed packages register it, or package.module.Class")
    params: dict[str, Any] = Field(default_factory=dict, description="parameters of that generator")


class ShardRecipe(_Strict):
    """How large a shard may be: the unit of work, retry and commit."""

    samples: int = Field(default=100, ge=1, le=100_000, description="upper bound on a shard's samples")
    bytes: Bytes = Field(default=256 * 2**20, description="upper bound, by the generator's sample size")


class ResourcesRecipe(_Strict):
    """What one worker is given."""

    cpus: float = Field(default=1, gt=0, description="cores, for threads and for placing it")
    gpus: float = Field(default=0, ge=0, description="a fraction shares one GPU among workers")
    batch: int = Field(default=1, ge=1, description="samples per call of the generator; halved when memory runs out")
    memory: Bytes | None = Field(default=None, description="bytes a worker may take; a sample that needs more is lost")
    sample_seconds: float | None = Field(default=300, gt=0, description="time limit per sample; null: none")


class Limit(_Strict):
    """Bounds on one measured value."""

    min: float | None = Field(default=None, description="least value of a sample that is kept")
    max: float | None = Field(default=None, description="greatest value of a sample that is kept")


class QualityRecipe(_Strict):
    """When a sample is drawn again, when it is given up, and how many may be."""

    limits: dict[str, Limit] = Field(default_factory=dict, description="bounds on measured values, by name")
    redraws: int = Field(default=5, ge=0, le=1000, description="times that a sample out of its limits is drawn again")
    max_quarantined: Fraction = Field(default=0, description="share of the samples that may be missing")


class Recipe(_Strict):
    """One dataset, said completely."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="the dataset's: letters, digits, . _ -")
    seed: int = Field(ge=0, lt=2**63, description="of every random number: same seed and sources, same bytes")
    sources: tuple[SourceRecipe, ...] = Field(min_length=1, description="where the cases come from, one or several")
    backgrounds: SourceRecipe | None = Field(
        default=None,
        description="frames to lie behind the cases, for generators that take any: one for each sample, of its split",
    )
    generator: GeneratorRecipe = Field(description="what is made of a case")
    multiply: int = Field(default=1, ge=1, description="samples per case (xN of the real data)")
    splits: Annotated[tuple[Split, ...], Field(min_length=1)] = Field(
        default=("train", "val"), description="splits to generate into; test only where it is named here"
    )
    balance: dict[str, Annotated[float, Field(gt=0)]] | Literal["balanced", "fill", "natural"] | None = Field(
        default=None,
        description="class: share, which add to 1, or whole numbers as parts; or balanced (equal), fill (real and "
        "synthetic together equal), natural (as the sources' graded lesions); the shares are met exactly in every "
        "block: of 4 samples where they are .5, .25 and .25",
    )
    shard: ShardRecipe = Field(default=ShardRecipe(), description="how large a shard may be")
    out: str | None = Field(default=None, description="output URI; --out goes before it")
    resources: ResourcesRecipe = Field(default=ResourcesRecipe(), description="what one worker is given")
    quality: QualityRecipe = Field(default=QualityRecipe(), description="which samples are kept, how many may be lost")
    storage_options: dict[str, Any] = Field(
        default_factory=dict, exclude=True, repr=False, description="for fsspec, such as endpoint_url; no secrets"
    )

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if len(set(self.splits)) != len(self.splits):
            raise ValueError(f"splits {list(self.splits)} names one twice")
        if isinstance(self.balance, dict):
            total = sum(self.balance.values())
            if abs(total - 1) > 1e-9 and not all(share.is_integer() for share in self.balance.values()):
                raise ValueError(
                    f"balance: shares add to {total:g}; give shares that add to 1, or whole numbers as parts (3 and 1)"
                )
        return self

    @property
    def inputs(self) -> tuple[SourceRecipe, ...]:
        """All that is read: the sources, then the backgrounds where there are any."""
        return self.sources if self.backgrounds is None else (*self.sources, self.backgrounds)

    def field_of(self, n: int) -> str:
        """Where input ``n`` stands in the recipe: ``sources.0``, ``backgrounds``."""
        return f"sources.{n}" if n < len(self.sources) else "backgrounds"

    def reading(self, inputs: Sequence[SourceRecipe]) -> Recipe:
        """The recipe with others for its ``inputs``."""
        n = len(self.sources)
        return self.model_copy(update={"sources": tuple(inputs[:n]), "backgrounds": next(iter(inputs[n:]), None)})

    def identity(self, fingerprints: Sequence[str], subjects: str = "") -> str:
        """SHA-256 of everything that decides the samples' bytes.

        ``multiply``, ``out``, ``resources`` and ``quality.max_quarantined`` stay outside (a dataset may grow, move, be
        made on other machines and be accepted with losses), and so does the place of a source: its ``fingerprints``
        stand for what lies there.

        Args:
            fingerprints: of each input.
            subjects: ``Links.mark``: whose the cases are, where that is more than a number.
        """
        dump = self.model_dump(
            mode="json", exclude={"multiply": True, "out": True, "resources": True, "quality": {"max_quarantined"}}
        )
        behind = dump.pop("backgrounds")
        if behind is not None:
            dump["backgrounds"] = behind
        dumped = dump["sources"] if behind is None else [*dump["sources"], behind]
        for source, recipe, mark in zip(dumped, self.inputs, fingerprints, strict=True):
            source.update(uri=recipe.scheme, fingerprint=mark)
        dump |= {"subjects": subjects} if subjects else {}
        return hashlib.sha256(json.dumps(dump, sort_keys=True).encode()).hexdigest()
