"""Mutations that know no format: of bytes, of numbers, of plain data, of names."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 7, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, -(2**31), 2**32, 2**63, -(2**63), 10**30),
    *(0.0, -0.0, 0.5, -1e-300, 1e-9, 1e9, 1e300, float("nan"), float("inf"), float("-inf")),
)
WORDS = (
    *("", " ", "a", "0", "-1", "NaN", "1e999", "9" * 5000, "x" * 3000, "\x00", "\n", "é", "\u202e", "\ud800"),
    *("../outside.png", "../../outside", "/etc/passwd", "..", ".", "/", "~", "a/../../b", "file:///etc/passwd"),
    *("{0}", "%s%s%n", "$(id)", "<a>", "&a;", "!!python/object:os.system", "__import__('os')", "null", "true", "[]"),
)


class Rng(random.Random):
    """A stream of its own for every input, by name: any input can be made again alone."""

    def __init__(self, name: str) -> None:
        super().__init__(int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big"))
        self.sound = name.endswith("/-1")  # ask nothing to be wrong: input -1 is the sound one

    def chance(self, share: float) -> bool:
        """True for this share of the inputs; never in the sound one."""
        return not self.sound and self.random() < share

    def pick(self, *items: T) -> T:
        """One of them; the first in the sound input."""
        return items[0] if self.sound else self.choice(items)


def some_bytes(rng: Rng, data: bytes, rounds: int | None = None) -> bytes:
    """Bits flipped, bytes overwritten with numbers that matter, ranges cut, doubled, blanked or moved, the end lost."""
    out = bytearray(data)
    for _ in range(rounds if rounds is not None else rng.choice((1, 1, 2, 4, 12))):
        if not out:
            return rng.randbytes(rng.randrange(64))
        at, n = rng.randrange(len(out)), min(len(out), 1 << rng.randrange(12))
        match rng.randrange(8):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
            case 2:
                width = rng.choice((2, 4, 8))
                value = rng.choice((0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1, 60000))
                out[at : at + width] = value.to_bytes(width, rng.choice(("little", "big")))
            case 3:
                del out[at : at + n]
            case 4:
                out[at:at] = out[at : at + n]
            case 5:
                out[at : at + n] = bytes(min(n, len(out) - at))
            case 6:
                out[at:at] = rng.randbytes(min(n, 64))
            case 7:
                del out[at:]
    return bytes(out)


def number(rng: Rng, like: Any = 0) -> Any:
    """A number that breaks things, or one near the given."""
    if isinstance(like, int | float) and rng.random() < 0.3:
        return like * rng.choice((-1, 2, 0.5, 1000)) + rng.choice((-1, 0, 1))
    return rng.choice(NUMBERS)


def word(rng: Rng) -> str:
    """A text that breaks things, as far as files can hold it."""
    return rng.choice(WORDS).encode("utf-8", "replace").decode()


def value(rng: Rng, like: Any = None, depth: int = 0) -> Any:
    """Plain data of a type that nobody expects."""
    match rng.randrange(9 if depth < 3 else 5):
        case 0:
            return None
        case 1:
            return rng.choice((True, False))
        case 2 | 3:
            return number(rng, like)
        case 4:
            return word(rng)
        case 5:
            return [value(rng, like, depth + 1) for _ in range(rng.randrange(4))]
        case 6:
            return {word(rng)[:40]: value(rng, like, depth + 1) for _ in range(rng.randrange(3))}
        case 7:
            return [like] * rng.choice((0, 2, 50))
        case _:
            nested: Any = like
            for _ in range(rng.choice((10, 200))):
                nested = [nested] if rng.random() < 0.5 else {"a": nested}
            return nested


def plain(rng: Rng, data: Any, rounds: int = 1) -> Any:
    """Plain data with something changed somewhere: a value replaced, an item lost, doubled, or moved elsewhere."""
    for _ in range(rounds):
        spots = list(_spots(data))
        if not spots:
            return value(rng, data)
        at, key = rng.choice(spots)
        match rng.randrange(6):
            case 0:
                del at[key]
            case 1 if isinstance(at, list):
                at.append(at[key])
            case 2 if isinstance(at, dict):
                at[word(rng)[:40]] = at.pop(key)
            case 3:
                other, from_key = rng.choice(spots)
                if key in range(len(at)) if isinstance(at, list) else True:
                    at[key] = _copied(other.get(from_key) if isinstance(other, dict) else _at(other, from_key))
            case _:
                at[key] = value(rng, at[key])
    return data


def _spots(data: Any, depth: int = 0) -> Any:
    if depth > 12:
        return
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(data, dict):
        items = list(data.items())
    elif isinstance(data, list):
        items = list(enumerate(data))
    for key, item in items:
        yield data, key
        yield from _spots(item, depth + 1)


def _at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else None


def _copied(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _copied(item) for key, item in data.items()}
    return [_copied(item) for item in data] if isinstance(data, list) else data
