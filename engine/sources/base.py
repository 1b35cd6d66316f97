"""What a source is: cases by number, readable in any order, on any worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from types import MappingProxyType
from typing import Any, ClassVar

from lesionforge.engine import plugins
from lesionforge.engine.faults import find
from lesionforge.engine.recipe import Recipe, SourceRecipe
from lesionforge.generators.parameters import Parameters
from lesionforge.generators.types import BadCase, Case, UserError

UNKNOWN_LICENCE = "unknown: that of the files given"


BURNED_IN = "burned_in_text"  # what the engine itself measures on every frame: letters in its pixels


class SourceError(UserError):
    """A source that is not there or holds nothing usable; the message says why, and the fix.

    It names no file and no folder: a path may hold a patient's name, and errors end in logs (promise P8). ``place``,
    set by ``open_source``, is for a terminal alone.
    """

    place = ""


class Source(ABC):
    """Cases by number. A subclass sets ``subjects`` and says what ``read`` and ``fingerprint`` give; the rest is here.

    A third party registers its class under the entry points ``lesionforge.sources``; one that reads files starts from
    ``folder.FolderSource``. Every worker opens the source anew from its place and options, so both must say all.
    ``testing.check_source`` tries whether a source keeps what is said here. A source whose label files grade its
    lesions adds ``grades``, see ``plan.Graded``.

    Attributes:
        Options: a dataclass or pydantic model of what the recipe may set under ``options``; the engine refuses unknown
            keys.
        subjects: how many there are. A subject is whole in one split, and cases are numbered subject by subject.
        cases_per_subject: of every subject, where all have equally many.
        sizes: the cases of each subject, where they have not.
        kin: where not empty, subject n is the same one in every source that says the same here.
        notes: what a person may not expect of it, without a name.
        licence: of the cases, for the dataset's card.
        left_over: the files that are in no case, by the reason (in the plural, without a name: "label maps without an
            image"): counted for everybody, their paths for a terminal alone. Files of another kind are no matter.
        keeps: whether a case takes longer to read than a copy of it on this machine's disk: of recipes with several
            variants it is then read once (``engine.kept``).
        unmasked: how many frames come without a mask, as far as their list tells.
        public_place: whether the place is no address, so that it may be written into the dataset.
    """

    Options: ClassVar[type[Any]] = Parameters
    keeps: ClassVar[bool] = False
    public_place: ClassVar[bool] = False
    unmasked: int = 0
    subjects: int
    cases_per_subject: int = 1
    sizes: Sequence[int] | None = None
    kin: str = ""
    notes: Sequence[str] = ()
    licence: str = UNKNOWN_LICENCE
    left_over: Mapping[str, Sequence[str]] = MappingProxyType({})

    def __init__(self, place: str, options: Any) -> None:
        """Lists what is there and reads no case.

        Args:
            place: the recipe's URI after its scheme.
            options: an instance of ``Options``.

        Raises:
            SourceError: where the place is missing or holds no case.
        """
        self.place = place
        self.options = options

    @property
    def cases(self) -> int:
        """How many cases there are."""
        return self._ends[-1] if self.sizes else self.subjects * self.cases_per_subject

    def subject_of(self, case: int) -> int:
        """Number of the subject that a case belongs to."""
        return bisect_right(self._ends, case) if self.sizes else case // self.cases_per_subject

    def cases_of(self, subject: int) -> range:
        """The cases of a subject."""
        if not self.sizes:
            return range(subject * self.cases_per_subject, (subject + 1) * self.cases_per_subject)
        return range(self._ends[subject] - self.sizes[subject], self._ends[subject])

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(self.sizes or ()))

    @abstractmethod
    def read(self, case: int) -> Case:
        """Read one case; the same one whenever, wherever and in whatever order it is read.

        ``Case.subject`` may name a person: the engine hashes it before anybody else sees it.

        Raises:
            BadCase: with the reason, where the case cannot be used. It is written into the dataset, so it says
                nothing that the files say: no name, no path, no text.
            Exception: whatever its place raises may pass through. The engine tells a place that fails from a case
                that is bad (``engine.faults``); who turns an ``OSError`` into ``BadCase`` loses samples for good.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Stands for the content in the dataset's identity, and is written there: no name may be guessed from it.

        Raises:
            SourceError: where the source cannot tell which data it holds.
        """

    def secret(self) -> bytes:
        """What only those know who have the files: keys the hashes of subjects' names. None by default."""
        return bytes(32)

    def files(self) -> Sequence[Any]:
        """The ``files.File`` objects that cases are read from, in an order of their own; none by default."""
        return ()

    def case_files(self, case: int) -> Sequence[Any]:
        """Those of a case, first the one to show to somebody who looks for it; none by default."""
        return ()

    def locate(self, case: int) -> str:
        """Where a case lies, shown on a terminal and nowhere else; empty where that says nothing."""
        return ""


def open_source(recipe: SourceRecipe, field: str = "source") -> Source:
    """The source a recipe names.

    Args:
        field: where in the recipe it stands, for errors.

    Raises:
        SourceError: where the place is missing or empty.
        PluginError: where there is no such source, it is none, or it does not take the options.
    """
    kind = plugins.load("sources", recipe.scheme)
    options = plugins.parameters("sources", recipe.scheme, recipe.options, f"{field.removesuffix('.uri')}.options")
    if not issubclass(kind, Source):
        raise plugins.PluginError(f"{recipe.scheme!r} is no source: it is no subclass of {__name__}.Source")
    if missing := ", ".join(sorted(kind.__abstractmethods__)):
        raise plugins.PluginError(f"{recipe.scheme!r} is no source: it has no {missing}")
    place = recipe.uri.split(":", 1)[1]
    try:
        source: Source = kind(place, options)
    except SourceError as error:
        shown = SourceError(f"{field} ({recipe.scheme}): {error}")
        shown.place = error.place or place
        raise shown from None
    except Exception as error:  # whoever lists a place meets all that its server does
        if not (fault := find(error)):
            raise
        from lesionforge.sinks.store.errors import remedy  # brings fsspec, which a plan of phantoms needs not

        fix = remedy(error, "the bucket")
        shown = SourceError(f"{field} ({recipe.scheme}): {'; '.join(filter(None, [str(fault), fix]))}")
        shown.place = place
        raise shown from None
    return source


def open_sources(recipe: Recipe) -> list[Source]:
    """All inputs of a recipe, in order."""
    return [open_source(one, f"{recipe.field_of(n)}.uri") for n, one in enumerate(recipe.inputs)]


def read_all(source: Source, refused: Callable[[str], None]) -> Iterator[Case]:
    """Every case of a source that can be read, in order: for jobs that read sources without the engine.

    Args:
        refused: hears the reason of every case that cannot, so that none is lost silently.

    Raises:
        Fault: where the source's place fails, which says nothing of the case.
    """
    for number in range(source.cases):
        try:
            yield source.read(number)
        except Exception as error:
            if fault := find(error):
                raise fault.at(f"case {number}") from None
            if not isinstance(error, BadCase):
                raise
            refused(str(error))
