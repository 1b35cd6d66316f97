"""What a generator is: a class with one method of its own, ``make``; all else that the engine asks has a default."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.parameters import Parameters
from lesionforge.generators.types import Panel, Sample, SampleSpec

T = TypeVar("T")


class Generator:
    """Turns cases into samples: pure but for its weights, and ignorant of Ray and storage.

    A subclass writes ``make``, or ``generate`` where several samples made at once are cheaper (a network's batch).
    Random parameters are drawn first, from ``spec.rng(stage)`` alone, then applied by deterministic code: so a sample
    is made again from its id, byte for byte (promise P1).

    Attributes:
        Params: dataclass or pydantic model of what ``generator.params`` may hold; the engine refuses unknown keys.
        classes: names that a recipe's ``balance`` may ask for; they come as ``spec.target``. One made may
            know fewer.
        balanced: the classes that ``balance: balanced`` makes equally many of; None: all.
        limits: what the samples do not show, one sentence each, for the dataset's card.
        measures: names that ``Sample.measured`` may hold, so that ``plan`` refuses a misspelt ``quality.limits``;
            None: not known before a sample is made.
        backgrounds: whether it may be given a ``Scene`` in place of a case: a recipe's ``backgrounds`` lie behind it.
        places: names of parameters that say where weights lie, a file or a folder. Their content is part of a dataset's
            identity, whatever they are called; no dataset holds where they lay.
        judge: to be called with what is measured of a draw before its costly part is made, with the names and values
            that ``Sample.measured`` will have. Raises ``Rejected`` where the recipe's limits refuse them: that draw is
            over. The engine puts it there; a generator alone refuses nothing.
        unmasked: whether some cases come without the mask that their kind may have; the engine says so.
        memory: what it measured on cases, where that takes long; the engine keeps it on the machine.
    """

    Params: ClassVar[type[Any]] = Parameters
    classes: tuple[str, ...] = ()
    balanced: ClassVar[tuple[str, ...] | None] = None
    limits: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...] | None] = None
    backgrounds: ClassVar[bool] = False
    places: ClassVar[tuple[str, ...]] = ()
    judge: Callable[[SampleSpec, Mapping[str, float]], None] = staticmethod(lambda spec, measured: None)
    unmasked: bool = False
    memory: Memory[Any] | None = None

    def __init__(self, params: Any) -> None:
        """``params`` is an instance of ``Params``. Loads nothing: a plan is made of a generator that is never run."""
        self.params = params

    def prepare(self, device: str) -> None:
        """Load weights and compile kernels, once per worker. ``device`` is a torch device string."""

    @property
    def notes(self) -> Sequence[str]:
        """What a person may not expect of it with these parameters and sources, for ``plan`` and ``doctor``."""
        return ()

    @property
    def shipped(self) -> Mapping[str, str]:
        """What stands for weights that the package ships, by the one of ``places`` that could name others.

        Part of a dataset's identity, and given back by its recipe; so ``Params`` takes it.
        """
        return {}

    def make(self, case: Any, spec: SampleSpec) -> Sample:
        """One sample of a case. Its arrays stay as they are: other samples are made of them.

        Raises:
            Rejected: a draw out of tolerance; the engine asks again with the next ``spec.attempt``.
            BadCase: a case that this generator cannot use.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither make nor generate")

    def generate(self, cases: Sequence[Any], specs: Sequence[SampleSpec]) -> Iterator[Sample]:
        """Yield one sample per spec, in order; no sample may depend on who shares the call.

        Raises:
            Rejected, BadCase: as ``make``.
        """
        for case, spec in zip(cases, specs, strict=True):
            yield self.make(case, spec)

    def sample_bytes(self) -> int | None:
        """Expected size of one encoded sample in bytes, from the parameters alone, for the plan.

        None: not known; the plan then tells no size, and shards are cut by number alone.
        """
        return None

    def panels(self, fields: Mapping[str, Any], meta: Mapping[str, Any]) -> list[Panel]:
        """Pictures of one decoded sample, for contact sheets and the gallery.

        By default each field that is a picture, and the middle slices of each that is a volume.
        """
        out: list[Panel] = []
        for name, value in fields.items():
            if isinstance(value, np.ndarray) and value.size:
                out += _panels(name, value)
        return out


def faults(kind: type[Any]) -> Iterator[str]:
    """What keeps a class from being a generator, told when a recipe that names it is opened."""
    if not issubclass(kind, Generator):
        yield "it is no subclass of lesionforge.generators.base.Generator"
        return
    if kind.make is Generator.make and kind.generate is Generator.generate:
        yield "it has neither make(case, spec) nor generate(cases, specs)"
    for name in ("classes", "balanced", "limits", "measures", "places"):
        value = getattr(kind, name)
        if value is None and name in ("balanced", "measures"):
            continue
        if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
            yield f"its {name} is {value!r:.60}, no tuple of strings"
    for name in ("prepare", "sample_bytes", "panels"):
        if not callable(getattr(kind, name)):
            yield f"its {name} is no method"


class Shelf(Protocol):
    """Where results outlive a process. What it gives back is what was put there, or None."""

    def get(self, key: str) -> Any:
        """What is kept under a key; None where nothing is."""

    def put(self, key: str, value: Any) -> None:
        """Keep a result, where there is room."""


class Memory(Generic[T]):
    """Results of a pure function: variants of a case come back to what was measured on it.

    Args:
        most: results that are held in this process.
        kinds: the dataclasses that a result on a shelf consists of, arrays, numbers and text aside.

    Attributes:
        shelf: where results are kept beyond that, if anywhere.
    """

    def __init__(self, most: int, kinds: tuple[type[Any], ...] = ()) -> None:
        self.kinds = kinds
        self.shelf: Shelf | None = None
        self._most = most
        self._kept: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str, make: Callable[[], T]) -> T:
        """What is kept under a key, else what ``make`` returns; the one used longest ago gives way.

        Args:
            key: a hash of all that ``make`` reads: results outlive the dataset they were made for.
        """
        kept = self._kept.pop(key) if key in self._kept else self._shelved(key, make)
        self._kept[key] = kept
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return kept

    def _shelved(self, key: str, make: Callable[[], T]) -> T:
        found: T | None = self.shelf.get(key) if self.shelf else None
        if found is None:
            found = make()
            if self.shelf:
                self.shelf.put(key, found)
        return found


def close_loop(
    drawings: Sequence[T], draw: Callable[[list[T], int], None], off: Callable[[T], bool], most: int
) -> None:
    """Draw and measure, then again those that are off their request, each with its request corrected.

    Args:
        drawings: lesions on their way.
        draw: draws and measures some of them at once; the number is of the round, from 0.
        off: whether a drawing is to be drawn again.
        most: rounds.
    """
    left = list(drawings)
    for turn in range(most):
        if not left:
            return
        draw(left, turn)
        left = [drawing for drawing in left if off(drawing)]


def _panels(name: str, value: NDArray[Any]) -> list[Panel]:
    title = name.split(".")[0]
    if value.ndim == 3 and value.shape[2] == 3:  # colour: its mean
        value = value.mean(axis=2).astype(value.dtype)
    if value.ndim == 2:
        return [Panel(title, {title: value if value.dtype == np.uint8 else _grey(value)})]
    if value.ndim != 3:
        return []
    i, j, k = (n // 2 for n in value.shape)  # to the patient's left, back and head: pictures stand head up
    planes = {"axial": value[:, :, k].T, "coronal": value[:, j].T[::-1], "sagittal": value[i].T[::-1]}
    return [Panel(f"{title}, {plane}", {title: _grey(cut)}) for plane, cut in planes.items()]


def _grey(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Stretched to 0 ... 255 between the 1st and 99th percentile, or least and greatest where these are one."""
    low, high = np.percentile(values, (1, 99))
    if low == high:
        low, high = float(values.min()), float(values.max())
    scaled = (values.astype(np.float64) - low) / max(high - low, 1e-12)
    return np.ascontiguousarray((scaled.clip(0, 1) * 255).astype(np.uint8))
