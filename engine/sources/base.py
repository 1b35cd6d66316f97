"""What a source is: cases by number, readable in any order, on any worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from lesionforge.engine import plugins
from lesionforge.engine.recipe import SourceRecipe
from lesionforge.generators.types import Case


class SourceError(Exception):
    """A source that is not there or holds nothing usable; the message says why, and the fix.

    It names no file and no folder: a path may hold a patient's name, and errors end in logs (promise P8). ``place``,
    set by ``open_source``, is for a terminal alone.
    """

    place = ""


class Source(Protocol):
    """A third party's source needs just this; register it under the entry points ``lesionforge.sources``.

    ``Options`` is a dataclass or pydantic model; the engine refuses unknown keys. Case ``c`` belongs to subject
    ``c // cases_per_subject``. ``Case.subject`` may name a person: the engine hashes it before anybody else sees it.

    Three more are used where a source has them: ``secret() -> bytes``, known to those alone who have the files, keys
    that hash; ``locate(case) -> str`` names the file of a case, on a terminal and nowhere else; ``public_place =
    True`` says that the place is no address and may be written into the dataset.
    """

    Options: type[Any]
    subjects: int
    cases_per_subject: int
    licence: str

    def __init__(self, place: str, options: Any) -> None:
        """``place`` is the URI after its scheme. Lists what is there, reads nothing yet."""

    def fingerprint(self) -> str:
        """Stands for the content in the dataset's identity, and is written there: no name may be guessed from it."""

    def read(self, case: int) -> Case:
        """Read one case.

        Raises:
            BadCase: with the reason, where the case cannot be used. It is written into the dataset, so it says
                nothing that the files say: no name, no path, no text.
        """


def open_source(recipe: SourceRecipe, field: str = "source") -> Source:
    """The source a recipe names.

    Args:
        field: where in the recipe it stands, for errors.

    Raises:
        SourceError: where the place is missing or empty.
        PluginError: where there is no such source, or it does not take the options.
    """
    kind = plugins.load("sources", recipe.scheme)
    options = plugins.parameters("sources", recipe.scheme, recipe.options, f"{field.removesuffix('.uri')}.options")
    place = recipe.uri.split(":", 1)[1]
    try:
        source: Source = kind(place, options)
    except SourceError as error:
        told = SourceError(f"{field} ({recipe.scheme}): {error}")
        told.place = place
        raise told from None
    return source


def open_sources(recipes: Sequence[SourceRecipe]) -> list[Source]:
    """All sources of a recipe, in order."""
    return [open_source(recipe, f"sources.{n}.uri") for n, recipe in enumerate(recipes)]
