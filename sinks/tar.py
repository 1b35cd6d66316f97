"""A shard in the making: a plain USTAR archive in memory, the same bytes whoever builds it and when."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

BLOCK = 512
STRETCH = 2**20  # bytes that are hashed in one go: to wake a thread takes as long as to hash 50 kB
_END = bytes(2 * BLOCK)
_MODE, _TIME = b"0000644\0" + b"0000000\0" * 2, b"\0" + b"00000000000\0"  # what stands in a header between the rest
_REST = (b"\0 0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2).ljust(BLOCK - 154, b"\0")
_SUM = sum(_MODE) + sum(_TIME) + sum(_REST[2:]) + 8 * ord(" ")  # a checksum counts itself as blanks
_PAD = [bytes(n) for n in range(BLOCK)]
MAX_NAME = 100  # longest member name of USTAR without a prefix
MAX_SIZE = 8**11  # eleven octal digits
KEY, FIELD = r"[!-\-0-~]+", r"[!-.0-~]*[!-\-0-~]"  # printable ASCII without '/'; no dot in a key, none at the end
_NAME = re.compile(rf"{KEY}\.{FIELD}")


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
    """Collects samples; ``chunks`` are the file's bytes. A thread hashes them meanwhile, and while they are written.

    Every header is fixed but for name and size: mode 0644, owner 0, time 0.
    """

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.size = 0
        self._starts: list[int] = []  # of the chunks
        self._hash = hashlib.sha256()
        self._hasher = ThreadPoolExecutor(1)
        self._unhashed = list[bytes]()
        self._hashed = 0  # bytes that the thread was given
        self._ended = False

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
        headers = [_header(f"{key}.{name}", len(data)) for name, data in fields.items()]  # all, before any is appended
        start, at = self.size, self.size
        pieces, members = list[bytes](), list[Member]()
        for header, (name, data) in zip(headers, fields.items(), strict=True):
            members.append(Member(name, at + BLOCK, len(data)))
            pieces += header, data, _PAD[-len(data) % BLOCK]
            at += BLOCK + len(data) + (-len(data) % BLOCK)
        self._append(pieces)
        return Entry(key, start, self.size - start, tuple(members))

    def end(self) -> None:
        """Append the end-of-archive blocks: ``chunks`` are the whole file now."""
        if not self._ended:
            self._append([_END])
            self._hash_on()
            self._ended = True

    def close(self) -> str:
        """End the archive, if it is not yet, and return the SHA-256 of the whole file."""
        self.end()
        self._hasher.shutdown()
        return self._hash.hexdigest()

    def span(self, offset: int, size: int) -> bytes:
        """The bytes of a whole sample, by where its entry says that they lie."""
        first, end = bisect_left(self._starts, offset), bisect_left(self._starts, offset + size)
        return b"".join(self.chunks[first:end])

    def _append(self, pieces: list[bytes]) -> None:
        pieces = [piece for piece in pieces if piece]
        for piece in pieces:
            self._starts.append(self.size)
            self.size += len(piece)
        self.chunks += pieces
        self._unhashed += pieces
        if self.size - self._hashed >= STRETCH:
            self._hash_on()

    def _hash_on(self) -> None:
        """Have the thread hash what is there by now."""
        self._hasher.submit(self._update, self._unhashed)
        self._unhashed, self._hashed = [], self.size

    def _update(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._hash.update(piece)


def _header(name: str, size: int) -> bytes:
    if not _NAME.fullmatch(name):
        raise ValueError(f"member name {name!r} must be KEY.FIELD in printable ASCII, without '/' or a last '.'")
    raw = name.encode("ascii")
    if len(raw) > MAX_NAME:
        raise ValueError(f"member name {name!r} is {len(raw)} bytes long; USTAR holds {MAX_NAME}")
    if size >= MAX_SIZE:
        raise ValueError(f"member {name!r} has {size} bytes; USTAR holds less than {MAX_SIZE}")
    length = b"%011o" % size
    checksum = _SUM + sum(raw) + sum(length)
    return b"".join((raw.ljust(100, b"\0"), _MODE, length, _TIME, b"%06o" % checksum, _REST))


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
        name, size = _parsed(block, at)
        end = at + BLOCK + size + (-size % BLOCK)
        if end > len(data):
            raise ValueError(f"member {name!r} at byte {at} is cut short")
        if data[at + BLOCK + size : end].strip(b"\0"):
            raise ValueError(f"the padding of member {name!r} at byte {at} is not blank")
        this, _, rest = name.partition(".")
        if members and this != key:
            yield Entry(key, start, at - start, tuple(members))
            start, members = at, []
        key = this
        members.append(Member(rest, at + BLOCK, size))
        at = end
    if members:
        yield Entry(key, start, at - start, tuple(members))
    if data[at:] != _END:
        raise ValueError(f"the archive does not end at byte {at} as it should")


def _parsed(block: bytes, at: int) -> tuple[str, int]:
    """Name and size of a header, which must be the very one that is written here for them."""
    try:
        name, size = block[:100].rstrip(b"\0").decode("ascii"), int(block[124:135], 8)
        if size >= 0 and block == _header(name, size):
            return name, size
    except ValueError:
        pass
    raise ValueError(f"no tar header at byte {at}, or none that is written here")
