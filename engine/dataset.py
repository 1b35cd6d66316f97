"""``recipe.json``: what a dataset's folder says of itself before its first shard, so that it needs no other memory.

With it ``status`` and ``verify`` rebuild the plan from the storage alone, and ``replay`` the very sample.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from itertools import groupby
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from lesionforge.engine.identity import difference, versions
from lesionforge.engine.links import MAX_TABLE, NO_LINKS, Links
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.plan import Plan
from lesionforge.engine.recipe import Recipe
from lesionforge.generators.types import UserError
from lesionforge.sinks import layout
from lesionforge.sinks.limits import DOCUMENT, parsed
from lesionforge.sinks.store import Store
from lesionforge.sinks.text import one_line

Count = Annotated[int, Field(ge=1, lt=2**31)]
AND = " and "  # between the versions of a library where several made a dataset


class DatasetError(UserError):
    """A folder that is no dataset, or another one than expected; the message says which and what to do."""


@dataclass(frozen=True)
class SourceSize:
    """What the plan must know of an input, and what the card says of it: ``left_over``, files in no case by reason."""

    scheme: str
    subjects: Annotated[int, Field(ge=1, lt=2**62)]
    cases_per_subject: Annotated[int, Field(ge=1, lt=2**31)]
    fingerprint: str
    licence: str
    left_over: dict[str, Annotated[int, Field(ge=1, lt=2**62)]] = field(default_factory=dict)
    runs: tuple[tuple[Count, Count], ...] = ()  # where subjects have not equally many cases: so many, of so many each

    @property
    def sizes(self) -> list[int] | None:
        """The cases of each subject, where they have not equally many."""
        if sum(count for count, _ in self.runs) > MAX_TABLE:
            raise DatasetError(f"{layout.RECIPE}: a source has more than {MAX_TABLE} subjects told one by one")
        return [size for count, size in self.runs for _ in range(count)] or None

    @property
    def cases(self) -> int:
        """How many there are."""
        return sum(count * size for count, size in self.runs) or self.subjects * self.cases_per_subject


@dataclass(frozen=True)
class DatasetDescription:
    """The self-description of a dataset."""

    identity: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    recipe: Recipe
    sources: tuple[SourceSize, ...]
    sample_bytes: Annotated[int, Field(ge=1, lt=2**62)] | None
    versions: dict[str, str]
    links: Links = NO_LINKS

    @property
    def edited(self) -> bool:
        """Whether the recipe no longer gives the identity that stands beside it."""
        marks = [source.fingerprint for source in self.sources]
        return self.recipe.identity(marks, self.links.mark(s.sizes for s in self.sources)) != self.identity

    @cached_property
    def plan(self) -> Plan:
        """The plan, from what is written here."""
        return Plan(self.recipe, self.sources, self.sample_bytes, links=self.links)

    def to_bytes(self) -> bytes:
        """As it is stored. ``out``, ``resources`` and ``storage_options`` are no part of the dataset."""
        recipe = self.recipe.model_dump(mode="json", exclude={"out", "resources"})
        if recipe["backgrounds"] is None:
            del recipe["backgrounds"]
        body = {
            "layout": layout.LAYOUT_VERSION,
            "identity": self.identity,
            "recipe": recipe,
            "sources": [asdict(source) for source in self.sources],
            "sample_bytes": self.sample_bytes,
            "versions": self.versions,
            "links": {"groups": self.links.groups, "alike": self.links.alike},
        }
        return (json.dumps(body, indent=1, sort_keys=True) + "\n").encode()


_DESCRIPTION = TypeAdapter(DatasetDescription)


def describe(pipeline: Pipeline) -> DatasetDescription:
    """The description of a pipeline's dataset."""
    opened = list(zip(pipeline.recipe.inputs, pipeline.sources, strict=True))
    sizes = tuple(
        SourceSize(r.scheme, s.subjects, s.cases_per_subject, mark, s.licence, left_over, _runs(s.sizes or ()))
        for (r, s), mark, left_over in zip(opened, pipeline.fingerprints, pipeline.left_over, strict=True)
    )
    sample_bytes = pipeline.generator.sample_bytes()
    return DatasetDescription(pipeline.identity, pipeline.sealed, sizes, sample_bytes, versions(), pipeline.links)


def _runs(sizes: Iterable[int]) -> tuple[tuple[int, int], ...]:
    return tuple((len(list(alike)), size) for size, alike in groupby(sizes))


def read(store: Store) -> DatasetDescription:
    """The description of the dataset in a place.

    Raises:
        DatasetError: where there is none, or it cannot be read.
    """
    try:
        raw: dict[str, Any] = parsed(store.get(layout.RECIPE, DOCUMENT))
        if raw["layout"] != layout.LAYOUT_VERSION:
            raise DatasetError(
                f"{store.url(layout.RECIPE)}: layout {raw['layout']}, this lesionforge reads {layout.LAYOUT_VERSION}"
            )
        parts = {part.name: raw[part.name] for part in fields(DatasetDescription) if part.name in raw}
        # Where a store lies, and how it is reached, is no dataset's to say: none is written with that.
        parts["recipe"] = Recipe.model_validate({**raw["recipe"], "out": None, "storage_options": {}})
        description = _DESCRIPTION.validate_python(parts, strict=False)
        if len(description.sources) != len(description.recipe.inputs) or "lesionforge" not in description.versions:
            raise ValueError("its sources or versions do not fit its recipe")
        return description
    except FileNotFoundError:
        raise DatasetError(f"{store.url()} holds no dataset: {layout.RECIPE} is missing") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        at = ".".join(map(str, fault["loc"]))
        raise DatasetError(one_line(f"{store.url(layout.RECIPE)} cannot be read: {at}: {fault['msg']}")) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        message = (str(error).splitlines() or [type(error).__name__])[0]
        raise DatasetError(one_line(f"{store.url(layout.RECIPE)} cannot be read: {message}")) from None


def claim(store: Store, own: DatasetDescription, mix_versions: bool = False) -> tuple[DatasetDescription, bool]:
    """Take a place for a dataset, or find that it is this dataset's already, which may grow (``multiply``).

    Args:
        mix_versions: go on with other versions of libraries than it was begun with; it then names both.

    Returns:
        The description that stands, with all versions that made the dataset, and whether the place was taken just now.

    Raises:
        DatasetError: where another dataset lies there, or this one made by other versions or with more variants, or
            files that are no dataset's.
    """
    if not store.exists(layout.RECIPE):
        _refuse_foreign_files(store)
    if store.put_new(layout.RECIPE, own.to_bytes()):
        return own, True
    existing = _unedited(store)
    place = store.url()
    if existing.identity != own.identity:
        raise DatasetError(
            f"{place} holds dataset {existing.recipe.name!r} of recipe {existing.identity[:12]}, this recipe is "
            f"{own.identity[:12]}{_difference(existing, own)}; choose another --out"
        )
    if existing.versions["lesionforge"] != own.versions["lesionforge"]:
        raise DatasetError(
            f"{place} was begun by lesionforge {existing.versions['lesionforge']}, this is "
            f"{own.versions['lesionforge']}: continue with that version or choose another --out"
        )
    if existing.recipe.multiply > own.recipe.multiply:
        raise DatasetError(
            f"{place} holds x{existing.recipe.multiply}; x{own.recipe.multiply} is less: a dataset only grows. "
            f"Set multiply to {existing.recipe.multiply} or more, or choose another --out"
        )
    # What is installed here alone, such as torch for a recipe that needs none, made nothing so far.
    begun, here = existing.versions, {k: v for k, v in own.versions.items() if k in existing.versions}
    other = {name: number for name, number in here.items() if number not in begun[name].split(AND)}
    if other and not mix_versions:
        raise DatasetError(
            f"{place} was begun with other libraries: here is {difference({k: begun[k] for k in other}, other)}; bytes "
            "may differ. Install the same, choose another --out, or go on with --mix-versions"
        )
    own = replace(own, versions=begun | {name: f"{begun[name]}{AND}{number}" for name, number in other.items()})
    if existing.to_bytes() != own.to_bytes():  # it grows, its sources have moved, or more may be missing
        store.delete(layout.SUCCESS)
        store.put(layout.RECIPE, own.to_bytes())
        store.delete(layout.SUCCESS)  # a smaller run may just have ended
    return own, False


def standing(store: Store, own: DatasetDescription) -> DatasetDescription:
    """What a run's dataset is by now: another run may have made it grow, or may have missed that this one did.

    Raises:
        DatasetError: where it is gone, or another has taken its place.
    """
    found = _unedited(store)
    if found.identity != own.identity:
        raise DatasetError(
            f"{store.url(layout.RECIPE)} tells of recipe {found.identity[:12]} by now, not of {own.identity[:12]}: "
            "something else was put into this place while a run was at work"
        )
    return claim(store, own)[0] if found.recipe.multiply < own.recipe.multiply else found


def _unedited(store: Store) -> DatasetDescription:
    """As ``read``; what only bears a dataset's identity has no say in what is made here."""
    found = read(store)
    if found.edited:
        raise DatasetError(
            f"{store.url(layout.RECIPE)} was edited: its recipe no longer gives identity {found.identity[:12]}; choose "
            "another --out"
        )
    return found


def withdraw(store: Store) -> None:
    """Give a place back that was claimed for a recipe of which no sample could be made: its mended form is another."""
    if not store.list(layout.INDEX):
        store.delete(layout.RECIPE)


def _refuse_foreign_files(store: Store) -> None:
    """Nothing of somebody else's is written over: a README.md is a card's name too. Hidden files are no matter."""
    if store.is_local:  # a listing would walk a whole home folder
        folder = store.local_path()
        names = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    else:
        names = {entry.name.split("/")[0] for entry in store.list()}
    if foreign := sorted(name for name in names if not name.startswith(".") and name != "lost+found"):
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise DatasetError(
            f"{store.url()} holds files but no dataset ({shown}), and a dataset would write over them or mix with "
            "them: choose a new or empty --out, such as a folder inside it"
        )


def _difference(existing: DatasetDescription, own: DatasetDescription) -> str:
    a, b = (d.recipe.model_dump(mode="json") for d in (existing, own))
    aside = ("multiply", "out", "resources", "sources", "backgrounds")
    names = [name for name in a if name not in aside and a[name] != b[name]]
    if existing.sources != own.sources or [s.options for s in existing.recipe.inputs] != [
        s.options for s in own.recipe.inputs
    ]:
        names.append("sources")
    return f" (they differ in {', '.join(names)})" if names else ""
