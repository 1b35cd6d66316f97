"""What may say who a case is of, and how it is kept out of all that is written (promise P8)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from lesionforge.engine.sources.base import Source
from lesionforge.generators.types import Case, Volume


def subject_key(seed: int, sources: Iterable[Source]) -> bytes:
    """The key of a dataset's hashes: from its seed, and from what only those know who have the sources' files."""
    digest = hashlib.blake2b(f"subject/{seed}".encode(), digest_size=32)
    for source in sources:
        digest.update(source.secret())
    return digest.digest()


def subject_hash(key: bytes, subject: str) -> str:
    """A subject's name in a dataset."""
    return hashlib.blake2b(subject.encode(errors="surrogateescape"), key=key, digest_size=8).hexdigest()


def unnamed(case: Case, key: bytes, subject: str | None = None) -> Case:
    """The case as a generator may see it, which writes out what it likes: its subject is a hash.

    Args:
        subject: what to hash; its name in its source where None.
    """
    name = subject_hash(key, case.subject if subject is None else subject)
    if isinstance(case, Volume):  # and so are its trees'
        return replace(case, subject=name, trees=tuple(replace(tree, subject=name) for tree in case.trees))
    return replace(case, subject=name)
