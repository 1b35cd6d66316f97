"""Secrets have no place in a recipe: it is copied, shared and kept under version control, and its commands are logged.

Credentials come from each node's environment or from its instance profile; nothing of ours carries them there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Names as fsspec's file systems have them, without case, spaces, "_" and "-".
NAME = re.compile(
    r"key|auth|cookies?|.*(secret|passw|passphrase|token|credential|authorization|signature|connectionstring"
    r"|accesskey|accountkey|privatekey|customerkey|apikey)"
    r"(id)?"
)
HARMLESS = ("anon", "cloud", "google_default", "browser", "cache")  # what gcsfs takes for a token and is none
USERINFO = re.compile(r"://[^/@\s]*:[^/@\s]+@")
FIX = (
    "holds a secret, and a recipe is copied and shared: give credentials in every node's environment "
    "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or FSSPEC_PROTOCOL_OPTION such as FSSPEC_FTP_PASSWORD) "
    "or by an instance profile"
)


def found(raw: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a recipe secrets stand: values so named in ``storage_options``, and passwords in URLs anywhere."""
    if isinstance(raw, Mapping):
        for name, value in raw.items():
            here = (*at, name)
            if here[0] == "storage_options" and _named(str(name)) and _given(value):
                yield here
            else:
                yield from found(value, here)
    elif isinstance(raw, list | tuple):
        for n, value in enumerate(raw):
            yield from found(value, (*at, n))
    elif isinstance(raw, str) and USERINFO.search(raw):
        yield at


def _named(name: str) -> bool:
    return NAME.fullmatch(re.sub(r"[\s_-]", "", name.lower())) is not None


def _given(value: Any) -> bool:
    return value not in (None, "") and not isinstance(value, bool) and value not in HARMLESS
