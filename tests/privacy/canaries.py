"""Canaries: values that stand nowhere but where they were planted, and that are known again in any disguise.

A text canary is ``Zqxj`` and five digits; a number, date, time or UID has a range of its own. So one search finds
thousands of them at once, whatever the case, the encoding or the part of a name that leaked.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

MARK = "Zqxj"
NUMBER = 1_313_000_000  # fits an IS; as seconds since 1970 it is August 2011
FIRST_DAY = datetime.date(1601, 1, 1)
TEXT = ("LO", "SH", "ST", "LT", "UT", "UC", "CS", "AE", "PN", "UR", "UN", "OB", "OW")

# Each begins with letters, which makes a search fast; what must stand before them is looked at afterwards.
_RAW = re.compile(rb"zqxj\d{5}")
_WIDE = re.compile(rb"z\0q\0x\0j\0(?:\d\0){4}\d")
_HEX = re.compile(rb"[75]a[75]1[75]8[64]a(?:3\d){3}")
_UID = re.compile(rb"\.771934\.1\d{5}")
_NUMBER = re.compile(rb"1313\d{6}(?!\d)")
_DATE = re.compile(rb"1[67]\d\d-?[01]\d-?[0-3]\d")
_FRACTION = re.compile(rb"\.7\d{5}(?!\d)")
_YEARS = re.compile(rb"Y(?!\w)")
_DIGEST = re.compile(rb"[0-9a-f]{16,128}")


def _cores() -> dict[bytes, int]:
    """What stays of the mark in base64, whatever stands before and after it, and how far into three bytes it is."""
    out = {}
    for text in (MARK, MARK.upper(), MARK.lower()):
        for shift in range(3):
            coded = base64.b64encode(bytes(shift) + text.encode() + b"0")
            first = -(-8 * shift // 6)
            out[coded[first : 8 * (shift + len(text) + 1) // 6]] = first
    return out


_BASE64 = _cores()


@dataclass
class Canaries:
    """All canaries of a run: what was planted where, and what of it is found."""

    planted: dict[str, str] = field(default_factory=dict)  # value -> where
    _exact: set[bytes] = field(default_factory=set)
    _digests: dict[bytes, str] = field(default_factory=dict)

    def text(self, where: str, upper: bool = False) -> str:
        """A text of 9 characters."""
        value = f"{MARK}{len(self.planted):05d}"
        return self.know(value.upper() if upper else value, where)

    def know(self, value: str, where: str) -> str:
        """Take a value among the canaries; its unkeyed hashes are canaries, too."""
        self.planted[value] = where
        self._exact.add(value.encode())
        for name in ("md5", "sha1", "sha256", "sha512", "blake2b"):
            self._digests[hashlib.new(name, value.encode()).hexdigest()[:16].encode()] = value
        return value

    def hexadecimal(self, digits: str, where: str) -> None:
        """Take hexadecimal digits, 16 or more, for a canary."""
        self._digests[digits[:16].encode()] = where

    def where(self, found: str) -> str:
        """Where what was found had been planted, as far as it tells."""
        return next((where for value, where in self.planted.items() if found.lower() in value.lower()), "a piece of it")

    def of(self, vr: str, where: str) -> str | None:
        """A canary that is a valid value of a value representation; ``None`` where none can be told again."""
        n = len(self.planted)
        assert n < 70_000, "the days of two centuries are used up"
        day = FIRST_DAY + datetime.timedelta(n)
        clock = f"{n % 24:02d}{n % 60:02d}{n // 60 % 60:02d}.7{n:05d}"
        if vr == "PN":
            family, given = self.text(where), self.text(where)
            return self.know(f"{family}^{given}", where)
        if vr in TEXT:
            return self.text(where, upper=vr in ("CS", "AE"))
        made = {
            "DA": f"{day:%Y%m%d}",
            "TM": clock,
            "DT": f"{day:%Y%m%d}{clock}",
            "AS": f"{100 + n % 900}Y",
            "IS": str(NUMBER + n),
            "DS": f"{NUMBER + n}.25",
            "UI": f"1.2.826.0.1.3680043.771934.1{n:05d}",
        }
        if vr == "DT":
            self.know(clock, where)  # what a search sees of it
        return self.know(made[vr], where) if vr in made else None

    def found(self, data: bytes) -> Counter[str]:
        """Canaries in some bytes: the value, or a piece of it that betrays it, and how often."""
        out: Counter[str] = Counter()
        low = data.lower()
        for pattern in (_RAW, _WIDE, _HEX):
            out.update(match.decode("latin1") for match in pattern.findall(low))
        out.update(match.decode() for match in _UID.findall(data))
        out.update(m[0].decode() for m in _NUMBER.finditer(data) if not _digit(data, m.start()))
        dates = (m[0].replace(b"-", b"") for m in _DATE.finditer(data) if not _digit(data, m.start()))
        times = (data[m.start() - 6 : m.end()] for m in _FRACTION.finditer(data))
        ages = (data[m.start() - 3 : m.end()] for m in _YEARS.finditer(data) if not _digit(data, m.start() - 3))
        for values in (dates, times, ages):
            out.update(value.decode() for value in values if value in self._exact)
        for match in _DIGEST.findall(low):
            if value := self._digests.get(match[:16]):
                out[f"hash of {value}"] += 1
        out.update(self._in_base64(data))
        return out

    def _in_base64(self, data: bytes) -> Iterator[str]:
        for core, first in _BASE64.items():
            at = data.find(core)
            while at >= 0:
                start = at - first  # where a group of four begins
                window = re.match(rb"[A-Za-z0-9+/=]*", data[max(start, 0) : start + 24])
                text = window[0] if window else b""
                with_mark = base64.b64decode(text[: len(text) // 4 * 4].rstrip(b"=") + b"==")
                yield from (m.decode() for m in _RAW.findall(with_mark.lower()))
                at = data.find(core, at + 1)


def _digit(data: bytes, at: int) -> bool:
    """Whether a digit stands just before a place."""
    return data[at - 1 : at].isdigit() if at > 0 else False
