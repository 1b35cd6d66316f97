"""Where things lie inside a dataset's folder, and which version of the layout this is."""

from __future__ import annotations

LAYOUT_VERSION = 2  # 2: the manifest in parts, DALI's indexes in a folder of their own, a summary in every index

RECIPE = "recipe.json"  # resolved recipe, its hash, versions: written first, create-only
SHARDS = "shards"
INDEX = "index"
DALI = "dali"
MANIFEST = "manifest.json"
PARTS = "manifest"
WIDS = "wids.json"
CARD = "README.md"
PICTURES = "pictures"
PREVIEW = "preview/index.html"  # the gallery, where somebody asked for one
SUCCESS = "_SUCCESS"  # the manifest's SHA-256; written last, and only where the recipe's quota was met


def tar(shard: str) -> str:
    """Path of a shard's samples."""
    return f"{SHARDS}/{shard}.tar"


def index(shard: str) -> str:
    """Path of a shard's commit record: the shard exists once this does, as long as its tar does."""
    return f"{INDEX}/{shard}.parquet"


def dali(shard: str) -> str:
    """Path of a shard's index in NVIDIA DALI's format."""
    return f"{DALI}/{shard}.idx"


def part(number: int) -> str:
    """Path of a part of the manifest."""
    return f"{PARTS}/{number:05d}.json"


def sheet(split: str) -> str:
    """Path of a split's contact sheet."""
    return f"{PICTURES}/{split}.png"
