"""What exports of CT write: volumes with a label map of chosen classes, numbered one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.generators.types import array_member
from lesionforge.sinks import dataset, layout, limits
from lesionforge.sinks.card import counted
from lesionforge.sinks.reader import Reader, Samples
from lesionforge.sinks.store import Store

TRAIN = "train"


@dataclass(frozen=True)
class Scan:
    """One sample.

    ``hu`` int16 and ``labels`` uint8 (i, j, k), i to the patient's left, j to the back, k to the head (LPS): 0 is
    background, n + 1 the n-th class. ``affine``: (4, 4), from index to LPS mm. ``subject``: a hash. ``source``: hash of
    the voxels that lesions were drawn on. ``added``: whether it is of another dataset than the first.
    """

    key: str
    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    affine: NDArray[np.float64]
    subject: str
    source: str
    added: bool


class Volumes:
    """The volumes of a dataset by split, with counts of what was met on the way.

    Args:
        place: where the dataset lies.
        more: where others lie, of which the split ``train`` is added; keys then begin with the dataset's number.
        classes: each class and the labels of the samples' legends that belong to it. All others are background.
        splits: only of these.
        image: member that holds the HU, without its ending.
    """

    def __init__(
        self,
        place: str | Path | Store,
        classes: Mapping[str, Sequence[str]],
        splits: Sequence[str] | None,
        image: str,
        more: Sequence[str | Path | Store] = (),
    ) -> None:
        self._stores = [one if isinstance(one, Store) else Store(str(one)) for one in (place, *more)]
        labels = [label for some in classes.values() for label in some]
        if not labels or len(set(labels)) < len(labels) or "background" in {*classes, *labels}:
            raise ValueError(f"classes {dict(classes)} must name labels, each in one class, and no background")
        self.classes, self._image = list(classes), image
        self._value = {label: n for n, some in enumerate(classes.values(), 1) for label in some}
        self.splits = dataset.splits(self._stores[0], splits)
        if more and TRAIN not in self.splits:
            raise ValueError(f"{self._stores[0].url()} has no split {TRAIN} that other datasets could be added to")
        if len({store.url() for store in self._stores}) < len(self._stores):
            raise ValueError(f"{self._stores[0].url()} and what is added to it: a dataset is given twice")
        own = _seed(self._stores[0]) if more else None
        for other in self._stores[1:]:
            if (seed := _seed(other)) != own:
                raise ValueError(
                    f"{other.url()} was made with seed {seed}, {self._stores[0].url()} with {own}: whether "
                    "subjects are the same can only be told with one seed; make it again with that one"
                )
            dataset.splits(other, [TRAIN])  # nothing is written where one is not there, or has none to add
            for what, column in (("subject", "subject"), ("scan", "source_id")) if "test" in self.splits else ():
                if both := _those(other, TRAIN, column) & _those(self._stores[0], "test", column):
                    raise ValueError(
                        f"{other.url()} has {counted(len(both), what)} of the split test: what is added must be of "
                        "others"
                    )
        self.images: Counter[str] = Counter()
        self.added = 0  # of the images
        self.held: Counter[tuple[str, str]] = Counter()  # (split, class): volumes that hold it
        self.left_out: Counter[str] = Counter()  # label of no class: volumes where it became background

    def read(self, split: str) -> Iterator[Scan]:
        """The volumes of a split, in the order of the datasets and their shards."""
        for number, store in enumerate(self._stores if split == TRAIN else self._stores[:1]):
            names = Samples(store, split).members
            image, label = array_member(self._image, names), array_member("label", names)
            if image is None or label is None:
                needed = f"volumes need an array {self._image} and an array label"
                raise ValueError(f"samples of {store.url()} have {', '.join(names)}: {needed}")
            for sample in Reader(Samples(store, split, [image, label, "json"]), shuffle=False):
                self.images[split] += 1
                self.added += number > 0
                yield self._scan(sample, (image, label), split, number)

    def summary(self) -> dict[str, Any]:
        """The counts, as plain data."""
        held = {split: {name: self.held[split, name] for name in self.classes} for split in self.splits}
        return {
            "images": dict(self.images),
            "added": self.added,
            "held": held,
            "classes": self.classes,
            "left_out": dict(self.left_out),
        }

    def _scan(self, sample: dict[str, Any], members: tuple[str, str], split: str, number: int) -> Scan:
        (image, label), url = members, self._stores[number].url()
        key, hu, labels, meta = sample["__key__"], sample[image], sample[label], sample["json"]
        if hu.dtype != np.int16 or labels.dtype != np.uint8 or hu.shape != labels.shape or hu.ndim != 3:
            raise ValueError(
                f"sample {key} of {url}: {image} is {hu.dtype} {hu.shape}, {label} {labels.dtype} "
                f"{labels.shape}; int16 HU and uint8 labels of one shape (i, j, k) can be exported"
            )
        legend, affine, subject = _geometry(key, meta, url)
        if unknown := sorted(self._value.keys() - set(legend.values())):
            known = ", ".join(name for value, name in sorted(legend.items()) if value)
            raise ValueError(f"sample {key} of {url} has no label {', '.join(unknown)} in its legend; it has {known}")
        table = np.zeros(256, np.uint8)
        for value in np.unique(labels).tolist():
            name = legend.get(value, "")
            table[value] = self._value.get(name, 0)
            if value and not table[value]:
                self.left_out[name or f"value {value}"] += 1
        for n in np.unique(table[table > 0]).tolist():
            self.held[split, self.classes[n - 1]] += 1
        key = f"{number}-{key}" if len(self._stores) > 1 else key
        return Scan(key, hu, table[labels], affine, subject or key, str(meta.get("source_id") or key), number > 0)


def _seed(store: Store) -> Any:
    """The recipe's, which subjects' hashes hang on; None of shards without a recipe."""
    if not store.exists(layout.RECIPE):
        return None
    return limits.parsed(store.get(layout.RECIPE, limits.DOCUMENT)).get("recipe", {}).get("seed")


def _those(store: Store, split: str, column: str) -> set[str]:
    return {name for name in Samples(store, split, ["json"]).column(column) if name}


def _geometry(key: str, meta: Any, url: str) -> tuple[dict[int, str], NDArray[np.float64], str]:
    """Legend, affine from index to LPS mm, and subject, as the sample's ``json`` says them."""
    try:
        legend = {int(value): str(name) for value, name in meta["legend"].items()}
        affine = np.diag([*map(float, meta["spacing_mm"]), 1.0])
        affine[:3, 3] = meta["origin_lps_mm"]
        subject = str(meta["subject"])
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"sample {key} of {url}: its json needs legend, spacing_mm, origin_lps_mm and subject, "
            f"as the lesion generator writes them ({type(error).__name__})"
        ) from None
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or min(affine.diagonal()) <= 0:
        raise ValueError(f"sample {key}: spacing_mm and origin_lps_mm do not place a volume: {affine.tolist()}")
    return legend, affine, subject
