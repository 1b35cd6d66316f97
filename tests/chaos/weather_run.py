"""One run of the weather campaign: a command given again and again while faults come and go, and its judge."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from lesionforge.engine import dataset, driver
from lesionforge.engine.dataset import DatasetError
from lesionforge.engine.finalise import finalise
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.pool import InProcess
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.recipe_yaml import parse
from lesionforge.jobs.commands.status import Progress
from lesionforge.sinks.gc import collect
from lesionforge.sinks.store import Store
from tests import faulty
from tests.chaos.oracle import Place, differing, digests, identity, unsound
from tests.chaos.weather_bench import OK, Command, Outcome, Where
from tests.chaos.weather_faults import Fault, Scene, pages
from tests.fixtures_s3 import BUCKET

SHARD = 4  # samples
SECONDS = 0.06  # a sample
FAIR = 4  # times that the command may fail when all faults are over
GAP, LONGEST, AT_ONCE = 1.0, 4.0, 3  # seconds between faults and of one, at most; how many last at once
EARLY = 0.15  # share of the faults that may come before work has begun
WEIGHTS = {"worker killed": 3}  # how often a fault is drawn, others being drawn once
HANG = 240.0  # seconds that one command may take


class Run:
    """One run: its commands, its faults, its judge."""

    def __init__(self, name: str, seed: int, folder: Path, where: Where, cases: int = 24, most: int = 20) -> None:
        """``most``: faults."""
        self.outcome, self._where, self._folder = Outcome(name, where.name), where, folder
        self._rng, self._numbers, self._beside = random.Random(seed), itertools.count(), list[Command]()
        self._lifts: list[tuple[float, Callable[[], object]]] = []
        (folder / "source").mkdir(parents=True)
        self.scene = Scene(
            folder / "source", where.orders, self._rng, self._begin_beside, lambda: self._driver.process.pid,
            where.proxy, where.ours if where.nodes else None,
        )  # fmt: skip
        self._begun = pages(cases)
        self.scene.write(self._begun)
        self._recipe = self._written(seed)
        bucket = f"s3://{BUCKET}/{name.replace(' ', '-')}"
        self._place = Place(bucket if where.proxy else str(folder / "out"), where.server)
        kinds = where.kinds()
        drawn = self._rng.choices(list(kinds), [WEIGHTS.get(kind, 1) for kind in kinds], k=self._rng.randint(5, most))
        self._faults = [(kind, kinds[kind]) for kind in drawn]

    def _written(self, seed: int) -> Recipe:
        orders = str(self._where.orders.folder)
        source = {
            "uri": f"tests.chaos.storms.Pages:{self.scene.source}",
            "options": {"weather": orders},
            "split": {"train": 0.75, "val": 0.25},
        }
        raw = {
            "name": "weather", "seed": seed % 2**31, "sources": [source], "multiply": 4, "splits": ["train", "val"],
            "generator": {"name": "tests.chaos.storms.Copies", "params": {"seconds": SECONDS, "weather": orders}},
            "shard": {"samples": SHARD}, "resources": {"cpus": 1, "sample_seconds": 30},
        }  # fmt: skip
        bucket = {"storage_options": {"config_kwargs": {"read_timeout": 2, "connect_timeout": 2}}}
        (self._folder / "recipe.yaml").write_text(json.dumps(raw | (bucket if self._where.proxy else {})))
        return parse(json.dumps(raw))

    def _begin(self, verb: str, *more: str) -> Command:
        place = ["--out", self._place.url] if verb == "generate" else [self._place.url]
        if verb == "generate":
            place += ["--workers", str(self._where.nodes.count)] if self._where.nodes else ["--in-process"]
            place.insert(0, str(self._folder / "recipe.yaml"))
        said = self._folder / f"{verb}{next(self._numbers)}"
        return Command([verb, *place, *more], self._where.environment(), said)

    def _begin_beside(self, verb: str, *more: str) -> None:
        self._beside.append(self._begin(verb, *more))

    def play(self) -> Outcome:
        """From the first command to the verdict."""
        began = time.monotonic()
        self._reference(self.scene.states[0])
        self._start()
        try:
            self._weather()
        finally:
            self._fair()
            self._end_all()
        self.judge()
        if self.outcome.end.startswith("refused"):
            self._put_back()
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _weather(self) -> None:
        """One fault after the other, and the same command again, until it has ended well in fair weather."""
        left, following, fair = list(self._faults), 0.0, 0
        done, early = False, self._rng.random() < EARLY  # where all is made, no command gets to work any more
        while True:
            time.sleep(0.03)
            now = time.monotonic()
            self._lift(now)
            if left and following <= now and len(self._lifts) < AT_ONCE and (early or self._driver.at_work()):
                self._happen(*left.pop(0), now)
                following, early = now + self._rng.uniform(0, GAP), done or self._rng.random() < EARLY
            if (code := self._driver.code) is None:
                if now - self._driver.began > HANG:
                    self.outcome.wrong.append(f"hang: {HANG:g} s, said {self._driver.last()!r}")
                    return
                continue
            self._ended(code)
            done = code == OK
            early = done or not self._driver.at_work()  # refused: it may be so again
            if not left and not self._lifts:
                self._fair()
                fair += 1
                if code == OK or fair > FAIR:
                    return
            self._start()

    def _put_back(self) -> None:
        """Give the source the content again that the dataset was begun with: the same command must end well."""
        begun = identity(self._place.contents())
        state = next((s for s in self.scene.states if self._reference(s)["identity"] == begun), self.scene.states[0])
        self.scene.write(state)
        refused, self._begun = self.outcome.end, state
        for _ in range(FAIR):
            self._start()
            with suppress(subprocess.TimeoutExpired):
                self._driver.process.wait(HANG)
            self._ended(self._driver.code)
            if self._driver.code == OK:
                break
        self._end_all()
        self.judge()
        self.outcome.end = f"{refused}; source put back: {self.outcome.end}"

    def _happen(self, kind: str, happen: Fault, now: float) -> None:
        with suppress(FileNotFoundError):  # two faults of one thing at once: the source is away already
            if lift := happen(self.scene):
                self._lifts.append((now + self._rng.uniform(0.2, LONGEST), lift))
            self.outcome.faults[kind] += 1

    def _lift(self, now: float) -> None:
        """End the faults that are over by now."""
        for when, lift in [lift for lift in self._lifts if lift[0] <= now]:
            with suppress(FileNotFoundError):  # the source is away: put right when it is back
                lift()
                self._lifts.remove((when, lift))

    def _fair(self) -> None:
        """End all faults."""
        while self._lifts:
            self._lift(float("inf"))
        self.scene.orders.clear()

    def _start(self) -> None:
        if self._where.nodes:
            self._where.nodes.fill()
        self._driver = self._begin("generate")
        self.outcome.attempts += 1

    def _ended(self, code: int | None) -> None:
        """A driver's word is held against the place at once, unless others are at work there."""
        self.outcome.wrong += self._driver.problems()
        self._beside = [command for command in self._beside if not self._over(command)]
        if code == OK and not self._lifts and not self._beside:
            self._complete(self._place.contents(), "exit code 0, and")

    def _over(self, command: Command) -> bool:
        if command.code is None:
            return False
        self.outcome.wrong += command.problems()
        return True

    def _end_all(self) -> None:
        end = time.monotonic() + HANG
        for command in self._beside:
            while command.code is None and time.monotonic() < end:
                time.sleep(0.05)
            if command.code is None:
                self.outcome.wrong.append(f"hang beside: {command.words[0]}, said {command.last()!r}")
                command.kill()
            self._over(command)
        if self._driver.code is None:
            self._driver.kill()

    def judge(self) -> None:
        """At the end: complete and right, or incomplete and said so."""
        store, state = self._store(), "none"
        with suppress(DatasetError):
            state = Progress(store).look()["state"]
        contents = self._place.contents()
        done = "_SUCCESS" in contents
        wrong, said = self.outcome.wrong, self._driver.last().replace(self._place.url, "OUT")[:160]
        if done != (state == "complete"):
            wrong.append(f"status says {state}, and _SUCCESS {'is' if done else 'is not'} there")
        if not done and self._driver.code == OK:
            wrong.append("exit code 0 of what is not complete")
        if not done:
            changed = self.scene.states[-1] != self._begun
            self.outcome.end = f"refused: {said}" if changed else f"incomplete: {said}"
            if not changed:
                wrong.append(f"not complete in fair weather: {said}")
            return
        self.outcome.end = "complete"
        self._complete(contents, "at the end")
        collect(store, young=0)
        after = self._place.contents()
        if digests(after) != digests(contents):
            wrong.append("gc has changed a complete dataset")
        wrong += [f"left over: {name}" for name in after if name.startswith(".tmp/")]

    def _store(self) -> Store:
        """The place as this process reaches it, past all faults."""
        server = self._where.server
        if server is None:
            return Store(self._place.url)
        keys = {"key": server["AWS_ACCESS_KEY_ID"], "secret": server["AWS_SECRET_ACCESS_KEY"]}
        return Store(self._place.url, keys | {"endpoint_url": server["AWS_ENDPOINT_URL"]})

    def _complete(self, contents: dict[str, bytes], when: str) -> None:
        """Hold what is called complete against a run in fair weather on the source as it was or is."""
        for state in self.scene.states:
            reference = self._reference(state)
            if reference["identity"] == identity(contents):
                break
        else:
            self.outcome.wrong.append(f"COMPLETE AND WRONG: {when} of no content that the source has had")
            return
        names = differing(contents, reference["files"])
        bad = unsound(contents) + ([f"differs: {', '.join(names[:4])}, {len(names)} in all"] if names else [])
        self.outcome.wrong += [f"COMPLETE AND WRONG: {when} {line}" for line in bad]

    def _reference(self, state: dict[str, str]) -> dict[str, Any]:
        """What a run in fair weather makes of a source's content, in this process."""
        place = self._folder / f"reference-{self.scene.states.index(state)}"
        known = place.with_suffix(".json")
        if known.exists():
            found: dict[str, Any] = json.loads(known.read_text())
            return found
        source = self.scene.source
        kept, now = source.with_name("kept"), source.exists()
        if now:
            source.rename(kept)
        source.mkdir()
        try:
            for name, text in state.items():
                (source / name).write_text(text)
            store, job = Store(str(place)), Pipeline(self._recipe)
            described = dataset.describe(job)
            dataset.claim(store, described)
            with mock.patch.object(faulty, "time", SimpleNamespace(sleep=lambda seconds: None)):
                driver.run(job, store, InProcess(self._recipe, store))
            finalise(store, described)
        finally:
            shutil.rmtree(source)
            if now:
                kept.rename(source)
        contents = Place(str(place)).contents()
        body = {"identity": identity(contents), "files": digests(contents)}
        known.write_text(json.dumps(body))
        return body
