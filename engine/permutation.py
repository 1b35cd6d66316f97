"""A seeded permutation of 0 ... n-1 that is computed, never stored."""

from __future__ import annotations

import hashlib

ROUNDS = 6
MASK = (1 << 64) - 1


class Permutation:
    """Bijection of ``range(n)``: a Feistel network on the next even power of two, walked until inside.

    Time O(1) on average (at most four walks expected), memory O(1), for any n up to 2**62.
    """

    def __init__(self, n: int, key: bytes) -> None:
        self.n = n
        self._half = max(1, ((n - 1).bit_length() + 1) // 2)
        self._mask = (1 << self._half) - 1
        digest = hashlib.blake2b(key, digest_size=8 * ROUNDS, person=b"permutation").digest()
        self._keys = [int.from_bytes(digest[8 * r : 8 * r + 8], "little") for r in range(ROUNDS)]

    def __call__(self, i: int) -> int:
        if not 0 <= i < self.n:
            raise IndexError(f"{i} is outside 0 ... {self.n - 1}")
        while True:
            left, right = i >> self._half, i & self._mask
            for key in self._keys:
                left, right = right, left ^ (_mix(right ^ key) & self._mask)
            i = left << self._half | right
            if i < self.n:
                return i


def _mix(x: int) -> int:
    """Finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit moves every output bit."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31
