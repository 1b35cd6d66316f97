"""``recipe.json``: what a dataset's folder says of itself before its first shard, so that it needs no other memory.

With it ``status`` and ``verify`` rebuild the plan from the storage alone, and ``replay`` the very sample.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from lesionforge.engine.pipeline import Job
from lesionforge.engine.plan import Plan
from lesionforge.engine.recipe import Recipe
from lesionforge.generators.types import UserError
from lesionforge.sinks import layout
from lesionforge.sinks.store import Store

LIBRARIES = ("lesionforge", "numpy", "scipy", "numba", "pillow", "pyarrow", "ray", "torch")


class DatasetError(UserError):
    """A folder that is no dataset, or another one than expected; the message says which and what to do."""


@dataclass(frozen=True)
class SourceSize:
    """What the plan must know of a source, and what the card says of it."""

    scheme: str
    subjects: Annotated[int, Field(ge=1, lt=2**62)]
    cases_per_subject: Annotated[int, Field(ge=1, lt=2**31)]
    fingerprint: str
    licence: str


@dataclass(frozen=True)
class Document:
    """The self-description of a dataset."""

    identity: str
    recipe: Recipe
    sources: tuple[SourceSize, ...]
    sample_bytes: Annotated[int, Field(ge=1, lt=2**62)] | None
    versions: dict[str, str]

    @property
    def plan(self) -> Plan:
        """The plan, from what is written here."""
        return Plan(self.recipe, self.sources, self.sample_bytes)

    def to_bytes(self) -> bytes:
        """As it is stored. ``out``, ``resources`` and ``storage_options`` are no part of the dataset."""
        recipe = self.recipe.model_dump(mode="json", exclude={"out", "resources"})
        body = {
            "layout": layout.LAYOUT_VERSION,
            "identity": self.identity,
            "recipe": recipe,
            "sources": [asdict(source) for source in self.sources],
            "sample_bytes": self.sample_bytes,
            "versions": self.versions,
        }
        return (json.dumps(body, indent=1, sort_keys=True) + "\n").encode()


_DOCUMENT = TypeAdapter(Document)


def describe(job: Job) -> Document:
    """The document of a job's dataset."""
    opened = list(zip(job.recipe.sources, job.sources, strict=True))
    sizes = tuple(
        SourceSize(r.scheme, s.subjects, s.cases_per_subject, mark, s.licence)
        for (r, s), mark in zip(opened, job.fingerprints, strict=True)
    )
    # A path may hold a patient's name (promise P8), and a dataset is handed on: its recipe says no place.
    unplaced = tuple(r if s.public_place else r.model_copy(update={"uri": f"{r.scheme}:"}) for r, s in opened)
    recipe = job.recipe.model_copy(update={"sources": unplaced})
    return Document(job.identity, recipe, sizes, job.generator.sample_bytes(), versions())


def versions() -> dict[str, str]:
    """Installed versions of the libraries that decide bytes."""
    out = {}
    for name in LIBRARIES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out


def read(store: Store) -> Document:
    """The document of the dataset in a place.

    Raises:
        DatasetError: where there is none, or it cannot be read.
    """
    try:
        raw: dict[str, Any] = json.loads(store.get(layout.RECIPE))
        if raw["layout"] != layout.LAYOUT_VERSION:
            raise DatasetError(
                f"{store.url(layout.RECIPE)}: layout {raw['layout']}, this lesionforge reads {layout.LAYOUT_VERSION}"
            )
        parts = {field.name: raw[field.name] for field in fields(Document)}
        doc = _DOCUMENT.validate_python({**parts, "recipe": Recipe.model_validate(raw["recipe"])}, strict=False)
        if len(doc.sources) != len(doc.recipe.sources) or "lesionforge" not in doc.versions:
            raise ValueError("its sources or versions do not fit its recipe")
        return doc
    except FileNotFoundError:
        raise DatasetError(f"{store.url()} holds no dataset: {layout.RECIPE} is missing") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        at = ".".join(map(str, fault["loc"]))
        raise DatasetError(f"{store.url(layout.RECIPE)} cannot be read: {at}: {fault['msg']}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DatasetError(f"{store.url(layout.RECIPE)} cannot be read: {said}") from None


def claim(store: Store, mine: Document) -> Document:
    """Take a place for a dataset, or find that it is this dataset's already, which may grow (``multiply``).

    Returns:
        The document that stands: with the library versions that the dataset was begun with.

    Raises:
        DatasetError: where another dataset lies there, or this one made by another version or with more variants.
    """
    if store.put_new(layout.RECIPE, mine.to_bytes()):
        return mine
    there = read(store)
    place = store.url()
    if there.identity != mine.identity:
        raise DatasetError(
            f"{place} holds dataset {there.recipe.name!r} of recipe {there.identity[:12]}, this recipe is "
            f"{mine.identity[:12]}{_difference(there, mine)}; choose another --out"
        )
    if there.versions["lesionforge"] != mine.versions["lesionforge"]:
        raise DatasetError(
            f"{place} was begun by lesionforge {there.versions['lesionforge']}, this is "
            f"{mine.versions['lesionforge']}: continue with that version or choose another --out"
        )
    if there.recipe.multiply > mine.recipe.multiply:
        raise DatasetError(
            f"{place} holds x{there.recipe.multiply}; x{mine.recipe.multiply} is less: a dataset only grows. "
            f"Set multiply to {there.recipe.multiply} or more, or choose another --out"
        )
    mine = replace(mine, versions=there.versions)
    if there.to_bytes() != mine.to_bytes():  # it grows, its sources have moved, or more may be missing
        store.delete(layout.SUCCESS)
        store.put(layout.RECIPE, mine.to_bytes())
    return mine


def _difference(there: Document, mine: Document) -> str:
    a, b = (d.recipe.model_dump(mode="json") for d in (there, mine))
    fields = [name for name in a if name not in ("multiply", "out", "resources", "sources") and a[name] != b[name]]
    if there.sources != mine.sources or [s.options for s in there.recipe.sources] != [
        s.options for s in mine.recipe.sources
    ]:
        fields.append("sources")
    return f" (they differ in {', '.join(fields)})" if fields else ""
