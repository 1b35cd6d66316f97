"""A judge of datasets that takes nothing of ours but the layout: SHA-256, ``tarfile``, ``pyarrow``, S3's own client."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from botocore.session import Session

HIDDEN = ".tmp/"


class Place:
    """Where a dataset lies: a folder, or below a prefix of a bucket.

    Args:
        url: a path, or s3://BUCKET/PREFIX.
        env: the AWS variables of the server itself, for a bucket.
    """

    def __init__(self, url: str, env: dict[str, str] | None = None) -> None:
        self.url, self._env = url, env

    def contents(self) -> dict[str, bytes]:
        """Every object of a dataset by name, those in the hidden folder too."""
        if self._env is None:
            root, out = Path(self.url), dict[str, bytes]()
            for path in root.rglob("*"):
                try:
                    out |= {path.relative_to(root).as_posix(): path.read_bytes()} if path.is_file() else {}
                except FileNotFoundError:  # gone meanwhile
                    continue
            return out
        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        client = Session().create_client(
            "s3", region_name=self._env["AWS_REGION"], endpoint_url=self._env["AWS_ENDPOINT_URL"],
            aws_access_key_id=self._env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=self._env["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        found = {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
        client.close()
        return {key.removeprefix(f"{prefix}/"): body for key, body in found.items()}


def digests(contents: dict[str, bytes]) -> dict[str, str]:
    """SHA-256 of every object that is shown."""
    return {name: hashlib.sha256(body).hexdigest() for name, body in contents.items() if not name.startswith(HIDDEN)}


def unsound(contents: dict[str, bytes]) -> list[str]:
    """What is wrong inside a dataset that is called complete: shards against their indexes and ``_SUCCESS``."""
    wrong, samples = list[str](), Counter[str]()
    indexes = {name[6:-8]: body for name, body in contents.items() if name.startswith("index/")}
    tars = {name[7:-4]: body for name, body in contents.items() if name.startswith("shards/")}
    if indexes.keys() != tars.keys():
        wrong.append(f"tars without index or indexes without tar: {sorted(indexes.keys() ^ tars.keys())[:3]}")
    for shard in sorted(indexes.keys() & tars.keys()):
        table = pq.read_table(io.BytesIO(indexes[shard]), columns=["sample_id", "status"]).to_pylist()
        good = {row["sample_id"] for row in table if row["status"] == "ok"}
        samples.update(row["sample_id"] for row in table)
        with tarfile.open(fileobj=io.BytesIO(tars[shard])) as tar:
            members = {name.partition(".")[0].rpartition("/")[2] for name in tar.getnames()}
        if members != good:
            wrong.append(f"{shard}: its tar and its index hold other samples")
    doubled = [name for name, count in samples.items() if count > 1]
    wrong += [f"doubled: {doubled[:3]}"] if doubled else []
    told, manifest = contents.get("_SUCCESS", b""), contents.get("manifest.json", b"")
    if told.decode().strip() != hashlib.sha256(manifest).hexdigest():
        wrong.append("_SUCCESS is not the manifest's")
    return wrong


def differing(contents: dict[str, bytes], reference: dict[str, str]) -> list[str]:
    """Names of objects that are not those of the reference run."""
    ours = digests(contents)
    return sorted(name for name in ours.keys() | reference.keys() if ours.get(name) != reference.get(name))


def identity(contents: dict[str, bytes]) -> str:
    """The identity that a dataset says it has."""
    told: Any = json.loads(contents.get("recipe.json", b"{}"))
    return str(told.get("identity", ""))
