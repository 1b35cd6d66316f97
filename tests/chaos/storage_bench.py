"""What the storage campaigns stand on: a server, the proxy before it, a reader that looks on, and what is counted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from botocore.session import Session

from lesionforge.engine import retries
from lesionforge.engine.pipeline import Pipeline
from lesionforge.generators.types import UserError
from lesionforge.jobs import console
from lesionforge.jobs.commands.gc import gc
from lesionforge.jobs.commands.generate import RunResult, generate
from lesionforge.jobs.commands.verify import verify
from lesionforge.sinks import dataset, index, layout, tar
from lesionforge.sinks.store import Store, lease, s3
from tests.chaos.proxy import Call, Proxy
from tests.chaos.toy import recipe, undisturbed

BUCKET = "chaos"
BEAT, STALE = 0.3, 6.0  # seconds; what is 10 and 90 in earnest, so that dead drivers are found out sooner


@dataclass
class Figures:
    """Of one kind of fault. `said`: the error of a run that was to be refused, before it was cured and run again."""

    name: str
    injected: int = 0
    calls: int = 0
    said: str = ""
    lost: int = 0
    duplicated: int = 0
    half: int = 0  # times that a reader saw a shard in halves
    looks: int = 0  # times that it looked at one
    differing: int = 0  # objects whose bytes are not those of an undisturbed run
    swept: int = 0  # objects that gc removed
    leftovers: int = 0  # after it
    seconds: float = 0.0
    skipped: str = ""  # why it could not be tried on this machine
    wrong: list[str] = field(default_factory=list)  # anything else that was not as it should be

    @property
    def good(self) -> bool:
        """Whether every promise held."""
        return not (self.wrong or self.lost or self.duplicated or self.half or self.differing or self.leftovers)

    def body(self) -> dict[str, Any]:
        """For machines."""
        return {**vars(self), "good": self.good}


class Reader(threading.Thread):
    """Lists and reads half of the time, past the proxy; nothing it sees may be half a shard."""

    def __init__(self, store: Store, figures: Figures) -> None:
        super().__init__(daemon=True)
        self._store, self._figures, self._done = store, figures, threading.Event()

    def run(self) -> None:
        pause = 0.02
        try:
            while not self._done.wait(pause):
                begun = time.monotonic()
                committed = dataset.committed(self._store)
                for entry in self._store.list(layout.SHARDS):
                    self._look(entry.name.rsplit("/", 1)[-1].removesuffix(".tar"), committed)
                pause = min(0.1, max(0.02, time.monotonic() - begun))  # the run wants the CPU too
        except Exception as error:
            self._figures.wrong.append(f"the reader failed: {error!r}")

    def _look(self, shard: str, committed: Sequence[str]) -> None:
        self._figures.looks += 1
        data = self._store.get(layout.tar(shard))
        try:
            list(tar.read(data))
            if shard in committed:
                record, rows = index.read(self._store.get(layout.index(shard)))
                assert record.tar_sha256 == hashlib.sha256(data).hexdigest()
                assert index.from_tar(data, record.recipe) == [row for row in rows if row.status == "ok"]
        except (AssertionError, ValueError) as error:
            self._figures.half += 1
            self._figures.wrong.append(f"seen in halves: {shard} {error}")

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


class Twin:
    """A recipe, and the dataset that an undisturbed run makes of it. `last`: the id of its last sample."""

    def __init__(self, folder: Path, seed: int, samples: int) -> None:
        self.recipe = recipe(seed, samples, {})
        self.last = Pipeline(self.recipe).plan[samples - 1].sample_id
        self.path = folder / "recipe.yaml"
        self.path.write_text(json.dumps(self.recipe.model_dump(mode="json") | {"storage_options": self.options()}))
        undisturbed(self.recipe, folder / "clean")
        self.clean = contents(Store(str(folder / "clean")))

    def options(self) -> dict[str, Any]:
        """`storage_options` of the recipe."""
        return {}

    def direct(self, url: str) -> Store:
        """The store, past all faults."""
        return Store(url)

    def unfinished(self, url: str) -> int:
        """Uploads in parts that nobody has ended."""
        return 0

    def run(self, url: str) -> RunResult:
        """`lesionforge generate`, one worker in this process."""
        return generate(self.path, url, None, in_process=True)


class Bench(Twin):
    """The same on an S3 server with the proxy before it."""

    def __init__(self, env: dict[str, str], folder: Path, seed: int, hurry: float = 1.0, samples: int = 40) -> None:
        """``hurry``: what the pauses between two tries are multiplied with."""
        super().__init__(folder, seed, samples)
        self.seed, self.env = seed, env
        self.proxy = Proxy(env)
        self.pauses: list[float] = []
        self._hurry = hurry
        self._direct: dict[str, Store] = {}
        self.buckets = Session().create_client(
            "s3", region_name=env["AWS_REGION"], endpoint_url=env["AWS_ENDPOINT_URL"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip
        self.buckets.create_bucket(Bucket=BUCKET)

    def options(self) -> dict[str, Any]:
        """A silent server is given up after a second, not after a minute."""
        return {"config_kwargs": {"read_timeout": 1, "connect_timeout": 1}}

    def direct(self, url: str) -> Store:
        if url not in self._direct:
            self._direct = {url: Store(url, {"endpoint_url": self.env["AWS_ENDPOINT_URL"]})}
        return self._direct[url]

    def unfinished(self, url: str) -> int:
        return len(self.buckets.list_multipart_uploads(Bucket=url.split("/")[2]).get("Uploads", []))

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """The AWS variables lead to the proxy; pauses are noted and hurried; dead drivers are found out soon."""

        def sleep(seconds: float) -> None:
            self.pauses.append(seconds)
            time.sleep(seconds * self._hurry)

        with (
            mock.patch.dict(os.environ, self.proxy.env),
            mock.patch.object(s3, "time", SimpleNamespace(sleep=sleep)),
            mock.patch.object(retries, "PAUSES", (0.2,)),  # in earnest seven, of two minutes
            mock.patch.multiple(lease, BEAT=BEAT, STALE=STALE),
            mock.patch.object(console.err, "quiet", True),
        ):
            yield
        self.proxy.close()
        self.buckets.close()

    def draw(self, kind: str, share: float, most: int) -> Callable[[Call], str]:
        """Decide by the seed and the call alone: a share of the calls, at most ``most`` times in a row for each."""

        def decide(call: Call) -> str:
            if call.count % (most + 1) == most:
                return ""
            text = f"{self.seed} {kind} {call.kind} {call.key.rsplit('/', 1)[-1]} {call.count}"
            number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
            return kind if number < share * 2**64 else ""

        return decide


def contents(store: Store) -> dict[str, bytes]:
    """All that a dataset consists of."""
    return {entry.name: store.get(entry.name) for entry in store.list()}


def check(figures: Figures, bench: Twin, url: str, clean: dict[str, bytes] | None = None) -> None:
    """Count what is lost, duplicated, different and left over."""
    through = bench.direct(url)
    plan = Pipeline(bench.recipe).plan
    found = Counter(
        row.sample_id
        for _, rows in dataset.indexes(through, dataset.committed(through))
        for row in rows
        if row.status == "ok"
    )
    figures.lost = sum(not found[plan[i].sample_id] for i in range(len(plan)))
    figures.duplicated = sum(count > 1 for count in found.values())
    figures.wrong += verify(through).problems
    figures.swept += len(gc(url, young=0)["removed"])
    ours, theirs = contents(through), bench.clean if clean is None else clean
    names = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
    figures.differing = len(names)
    figures.wrong += [f"differs: {name}" for name in names]
    left = [entry.name for entry in through.hidden().list()]
    figures.leftovers = len(left) + bench.unfinished(url)
    figures.wrong += [f"left over: {name}" for name in left]


def disturbed(bench: Bench, name: str, fault: Callable[[Call], str], creation: str = "honest") -> Figures:
    """A run that must get through, while a reader looks on."""
    figures, url, begun = Figures(name), f"s3://{BUCKET}/{name.replace(' ', '-')}", time.monotonic()
    bench.proxy.calm()
    bench.proxy.creation, bench.proxy.fault = creation, fault
    with Reader(bench.direct(url), figures):
        try:
            result = bench.run(url)
            figures.wrong += [result.short] if result.short else []
        except UserError as error:
            figures.wrong.append(f"did not get through: {error}")
            bench.proxy.fault = lambda call: ""
            bench.run(url)
    count(figures, bench.proxy)
    check(figures, bench, url)
    figures.seconds = time.monotonic() - begun
    return figures


def refused(bench: Bench, name: str, fault: Callable[[Call], str], words: str) -> Figures:
    """A run that cannot get through: it must say so in one line; once the fault is gone, the same command goes on."""
    figures, url, begun = Figures(name), f"s3://{BUCKET}/{name.replace(' ', '-')}", time.monotonic()
    bench.proxy.calm()
    bench.proxy.creation, bench.proxy.fault = "honest", fault
    with Reader(bench.direct(url), figures):
        said(figures, lambda: bench.run(url), words)
    count(figures, bench.proxy)
    return cured(figures, bench, url, begun)


def cured(figures: Figures, bench: Twin, url: str, begun: float) -> Figures:
    """The same command again, without faults."""
    with Reader(bench.direct(url), figures):
        bench.run(url)
    check(figures, bench, url)
    figures.seconds = time.monotonic() - begun
    return figures


def said(figures: Figures, run: Callable[[], RunResult], words: str) -> None:
    """Run what must fail, or leave something undone, with one line that has these words."""
    try:
        figures.said = "; ".join(run().failed.values())
    except UserError as error:
        figures.said = str(error)
    if words not in figures.said or "\n" in figures.said:
        figures.wrong.append(f"not a line with {words!r}: {figures.said}")


def count(figures: Figures, proxy: Proxy) -> None:
    figures.injected, figures.calls = proxy.injected.total(), proxy.calls.total()
    proxy.calm()
