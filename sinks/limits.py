"""What a file of a dataset may become in memory: a dataset may be a stranger's, and a small file unpack to anything.

Nothing is made room for before what it would become is known from its own headers. More than these is neither written
nor read, by any part of this package. A tar that is verified is read whole, and takes what it is.

=============== ======================= ================================================================================
bound           of                      why so much
=============== ======================= ================================================================================
``DOCUMENT``    recipe.json, manifests  10^4 shards a part, 4 million subjects told one by one: 40 MB
``INDEX``       a shard's Parquet file  100,000 rows of 2 kB labels are 20 MB packed
``TAR``         a shard                 what goes in one PUT; a shard of the default size has 256 MiB
``FOOTER``      an index's footer       marks of 100,000 subjects, 1,000 kinds of reasons; Thrift makes 100 bytes of one
``ROWS``        its rows                a shard is held in memory: more samples do not fit
``VALUES``      its values, nested too  100,000 rows of 5 members and 10 measures; Python takes up to 120 bytes of each
``TEXT``        its texts, unpacked     the labels of 10,000 samples of 10 kB
``JSON``        what JSON becomes       2**26 bytes of text, as ``parsed`` reckons; a sample's own has some 10 kB
``DEPTH``       brackets open at once   labels have 6; a thousand end every recursion
``PIXELS``      a PNG                   8192 x 8192
``UNPACKED``    a .zst or .gz member    a CT of 512 x 512 x 1024 in int16
=============== ======================= ================================================================================
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

DOCUMENT = 2**26
INDEX = 2**26
TAR = 5 * 2**30
FOOTER = 2**22
ROWS = 100_000
VALUES = 5_000_000
TEXT = 2**27
JSON = 2**29
DEPTH = 64
PIXELS = 2**26
UNPACKED = 2**29

_BRACKETS = b"[]{}"
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))
_COSTS = {b",": 64, b"[": 64, b"{": 128, b":": 128}  # bytes that Python makes at most of what each begins


def parsed(data: bytes | bytearray | str) -> Any:
    """What ``json.loads`` reads, where it is JSON: no NaN and no infinity, no key twice, not too deep, not too much.

    Raises:
        ValueError: saying what it is.
    """
    raw = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    cost = 4 * len(raw)
    if len(raw) > JSON // 2**8:  # of less not even every byte together is too dear
        cost += sum(raw.count(sign) * size for sign, size in _COSTS.items())
    if cost > JSON:
        raise ValueError(f"JSON of {len(raw)} bytes that becomes {cost}; at most {JSON} are held")
    depth = 0
    for sign in raw.translate(None, _OTHERS) if raw.count(b"[") + raw.count(b"{") > DEPTH else b"":
        depth += 1 if sign in b"[{" else -1
        if depth > DEPTH:
            raise ValueError(f"JSON of more than {DEPTH} brackets inside each other")
    return _JSON.decode(raw.decode(errors="surrogatepass"))


def _number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} is no number of JSON")
    return value


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        raise ValueError("a key of a JSON object stands in it twice")
    return out


_JSON = json.JSONDecoder(parse_constant=_number, parse_float=_number, object_pairs_hook=_object)
