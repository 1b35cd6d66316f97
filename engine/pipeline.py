"""A recipe opened and ready to make samples of: the same object in the driver and in every worker."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lesionforge.engine import links, plugins
from lesionforge.engine.backgrounds import Read
from lesionforge.engine.faults import Fault
from lesionforge.engine.links import Links
from lesionforge.engine.plan import Plan, PlanError
from lesionforge.engine.privacy import subject_key, unnamed
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.sources.base import BURNED_IN, Source, SourceError, open_sources
from lesionforge.generators.base import Generator
from lesionforge.generators.types import Case, SampleSpec, Scene

if TYPE_CHECKING:
    from lesionforge.engine.sources.files import File

SEAL = "sha256:"  # before the digest that stands for a place in a dataset's recipe


class UnknownLimit(PlanError):
    """``quality.limits`` names what nobody measures: the recipe's fault, not a sample's."""


class Unprepared(PlanError):
    """What a generator needs cannot be loaded: the recipe's fault, or that of the machine's installation."""


class Pipeline:
    """Sources, generator and plan of a recipe."""

    def __init__(self, recipe: Recipe, known: Links | None = None, opened: list[Source] | None = None) -> None:
        """Lists the sources; loads no weights, and of cases sees at most whether some are equal.

        Args:
            recipe: what to make.
            known: which subjects are one, where somebody has looked.
            opened: its sources, where somebody has opened them.

        Raises:
            SourceError: where a source is not there.
            PluginError: where a plug-in is not there, or does not take its parameters.
            PlanError: where the recipe asks for nothing, for classes the generator does not make, or for limits on what
                it does not measure.
        """
        self.recipe = recipe
        self.sources: list[Source] = open_sources(recipe) if opened is None else opened
        self.generator: Generator = plugins.generator(recipe.generator.name, recipe.generator.params)
        if recipe.backgrounds and not self.generator.backgrounds:
            raise PlanError(f"backgrounds: generator {recipe.generator.name} puts nothing before any; leave it out")
        self.generator.unmasked = any(source.unmasked for source in self.sources)
        classes = self.generator.classes
        requested = set(recipe.balance) if isinstance(recipe.balance, dict) else set()
        unknown = sorted(requested - set(classes))
        if unknown:
            makes = f"its classes are {', '.join(classes)}" if classes else "it has no classes; leave balance out"
            raise PlanError(f"balance: generator {recipe.generator.name} does not make {unknown[0]!r}; {makes}")
        if isinstance(recipe.balance, str) and not classes:
            raise PlanError(f"balance {recipe.balance}: generator {recipe.generator.name} has no classes; leave it out")
        if self.generator.measures is not None:  # else the first sample shows it
            self.check_limits(self.generator.measures)
        shares = [source.split for source in recipe.inputs]
        self.links = links.find(self.sources, shares, recipe.field_of) if known is None else known
        balanced = self.generator.balanced
        names = classes if balanced is None else balanced
        self.plan = Plan(recipe, self.sources, self.generator.sample_bytes(), names, self.links)

    def read(self, spec: SampleSpec, one: Read | None = None) -> Any:
        """A sample's case as a generator may see it; what is none, as its source gave it.

        Args:
            one: reads a case of an input, ``case`` as a rule.
        """
        one = one or self.case
        case = one(spec.source, spec.case)
        behind = self.plan.backgrounds
        return Scene(case, behind.behind(case, spec, one)) if behind and isinstance(case, Case) else case

    def case(self, source: int, number: int) -> Any:
        """A case of an input, its subject hashed; what is none, as it was given."""
        case: Any = self.sources[source].read(number)
        if not isinstance(case, Case):
            return case
        group, home = self.named_by(source, number)
        name = f"{home} {case.subject}" if home else case.subject
        return unnamed(case, self.subject_key, name if group is None else f"group {group}")

    def named_by(self, source: int, case: int) -> tuple[int | None, int]:
        """The group of a case's subject, and the source that names it: 1.png of two folders is two people."""
        return self.links.group(source, self.sources[source].subject_of(case)), self.links.home(source)

    def check_limits(self, measured: Iterable[str]) -> None:
        """Hold the names of ``quality.limits`` against what a generator measures.

        Raises:
            UnknownLimit: with the nearest name.
        """
        known = sorted({*measured, BURNED_IN})
        for name in self.recipe.quality.limits:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {close[0]}?" if close else f"measured are {', '.join(known)}"
                generator = self.recipe.generator.name
                raise UnknownLimit(f"quality.limits.{name}: generator {generator} does not measure it; {hint}")

    @cached_property
    def left_over(self) -> list[dict[str, int]]:
        """Of every source: how many of its files are in no case, by the reason."""
        return [{why: len(files) for why, files in s.left_over.items() if files} for s in self.sources]

    @property
    def notes(self) -> list[str]:
        """What a person may not expect of the plan and of the sources."""
        told = [
            f"{self._named(n)}: {sum(counts.values())} files are in no case: "
            + ", ".join(f"{count} {why}" for why, count in counts.items())
            for n, counts in enumerate(self.left_over)
            if counts
        ]
        own = [f"{self._named(n)}: {note}" for n, s in enumerate(self.sources) for note in s.notes]
        return self.plan.notes + own + told + list(self.generator.notes)

    def _named(self, n: int) -> str:
        return f"{self.recipe.field_of(n)} ({self.recipe.inputs[n].scheme})"

    @cached_property
    def subject_key(self) -> bytes:
        """Keys the hashes of subjects' names; written nowhere."""
        return subject_key(self.recipe.seed, self.sources)

    @property
    def files(self) -> list[File]:
        """All files that cases are read from."""
        return [file for source in self.sources for file in source.files()]

    @cached_property
    def fingerprints(self) -> list[str]:
        """Of every source.

        Raises:
            SourceError: where a source cannot tell which data it holds.
        """
        out = []
        for n, source in enumerate(self.sources):
            try:
                out.append(source.fingerprint())
            except SourceError as error:
                raise SourceError(f"{self.recipe.field_of(n)}.uri ({self.recipe.inputs[n].scheme}): {error}") from None
        return out

    @cached_property
    def sealed(self) -> Recipe:
        """The recipe as a dataset may hold it: without a source's place, and with the weights' digests for theirs.

        Raises:
            SourceError: where the weights are not there, or cannot be read.
        """
        recipe = self.recipe
        opened = zip(recipe.inputs, self.sources, strict=True)
        # A path may hold a patient's name (promise P8), and a dataset is handed on: its recipe says no place.
        inputs = tuple(r if s.public_place else r.model_copy(update={"uri": f"{r.scheme}:"}) for r, s in opened)
        params = {**recipe.generator.params, **self._weights()}
        generator = recipe.generator.model_copy(update={"params": params})
        return recipe.reading(inputs).model_copy(update={"generator": generator})

    @cached_property
    def identity(self) -> str:
        """The dataset's identity: see ``Recipe.identity``."""
        return self.sealed.identity(self.fingerprints, self.links.mark(s.sizes for s in self.sources))

    def check_weights(self) -> None:
        """Hold the weights, once they are loaded, against those that the identity stands for.

        Raises:
            Fault: where they are others.
        """
        if any(self.sealed.generator.params[name] != digest for name, digest in self._weights().items()):
            raise Fault("place", "generator.params: the weights were replaced while the run began")

    def _weights(self) -> dict[str, str]:
        """``sha256:`` and the digest of what lies at each place among the generator's parameters; what is shipped."""
        out = dict(self.generator.shipped)
        for name in self.generator.places:
            if name not in out and (place := self.recipe.generator.params.get(name)):
                from lesionforge.engine.sources.folder import content_of  # see links.find

                try:
                    out[name] = SEAL + content_of(str(place))
                except SourceError as error:
                    raise SourceError(f"generator.params.{name} ({place}): {error}") from None
        return out
