"""What a downstream task is: the contract between the frame (``jobs.studies``) and a task (``jobs.tasks.NAME``).

The frame has the commands ``train``, ``score``, ``study`` and ``report``, reads data, spreads runs, keeps them and
compares them. A task says what is learnt from what, and what is measured. To add one:

1. A folder ``jobs/tasks/NAME`` with a class that derives from ``Task``, and one line in ``jobs.tasks.TASKS``. Nothing
   in ``jobs/studies`` changes; all four commands are there.
2. The class is a frozen dataclass. Its fields are the task's options (``--set domain=abdomen``); what ``--set`` gives
   beyond them belongs to the learner. The module imports without torch: ``--help`` loads no network.
3. An *item* is what is learnt from and scored on: a frame, a volume, a pair of views. It has ``subject`` (a hash; what
   is resampled, and never both learnt from and scored on) and ``source_id`` (hash of the pixels it comes from).
   ``item_of_case`` makes it of a source's real case, ``item_of_sample`` of a dataset's sample; the frame reads, once
   for all tasks, and counts and tells what cannot be read. What does not fit into memory: ``items_of_dataset``.
4. A *learner* is a network with its training: see ``Learner``. ``settings`` checks its settings before anything is
   read, ``learner`` builds it.
5. An *arm* is a way to add synthetic items to real ones; ``real`` adds none. ``data_of_arm`` parses its name,
   ``training_set`` draws its items by seed.
6. ``predict`` and ``score`` give one ``Scored`` an item, ``measures`` what they say together: any number of measures,
   each for any weights of the subjects. Means are measures, and so are average precisions: the frame's one statistic
   (``summary``) asks for nothing else.
7. ``tables`` are the paper's, its numbers beside ours; gains with interval, p and n are the frame's. ``shown`` are the
   measures of gains and picture.

A task costs its reading, its metrics, its networks and its paper: see ``tests/jobs/studies/toy_task.py`` for one in 90
lines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import Case
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks import TASKS

if TYPE_CHECKING:
    from lesionforge.jobs.learning.loop import Progress
    from lesionforge.jobs.studies.summary import Summary
    from lesionforge.jobs.studies.tables import Table
    from lesionforge.sinks.reader import Samples

REAL = "real"  # the arm that others are compared with


class Item(Protocol):
    """What every item has."""

    @property
    def subject(self) -> str: ...
    @property
    def source_id(self) -> str: ...


I = TypeVar("I", bound=Item)  # noqa: E741
L = TypeVar("L", bound=Item, contravariant=True)
P = TypeVar("P")


class Learner(Protocol[L]):
    """Learns from items. Its predictions have the task's own form, see ``Task.predict``."""

    def fit(
        self,
        real: Sequence[L],
        synthetic: Sequence[L],
        real_share: float,
        seed: int,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Train from scratch, the same number of steps whatever the items are.

        Args:
            real: items as a person labelled them.
            synthetic: items of a generator; one of both may be empty.
            real_share: share of real items among those drawn, where there are both.
            seed: of weights, order and augmentation.
            folder: keeps a checkpoint while it trains, and is resumed from where one is; None: nothing is kept.
            progress: called now and then.

        Raises:
            UsageError: the folder was begun with other settings or items.
        """

    def save(self, path: Path) -> None:
        """Write weights and settings into one file."""


class Measures(Protocol):
    """What the scored items say together.

    Attributes:
        held: number of subjects that a measure rests on: those that hold what it asks for. Of a mean over classes, the
            smallest of its classes' numbers.
    """

    @property
    def held(self) -> Mapping[str, int]: ...

    def values(self, times: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Every measure by its name, NaN where it has no value.

        Args:
            times: (subjects,) how often each subject counts, subjects sorted by name; None counts each once.
        """


@dataclass(frozen=True)
class Scored:
    """One item's score. ``row``: plain data, kept in the run's file; ``evidence``: what measures need beyond it."""

    subject: str
    row: Mapping[str, Any]
    evidence: Any = None


@dataclass(frozen=True)
class TrainingSet(Generic[I]):
    """What one run learns from. ``notes``: plain data for the run's file."""

    real: Sequence[I]
    synthetic: Sequence[I]
    real_share: float
    notes: Mapping[str, Any] = field(default_factory=dict)


class Task(ABC, Generic[I, P]):
    """See the module's docstring. Methods that are not abstract are defaults.

    Attributes:
        name: of the folder and in the commands.
        title: of reports.
        note: of reports: what the figures are, and the paper's.
        models: names of learners that a study trains unless told otherwise; the first is ``train``'s.
        sizes: numbers of real items of a study unless told otherwise; None takes all.
        shown: measures of gains and picture, by the words they are shown with; the first is told as runs end.
        members: of a dataset's sample that ``item_of_sample`` needs.
        welcome: members that it takes where a dataset has them.
        dataset: end of the message where a dataset is another than the task's.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    note: ClassVar[str]
    models: ClassVar[tuple[str, ...]]
    sizes: ClassVar[tuple[int | None, ...]] = (None,)
    members: ClassVar[tuple[str, ...]]
    welcome: ClassVar[tuple[str, ...]] = ()
    dataset: ClassVar[str]

    @property
    @abstractmethod
    def shown(self) -> Mapping[str, str]: ...

    @abstractmethod
    def item_of_case(self, case: Case) -> I:
        """A real case as an item.

        Raises:
            UsageError: for a case of another kind than the task's: the whole source is wrong.
        """

    @abstractmethod
    def item_of_sample(self, sample: Mapping[str, Any]) -> I:
        """A sample of a generated dataset as an item; ``sample``: its decoded members, ``json`` among them."""

    def items_of_dataset(self, samples: Samples) -> Iterable[I] | None:
        """A dataset's items where they are read as they are used; None: ``item_of_sample`` makes them, to be held.

        Raises:
            UsageError: what the dataset lacks.
        """
        return None

    def check(self, items: Sequence[I], what: str) -> None:
        """Refuse items that cannot be learnt from or scored on; ``what`` they are, for the message."""
        if not items:
            raise UsageError(f"{what} holds nothing to learn from or to score on")

    def check_test(self, test: Sequence[I], train: Sequence[I]) -> None:
        """Refuse test items that what learns from ``train`` cannot be scored on, before anything is learnt."""

    def doubts(self, learner: Any, items: Sequence[I]) -> list[str]:
        """Why a trained learner may be the wrong one for these items, a line each."""
        return []

    def alone(self, synthetic: Sequence[I]) -> Sequence[I]:
        """Synthetic items as they are learnt from where there are no real ones."""
        return synthetic

    @abstractmethod
    def settings(self, model: str) -> Any:
        """A learner's settings as they are unless told otherwise: a frozen dataclass that checks its values.

        Raises:
            UsageError: for an unknown model.
        """

    def changed(self, model: str, changes: Mapping[str, Any]) -> Any:
        """A learner's settings with some changed.

        Raises:
            UsageError: for a name that is neither a setting nor an option of the task, or a value that will not do.
        """
        own = self.settings(model)
        known = [f.name for f in fields(own) if getattr(own, f.name) != model]  # the network's name is no setting
        if unknown := [name for name in changes if name not in known]:
            there = ", ".join([*(f.name for f in fields(self)), *known])  # type: ignore[arg-type]
            raise UsageError(f"--set {unknown[0]}: no such setting; there are {there}")
        return replace(own, **changes)

    @abstractmethod
    def learner(self, settings: Any, device: str, cache: Path | None = None) -> Learner[I]:
        """A fresh learner; ``cache``: a folder for what several runs can share."""

    @abstractmethod
    def load(self, path: Path, device: str) -> tuple[Task[I, P], Learner[I]]:
        """A learner from the file that its ``save`` wrote, and the task with the options it was trained under."""

    @abstractmethod
    def predict(self, learner: Any, items: Sequence[I]) -> Iterable[P]:
        """A prediction an item."""

    @abstractmethod
    def score(self, item: I, prediction: P) -> Scored:
        """How good a prediction is."""

    @abstractmethod
    def measures(self, scored: Sequence[Scored]) -> Measures:
        """What all items say together."""

    @abstractmethod
    def arms(self, data: Sequence[str]) -> Sequence[str]:
        """The arms of a study unless told otherwise; ``data``: names of the synthetic datasets."""

    @abstractmethod
    def data_of_arm(self, arm: str, data: Sequence[str]) -> str | None:
        """Name of the synthetic dataset of an arm, None for ``real``.

        Raises:
            UsageError: for an arm that no name explains.
        """

    @abstractmethod
    def training_set(
        self, arm: str, size: int | None, seed: int, real: Sequence[I], synthetic: Sequence[I]
    ) -> TrainingSet[I]:
        """Items of one run. A seed draws the same real items for every arm.

        Raises:
            UsageError: where there are too few.
        """

    def bounds(self, measure: str) -> tuple[float, float]:
        """The smallest and the largest value that a measure can have: its intervals end there."""
        return -inf, inf

    def order(self, arms: Iterable[str]) -> list[str]:
        """Arms as tables show them."""
        return sorted(arms, key=lambda arm: (arm != REAL, arm))

    def tables(self, summary: Summary) -> list[Table]:
        """The paper's tables, as far as the runs allow."""
        return []


def find(name: str) -> type[Task[Any, Any]]:
    """The class of a task: by its name here, or of anybody's as ``module:Class``.

    Raises:
        UsageError: for an unknown name.
    """
    if name not in TASKS and ":" not in name:
        raise UsageError(f"task {name!r} is unknown; there are {', '.join(TASKS)}, or module:Class")
    module, _, kind = (TASKS[name].where if name in TASKS else name).partition(":")
    found: type[Task[Any, Any]] = getattr(import_module(module), kind)
    return found


def configured(name: str, changes: Mapping[str, Any]) -> tuple[Task[Any, Any], dict[str, Any]]:
    """A task with its options taken out of ``changes``, and the rest, which is the learner's."""
    kind = find(name)
    own = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    task = kind(**{key: value for key, value in changes.items() if key in own})
    return task, {key: value for key, value in changes.items() if key not in own}
