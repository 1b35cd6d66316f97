"""Where the samples of a shard lie in its tar, small enough for the footer of its index: a reader opens with these.

A tar here holds nothing but its members, one after the other, so that their sizes in order tell every offset, and add
up to the tar's own size or are not those of its members.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.sinks import tar
from lesionforge.sinks.limits import FOOTER, TEXT, parsed

MOST = FOOTER // 8  # bytes in a footer: of more, the rows are read
_KEYS = re.compile(rf"(?:{tar.KEY}\n)*")
_FIELDS = re.compile(rf"(?:{tar.FIELD}\n)*")


Placed = tuple[str, str | None, Sequence[Mapping[str, Any]]]  # a sample's id, class and members


@dataclass
class Spans:
    """The samples of a shard, without the quarantined ones, in the order of its tar.

    Attributes:
        keys: their ids.
        targets: the class asked for, of each.
        shapes: lists of members' names.
        shape: of each sample, which of these are its members.
        sizes: bytes of its members, sample after sample.
    """

    keys: list[str]
    targets: list[str | None]
    shapes: list[list[str]]
    shape: list[int]
    sizes: list[int]

    @classmethod
    def gather(cls, samples: Iterable[Placed]) -> tuple[Spans, list[int]]:
        """Those of samples, and where the data of every member begin in the tar."""
        out, known, begin = cls([], [], [], [], []), dict[tuple[str, ...], int](), list[int]()
        for key, target, members in samples:
            names = tuple(member["name"] for member in members)
            out.keys.append(key)
            out.targets.append(target)
            out.shape.append(known.setdefault(names, len(known)))
            out.sizes += (member["size"] for member in members)
            begin += (member["offset"] for member in members)
        out.shapes = [list(names) for names in known]
        return out, begin

    @classmethod
    def of(cls, samples: Iterable[Placed], tar_bytes: int) -> Spans | None:
        """Those of samples; ``None`` where they do not lie as a tar here has them."""
        out, begin = cls.gather(samples)
        try:
            out.check(len(out.keys), tar_bytes)
        except ValueError:
            return None
        return out if offsets(np.array(out.sizes, np.int64), [len(begin)]).tolist() == begin else None

    def counts(self) -> list[int]:
        """How many members each sample has."""
        lengths = list(map(len, self.shapes))
        return list(map(lengths.__getitem__, self.shape))

    def check(self, samples: int, tar_bytes: int) -> None:
        """Whether these can be the samples of a tar: so many, in so many bytes.

        Raises:
            ValueError: saying what cannot be.
        """
        if not (len(self.keys) == samples == len(self.shape) == len(self.targets) == len(set(self.keys))):
            raise ValueError(f"its spans are not those of {samples} samples")
        if not (set(map(type, self.sizes)) <= {int} and 0 <= min(self.sizes, default=0) <= max(self.sizes, default=0)):
            raise ValueError("its spans have a size that no member has")
        blocks = sum([-(-size // tar.BLOCK) for size in self.sizes]) + len(self.sizes) + 2
        if sum(self.counts()) != len(self.sizes) or blocks * tar.BLOCK != tar_bytes:
            raise ValueError(f"its spans do not add up to the {tar_bytes} bytes of its tar")

    def to_bytes(self) -> bytes:
        """As they are stored."""
        return base64.b64encode(zlib.compress(json.dumps(vars(self), separators=(",", ":")).encode()))

    @classmethod
    def read(cls, data: bytes) -> Spans:
        """The inverse of ``to_bytes``.

        Raises:
            ValueError, LookupError, TypeError: for what is none.
        """
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(base64.b64decode(data), TEXT)
        except zlib.error as error:
            raise ValueError(f"its spans cannot be unpacked: {error}") from None
        if not unpacker.eof:
            raise ValueError(f"its spans become more than {TEXT} bytes, or are cut short")
        out = cls(**parsed(text))
        names = list(chain.from_iterable(out.shapes))
        if not _KEYS.fullmatch("\n".join([*out.keys, ""])) or max(map(len, out.keys), default=0) >= tar.MAX_NAME:
            raise ValueError("an id is no sample's")
        if not all(out.shapes) or not _FIELDS.fullmatch("\n".join([*names, ""])):
            raise ValueError("a member has a name that no tar here has")
        if not (set(map(type, out.shape)) <= {int} and set(out.shape) <= set(range(len(out.shapes)))):
            raise ValueError("a sample of its spans has no members")
        if not set(map(type, out.targets)) <= {str, type(None)}:
            raise ValueError("a class of its spans is none")
        return out


def offsets(sizes: NDArray[np.int64], counts: Sequence[int]) -> NDArray[np.int64]:
    """Where the data of members begin in their tars.

    Args:
        sizes: of the members of one tar after the other, in bytes.
        counts: how many members each tar has.
    """
    whole = tar.BLOCK * (1 + -(-sizes // tar.BLOCK))
    before = np.cumsum(whole) - whole
    members = np.array(counts, np.int64)
    first = before[(np.cumsum(members) - members)[members > 0]]
    begin: NDArray[np.int64] = before - np.repeat(first, members[members > 0]) + tar.BLOCK
    return begin
