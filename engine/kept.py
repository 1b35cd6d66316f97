"""Cases kept on the node: of a recipe with several variants each case is read, painted and measured once a machine.

A plan walks variant by variant, so that a dataset grows by appending, and a case comes back only after all others have
been. What is kept is a case as a generator sees it, its subject hashed (promise P8), under a hash of all that decides
it: source and options, the content of its files, its number, the code and the libraries, and how its subject is named.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.engine.identity import versions
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.sources import cache as node
from lesionforge.engine.sources.base import Source
from lesionforge.engine.sources.entry import Arrays
from lesionforge.generators.base import Generator, Memory
from lesionforge.generators.types import Angiogram, Branch, Case, CoronaryTree, Lesion, SampleSpec, Stenosis, Volume
from lesionforge.sinks import limits
from lesionforge.sinks.encode import json_bytes

Kinds = Mapping[str, type[Any]]
CLASSES: Kinds = {one.__name__: one for one in (Angiogram, Branch, CoronaryTree, Lesion, Stenosis, Volume)}


class KeptCases:
    """Reads the cases of a pipeline, each from its source or from the node's cache."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Raises ``UserError`` where ``LESIONFORGE_CACHE_SIZE`` is no size."""
        node.size()
        self.pipeline = pipeline
        self._marks: dict[int, str] = {}  # of the sources

    def read(self, spec: SampleSpec) -> Any:
        """As ``Pipeline.read``, whose errors pass through; what goes wrong in the cache costs the copy alone."""
        return self.pipeline.read(spec, self._case)

    def _case(self, n: int, number: int) -> Any:
        source, recipe = self.pipeline.sources[n], self.pipeline.recipe
        again = recipe.multiply > 1 or n == len(recipe.sources)  # backgrounds are fewer than samples
        if not again or not source.keeps or node.usable() is None:
            return self.pipeline.case(n, number)
        mark = self._mark(n, number)
        if isinstance(case := recalled(mark), Case):
            for file in source.case_files(number):  # replaced since the run began? As reading it would say
                file.check()
            return case
        case = self.pipeline.case(n, number)
        if isinstance(case, Case):
            keep(mark, case)
        return case

    def _mark(self, n: int, number: int) -> str:
        """All that decides a case, in words."""
        if n not in self._marks:
            self._marks[n] = self._source_mark(n)
        files = self.pipeline.sources[n].case_files(number)
        own = [(file.content.digest or file.digest()).hex() for file in files]
        return f"case {number} {self.pipeline.named_by(n, number)} {own}\n{self._marks[n]}"

    def _source_mark(self, n: int) -> str:
        source, p = self.pipeline.sources[n], self.pipeline
        made_by = [p.subject_key.hex(), *_made_by(type(source))]
        place = source.place if source.public_place else ""
        return json.dumps([*made_by, p.recipe.inputs[n].scheme, place, repr(source.options), p.fingerprints[n]])


class KeptResults:
    """What a generator measures on cases, kept on the node: see ``generators.base.Memory``."""

    def __init__(self, generator: Generator, kinds: Iterable[type[Any]]) -> None:
        self.kinds: Kinds = {one.__name__: one for one in kinds}
        self._made_by = json.dumps(_made_by(type(generator)))

    def get(self, key: str) -> Any:
        """See ``Shelf``."""
        return recalled(self._mark(key), self.kinds)

    def put(self, key: str, value: Any) -> None:
        """See ``Shelf``."""
        keep(self._mark(key), value, self.kinds)

    def _mark(self, key: str) -> str:
        return f"measured {key}\n{self._made_by}"


def shelve(pipeline: Pipeline) -> None:
    """Have a pipeline's generator keep what it measures on the node, where it comes back to it."""
    memory = pipeline.generator.memory
    again = pipeline.recipe.multiply > 1 or pipeline.plan.backgrounds
    if isinstance(memory, Memory) and again and node.usable() is not None:
        memory.shelf = KeptResults(pipeline.generator, memory.kinds)


def _made_by(kind: type[Any]) -> list[Any]:
    """What of this machine decides the work of a class."""
    return [f"{kind.__module__}.{kind.__qualname__}", code(tuple(one.__module__ for one in kind.__mro__)), versions()]


@cache
def code(modules: tuple[str, ...]) -> str:
    """A hash of the code of these modules and of all that reads, paints and measures cases here.

    A version stays as it is while somebody works on it.
    """
    rooms = [Path(str(sys.modules[one.__module__].__file__)).parent for one in (Source, Volume)]
    files = [file for room in rooms for file in sorted(room.rglob("*.py"))]
    own = {getattr(sys.modules.get(name), "__file__", None) for name in modules}
    out = hashlib.sha256()
    for path in [*files, *sorted(Path(file) for file in own if file)]:
        out.update(hashlib.sha256(path.read_bytes()).digest())
    return out.hexdigest()


def keep(mark: str, value: Any, kinds: Kinds = CLASSES) -> None:
    """Keep a value under a mark; what no file here can hold is made anew each time."""
    with contextlib.suppress(TypeError):
        node.keep(mark, encoded(value, kinds))


def recalled(mark: str, kinds: Kinds = CLASSES) -> Any:
    """What is kept under a mark, ``None`` where nothing is."""
    return None if (arrays := node.recall(mark)) is None else decoded(arrays, kinds)


def encoded(whole: Any, kinds: Kinds = CLASSES) -> Arrays:
    """A value as arrays and, under ``case``, JSON of the rest.

    Args:
        kinds: dataclasses that may be in it.

    Raises:
        TypeError: for what would not come back as it was.
    """
    arrays = dict[str, NDArray[Any]]()

    def plain(value: Any) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
            return value
        if kind is np.ndarray:
            arrays[name := str(len(arrays))] = value
            return {"array": name}
        if kind is list:
            return [plain(item) for item in value]
        if kind is tuple:
            return {"tuple": [plain(item) for item in value]}
        if kind is dict:
            return {"dict": [[plain(key), plain(item)] for key, item in value.items()]}
        if kinds.get(kind.__name__) is kind:
            return {kind.__name__: {one.name: plain(getattr(value, one.name)) for one in fields(kind)}}
        raise TypeError(f"a {kind.__name__} is not kept")

    text = json_bytes(plain(whole))
    return {"case": np.frombuffer(text, np.uint8), **arrays}


def decoded(arrays: Arrays, kinds: Kinds = CLASSES) -> Any:
    """The inverse; ``None`` where it is none of ours."""

    def each(items: list[Any]) -> list[Any]:  # a segment's name for each point of a course, a thousand of a tree
        return [full(item) if type(item) in (list, dict) else item for item in items]

    def full(value: Any) -> Any:
        if type(value) is list:
            return each(value)
        if type(value) is not dict:
            return value
        ((kind, held),) = value.items()
        if kind == "array":
            return arrays[held]
        if kind == "tuple":
            return tuple(each(held))
        if kind == "dict":
            return {full(key): full(item) for key, item in held}
        return kinds[kind](**{name: full(item) for name, item in held.items()})

    try:
        return full(limits.parsed(arrays["case"].tobytes()))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
