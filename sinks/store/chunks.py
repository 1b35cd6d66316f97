"""The body of an upload: chunks read as one file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any


class Chunks(io.RawIOBase):
    """Chunks read as one seekable file, without joining them."""

    def __init__(self, chunks: Sequence[memoryview]) -> None:
        self._chunks, self._index, self._offset, self._at = chunks, 0, 0, 0
        self._size = sum(len(chunk) for chunk in chunks)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        self._index, self._offset = 0, self._at
        while self._index < len(self._chunks) and self._offset >= len(self._chunks[self._index]):
            self._offset -= len(self._chunks[self._index])
            self._index += 1
        return self._at

    def readinto(self, buffer: Any) -> int:
        filled = 0  # to the brim: each read is a hop between threads, and a tar has many small chunks
        while filled < len(buffer) and self._index < len(self._chunks):
            chunk = self._chunks[self._index]
            piece = chunk[self._offset : self._offset + len(buffer) - filled]
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
            self._offset += len(piece)
            if self._offset == len(chunk):
                self._index, self._offset = self._index + 1, 0
        self._at += filled
        return filled
