"""Storage: one folder on a disk or in a bucket, with atomic, create-only writes (see `sinks.store.store`)."""

from lesionforge.sinks.store.backend import Entry
from lesionforge.sinks.store.errors import StoreError
from lesionforge.sinks.store.store import Store

__all__ = ["Entry", "Store", "StoreError"]
