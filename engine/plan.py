"""The plan: which samples a recipe asks for. Computed, never stored (promises P1, P2, P7).

Order: variant by variant (x1, x2, ...), inside a variant split by split, inside a split a seeded walk over the
subjects that meets each of their cases once (``engine.walk``). Shards never span variants, so growing xN to x(N+1)
only appends: to the samples and to the shards alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

from lesionforge.engine import balance
from lesionforge.engine.backgrounds import Backgrounds
from lesionforge.engine.links import NO_LINKS, Links
from lesionforge.engine.permutation import Permutation
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.walk import Sized, deal
from lesionforge.generators.types import SPLITS, SampleSpec, Split, UserError
from lesionforge.sinks.card import counted


class PlanError(UserError):
    """A recipe that is well-formed but asks for nothing or for the impossible."""


@runtime_checkable
class Graded(Sized, Protocol):
    """A source that knows from its label files alone how its lesions are graded."""

    def grades(self, case: int) -> Sequence[str]:
        """The severity class of each graded lesion of a case."""


@dataclass(frozen=True)
class Shard:
    """One unit of work, retry and commit: samples ``start`` ... ``stop``-1 of a split within a variant."""

    name: str  # train-000000, brace-expandable
    split: Split
    variant: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class Plan:
    """``len(plan)`` samples; ``plan[i]`` and ``plan.shard(k)`` cost O(1) time and memory.

    Attributes:
        variant_samples: in each variant, all splits.
        variant_shards: likewise.
        shards: in all.
        backgrounds: what lies behind the cases, where the recipe has that.
    """

    def __init__(
        self,
        recipe: Recipe,
        sources: Sequence[Sized],
        sample_bytes: int | None,
        classes: Sequence[str] = (),
        links: Links = NO_LINKS,
    ) -> None:
        """Solve nothing yet.

        Args:
            recipe: what to make.
            sources: what there is to make it of: the recipe's inputs.
            sample_bytes: expected size of one encoded sample, None where unknown; with the recipe's byte bound it
                sizes shards.
            classes: the generator's classes that the balances ``balanced``, ``fill`` and ``natural`` speak of.
            links: which subjects are one.
        """
        self.recipe = recipe
        self.classes = tuple(classes)
        self.sources = list(sources)
        self.sample_bytes = sample_bytes
        fit = recipe.shard.samples if sample_bytes is None else recipe.shard.bytes // max(1, sample_bytes)
        self.shard_samples = max(1, min(recipe.shard.samples, fit))
        self.splits = tuple(s for s in SPLITS if s in recipe.splits)
        self._key = hashlib.blake2b(str(recipe.seed).encode(), digest_size=32, person=b"lesionforge plan").digest()
        self.links = links
        try:
            walks = deal(sources, [source.split for source in recipe.inputs], links, self._permutation)
        except ValueError as error:
            raise PlanError(str(error)) from None
        self._walks, behind = walks[: len(recipe.sources)], walks[len(recipe.sources) :]
        self.backgrounds = Backgrounds(len(recipe.sources), behind[0]) if behind else None
        self._sizes = {split: sum(len(walks[split]) for walks in self._walks) for split in self.splits}
        self.variant_samples = sum(self._sizes.values())
        self._counts = {split: -(-size // self.shard_samples) for split, size in self._sizes.items()}
        self.variant_shards = sum(self._counts.values())
        self.shards = self.variant_shards * recipe.multiply
        if self.variant_samples * recipe.multiply >= 2**62:
            raise PlanError(
                f"the recipe asks for {self.variant_samples} samples {recipe.multiply} times; 2^62 are too many"
            )
        if not self.variant_samples:
            raise PlanError(
                f"the recipe asks for splits {list(self.splits)}, which hold no subject of the sources "
                f"({sum(s.subjects for s in sources[: len(recipe.sources)])} in all); change splits or sources.N.split"
            )
        for split in self.splits if behind else ():
            if self._sizes[split] and not behind[0][split].subjects:
                raise PlanError(
                    f"backgrounds: none of its {counted(sources[-1].subjects, 'subject')} falls into {split}, which "
                    "has cases; change backgrounds.split, give more frames, or change splits"
                )

    def __len__(self) -> int:
        return self.variant_samples * self.recipe.multiply

    def __getitem__(self, i: int) -> SampleSpec:
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} is outside 0 ... {len(self) - 1}")
        variant, position = divmod(i, self.variant_samples)
        for split in self.splits:
            if position < self._sizes[split]:
                return self.spec(split, variant, position)
            position -= self._sizes[split]
        raise AssertionError("unreachable")

    def spec(self, split: Split, variant: int, position: int) -> SampleSpec:
        """The sample at a position of a split's walk in one variant."""
        sample_id = f"{split}-{variant:04d}-{position:08d}"
        source, case = self._case(split, variant, position)
        return SampleSpec(
            sample_id=sample_id,
            split=split,
            variant=variant,
            source=source,
            case=case,
            target=self._target(split, variant * self._sizes[split] + position),
            key=self._derive("sample", sample_id),
        )

    def find(self, sample_id: str) -> SampleSpec:
        """The spec of a sample by its id.

        Raises:
            PlanError: for an id that this plan does not hold.
        """
        parts = sample_id.rsplit("-", 2)
        if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
            for split in self.splits:
                variant, position = int(parts[1]), int(parts[2])
                if split == parts[0] and variant < self.recipe.multiply and position < self._sizes[split]:
                    return self.spec(split, variant, position)
        raise PlanError(
            f"no sample {sample_id!r} in this plan; "
            f"its ids run from {self[0].sample_id} to {self[len(self) - 1].sample_id}"
        )

    def _case(self, split: Split, variant: int, position: int) -> tuple[int, int]:
        """Source index and case index."""
        if len(self._walks) > 1:
            position = self._permutation(f"mix/{split}/{variant}", self._sizes[split])(position)
        source = 0
        while position >= (size := len(self._walks[source][split])):
            position -= size
            source += 1
        return source, self._walks[source][split].case(variant, position)

    @lru_cache(maxsize=64)  # noqa: B019 - the few permutations in use; a plan lives as long as its process
    def _permutation(self, name: str, n: int) -> Permutation:
        return Permutation(n, self._derive("permutation", name))

    def _derive(self, kind: str, name: str) -> bytes:
        return hashlib.blake2b(f"{kind}/{name}".encode(), key=self._key, digest_size=32).digest()

    # Classes

    @lru_cache(maxsize=8)  # noqa: B019 - one per split
    def _quota(self, split: Split) -> balance.Quota | None:
        mode = self.recipe.balance
        if mode is None:
            return None
        try:
            if not isinstance(mode, str):
                phases = balance.shares(mode)
            elif mode == "balanced":
                phases = balance.shares(dict.fromkeys(self.classes, 1))
            else:
                phases = (balance.fill if mode == "fill" else balance.natural)(self._graded(split, mode))
        except balance.BalanceError as error:
            raise PlanError(str(error)) from None
        return balance.Quota(phases, lambda name, n: self._permutation(f"class/{split}/{name}", n))

    def _graded(self, split: Split, mode: str) -> dict[str, int]:
        """Lesions of each class that the sources' own labels grade in a split."""
        counts = dict.fromkeys(self.classes, 0)
        for s, source in enumerate(self.sources[: len(self._walks)]):
            if not isinstance(source, Graded):
                raise PlanError(f"balance {mode}: sources.{s} has no graded lesions to count; give shares by class")
            for case in self._walks[s][split]:
                for name in source.grades(case):
                    if name in counts:
                        counts[name] += 1
        if not any(counts.values()):
            raise PlanError(f"balance {mode}: no lesion of the sources is graded {' or '.join(counts)} in {split}")
        return counts

    def _target(self, split: Split, index: int) -> str | None:
        quota = self._quota(split)
        return quota.target(index) if quota else None

    def counts(self) -> dict[str, dict[str, int]]:
        """Samples per split and class (class ``all`` where the recipe has no balance)."""
        out: dict[str, dict[str, int]] = {}
        for split in self.splits:
            n, quota = self._sizes[split] * self.recipe.multiply, self._quota(split)
            out[split] = quota.counts(n) if quota else {"all": n}
        return out

    @property
    def notes(self) -> list[str]:
        """What a person may not expect: splits that are generated into and get nothing of a source."""
        return self.links.notes(self.recipe.field_of) + [
            f"sources.{n} has {counted(source.subjects, 'subject')}: none falls into {split}"
            for n, (source, walks) in enumerate(zip(self.sources, self._walks, strict=False))
            for split in self.splits
            if self.recipe.sources[n].split.get(split, 0) and not walks[split].subjects
        ]

    # Shards

    def shard(self, k: int) -> Shard:
        """Shard k, in the order of the plan."""
        if not 0 <= k < self.shards:
            raise IndexError(f"shard {k} is outside 0 ... {self.shards - 1}")
        variant, number = divmod(k, self.variant_shards)
        for split in self.splits:
            count = self._counts[split]
            if number < count:
                start = number * self.shard_samples
                stop = min(start + self.shard_samples, self._sizes[split])
                return Shard(f"{split}-{variant * count + number:06d}", split, variant, start, stop)
            number -= count
        raise AssertionError("unreachable")

    def number(self, name: str) -> int | None:
        """The inverse of ``shard(k).name``; None for what is no shard of this plan."""
        split, _, digits = name.rpartition("-")
        if split not in self.splits or not digits.isdecimal():
            return None
        count = self._counts[split]
        if not count:
            return None
        variant, k = divmod(int(digits), count)
        for other in self.splits[: self.splits.index(split)]:
            k += self._counts[other]
        k += variant * self.variant_shards
        return k if k < self.shards and digits == f"{int(digits):06d}" else None

    def shard_of(self, spec: SampleSpec) -> Shard:
        """The shard that holds a sample."""
        position = int(spec.sample_id.rsplit("-", 1)[1])
        k = spec.variant * self.variant_shards + position // self.shard_samples
        for split in self.splits:
            if split == spec.split:
                break
            k += self._counts[split]
        return self.shard(k)

    def specs(self, shard: Shard) -> Iterator[SampleSpec]:
        """The samples of a shard, in order."""
        return (self.spec(shard.split, shard.variant, p) for p in range(shard.start, shard.stop))

    @property
    def bytes(self) -> int | None:
        """Expected size of all shards; None where the generator does not know that of a sample."""
        return None if self.sample_bytes is None else len(self) * self.sample_bytes
