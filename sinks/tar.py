"""A shard in the making: a plain USTAR archive in memory, the same bytes whoever builds it and when."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

BLOCK = 512
_END = bytes(2 * BLOCK)
_PAD = [bytes(n) for n in range(BLOCK)]
MAX_NAME = 100  # longest member name of USTAR without a prefix
MAX_SIZE = 8**11  # eleven octal digits


@dataclass(frozen=True)
class Member:
    """One file in the tar: its name after the sample's key, where its data begin, how long they are (bytes)."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Entry:
    """One sample in the tar: its header-to-padding range, for ranged reads, and its members."""

    key: str
    offset: int
    size: int
    members: tuple[Member, ...]


class Tar:
    """Collects samples; ``chunks`` are the file's bytes, ``sha256`` their hash, kept up as samples come.

    Every header is fixed but for name and size: mode 0644, owner 0, time 0.
    """

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.size = 0
        self._hash = hashlib.sha256()
        self._closed = False

    def add(self, key: str, fields: Mapping[str, bytes]) -> Entry:
        """Append one sample.

        Args:
            key: the sample's key; it may hold no dot (WebDataset splits names there).
            fields: member name after the key -> bytes.

        Raises:
            ValueError: for a key or name that readers would split or cut.
        """
        if "." in key or "/" in key or key.startswith("__"):
            raise ValueError(f"key {key!r} may hold no '.' or '/' and not begin with '__': readers split or skip it")
        start = self.size
        members = []
        for name, data in fields.items():
            header = _header(f"{key}.{name}", len(data))
            members.append(Member(name, self.size + BLOCK, len(data)))
            self._append(header)
            self._append(data)
            self._append(_PAD[-len(data) % BLOCK])
        return Entry(key, start, self.size - start, tuple(members))

    def close(self) -> str:
        """Append the end-of-archive blocks and return the SHA-256 of the whole file."""
        if not self._closed:
            self._append(_END)
            self._closed = True
        return self._hash.hexdigest()

    def _append(self, data: bytes) -> None:
        if data:
            self.chunks.append(data)
            self._hash.update(data)
            self.size += len(data)


def _header(name: str, size: int) -> bytes:
    raw = name.encode("ascii")
    if len(raw) > MAX_NAME:
        raise ValueError(f"member name {name!r} is {len(raw)} bytes long; USTAR holds {MAX_NAME}")
    if size >= MAX_SIZE:
        raise ValueError(f"member {name!r} has {size} bytes; USTAR holds less than {MAX_SIZE}")
    head = raw.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
    tail = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2
    checksum = sum(head) + sum(tail) + 8 * ord(" ")
    return (head + b"%06o\0 " % checksum + tail).ljust(BLOCK, b"\0")


def read(data: bytes) -> Iterator[Entry]:
    """Walk the samples of tar bytes written here.

    Raises:
        ValueError: naming the offset where the bytes stop being such a tar.
    """
    at, key, start, members = 0, "", 0, list[Member]()
    while True:
        block = data[at : at + BLOCK]
        if block == bytes(BLOCK):
            break
        if len(block) < BLOCK or block[257:262] != b"ustar":
            raise ValueError(f"no tar header at byte {at}")
        if int(block[148:154], 8) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
            raise ValueError(f"tar header at byte {at} has a wrong checksum")
        name, size = block[:100].rstrip(b"\0").decode(), int(block[124:135], 8)
        if at + BLOCK + size > len(data):
            raise ValueError(f"member {name!r} at byte {at} is cut short")
        this, dot, rest = name.partition(".")
        if not dot:
            raise ValueError(f"member {name!r} at byte {at} has no extension")
        if members and this != key:
            yield Entry(key, start, at - start, tuple(members))
            start, members = at, []
        key = this
        members.append(Member(rest, at + BLOCK, size))
        at += BLOCK + size + (-size % BLOCK)
    if members:
        yield Entry(key, start, at - start, tuple(members))
    if data[at:] != _END:
        raise ValueError(f"the archive does not end at byte {at} as it should")
