"""Frames that lie behind cases: of the sample's own split, the same for everybody, named like all else."""

import json

import numpy as np
import pytest
from PIL import Image

from lesionforge.engine.backgrounds import TRIES, Backgrounds, Unseen
from lesionforge.engine.faults import Fault
from lesionforge.engine.identity import Terms
from lesionforge.engine.messages import Task
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.plan import PlanError
from lesionforge.engine.recipe import Recipe
from lesionforge.engine.recipe_yaml import RecipeError
from lesionforge.engine.sample import Maker
from lesionforge.engine.sources import cache
from lesionforge.engine.sources.phantom import Phantom
from lesionforge.engine.worker import Worker
from lesionforge.generators.types import Angiogram, BadCase, CoronaryTree, SampleSpec, Scene, Volume
from lesionforge.jobs.commands.again import moved
from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.commands.plan import plan
from lesionforge.jobs.commands.replay import replay
from lesionforge.jobs.commands.verify import verify
from lesionforge.sinks.store import Store
from tests.engine.conftest import shas, toy

NAME = "DOE_JANE_19561103"
SHARES = {"train": 0.75, "val": 0.25}
TREES = {"uri": "phantom:coronary", "options": {"count": 8, "voxel_mm": 1.0}, "split": SHARES}
TOYS = {"uri": "tests.faulty.Toy:here", "options": {"count": 16}, "split": SHARES}


@pytest.fixture
def frames(tmp_path):
    """Eight people's frames, two of each."""
    folder = tmp_path / NAME
    folder.mkdir()
    for n in range(16):
        image = np.random.default_rng(n).integers(90, 200, (64, 64), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{NAME}_{n // 2}-{n % 2}.png")
        Image.fromarray(np.eye(64, dtype=np.uint8) * 255).save(folder / f"{NAME}_{n // 2}-{n % 2}_gt.png")
    return folder


def recipe(behind, **changes):
    backgrounds = {"uri": f"masks:{behind}", "options": {"subject": r"_(\d)-"}, "split": SHARES}
    own = {"sources": [TOYS], "backgrounds": backgrounds, "balance": None, "multiply": 3}
    own |= {"generator__name": "tests.engine.scenery.Scenery"}
    return toy(**own | changes)


def scenes(job):
    maker = Maker(job)
    return [(spec, maker.read(spec)) for spec in (job.plan[n] for n in range(len(job.plan)))]


def test_a_background_is_of_its_sample_s_split_and_every_variant_has_its_own(frames):
    job = Pipeline(recipe(frames))
    found = scenes(job)
    assert all(isinstance(scene, Scene) for _, scene in found)
    people = {split: {scene.background.subject for spec, scene in found if spec.split == split} for split in SHARES}
    assert (len(people["train"]), len(people["val"])) == (6, 2)
    assert not people["train"] & people["val"]
    behind = {}
    for spec, scene in found:
        behind.setdefault(spec.case, []).append(scene.background.source_id)
    assert all(len(ids) == 3 for ids in behind.values())
    assert sum(len(set(ids)) > 1 for ids in behind.values()) > len(behind) * 0.6
    assert [scene.background.source_id for _, scene in scenes(Pipeline(recipe(frames)))] == [
        scene.background.source_id for _, scene in found
    ]
    assert NAME not in repr([scene.background.subject for _, scene in found])


def test_a_frame_that_is_a_case_and_a_background_is_in_one_split(frames):
    source = {"uri": f"masks:{frames}", "options": {"subject": r"_(\d)-"}, "split": {"train": 0.5, "val": 0.5}}
    found = scenes(Pipeline(recipe(frames, sources=[source])))
    split = {scene.case.source_id: spec.split for spec, scene in found}
    assert all(split[scene.background.source_id] == spec.split for spec, scene in found)
    assert {scene.case.subject for _, scene in found} >= {scene.background.subject for _, scene in found}


class Line:
    """Frames by number."""

    def __init__(self, count):
        self.subjects, self.count = count, count

    def __len__(self):
        return self.count

    def case(self, variant, position):
        return position


def test_the_side_fits_and_the_view_is_near():
    rng = np.random.default_rng(5)
    sides, views = rng.choice(["left", "right"], 200), rng.uniform(-40, 40, (200, 2))
    image, reads = np.zeros((2, 2), np.uint8), []

    def read(source, number):
        reads.append(number)
        view = (float(views[number, 0]), float(views[number, 1]))
        return Angiogram("s", str(number), "l", image, side=str(sides[number]), view_deg=view)

    behind = Backgrounds(1, {"train": Line(200)})
    case = Angiogram("s", "i", "l", image, side="left", view_deg=(0.0, 0.0))
    tree = CoronaryTree("s", "i", "l", "right", np.zeros((1, 3), np.float32), (1.0, 1.0, 1.0))
    specs = [SampleSpec(f"train-{n}", "train", 0, 0, 0, None, bytes([n])) for n in range(100)]
    found = [behind.behind(case, spec, read) for spec in specs]
    assert sum(frame.side == "left" for frame in found) >= 95
    apart = [max(map(abs, frame.view_deg)) for frame in found]
    assert np.median(apart) < 20 < np.median(np.abs(views).max(1))  # of two or three that fit, the nearest
    assert sum(behind.behind(tree, spec, read).side == "right" for spec in specs) >= 95
    assert len(reads) <= 200 + 200  # those known not to fit are not read again
    fresh = [Backgrounds(1, {"train": Line(200)}).behind(case, spec, read).source_id for spec in specs[:9]]
    assert fresh == [frame.source_id for frame in found[:9]]  # whoever read what before


def test_a_background_that_cannot_be_read_is_told_apart_from_the_case(frames):
    for file in frames.glob("*_3-*.png"):
        file.write_bytes(b"\x89PNG broken " + NAME.encode())
    job = Pipeline(recipe(frames))
    reasons = {str(scene) for _, scene in scenes(job) if not isinstance(scene, Scene)}
    assert reasons
    assert all(reason.startswith("source: background: ") and NAME not in reason for reason in reasons)
    trees = recipe(frames, backgrounds=TOYS)
    (reason,) = {str(scene) for _, scene in scenes(Pipeline(trees))}
    assert reason == "source: background: a CoronaryTree is no angiogram; give a source of frames"
    with pytest.raises(Unseen) as raised:
        Backgrounds(1, {"train": Line(TRIES)}).behind(
            Volume("s", "i", "l", np.zeros((1, 1, 1), np.int16), (1.0,) * 3, (0.0,) * 3), job.plan[0], lambda *_: None
        )
    assert isinstance(raised.value.__cause__, BadCase)


def test_what_the_plan_refuses(frames):
    with pytest.raises(PlanError, match=r"^backgrounds: generator .*Faulty puts nothing before any; leave it out"):
        Pipeline(recipe(frames, generator__name="tests.faulty.Faulty"))
    with pytest.raises(PlanError, match=r"backgrounds: none of its 8 subjects falls into val, which has cases; change"):
        Pipeline(recipe(frames, backgrounds__split={"train": 1}))
    with pytest.raises(RecipeError, match=r"backgrounds.options.sides: unknown"):
        recipe(frames, backgrounds__options={"sides": 3})
    with pytest.raises(Exception, match=r"backgrounds.uri \(masks\)"):
        Pipeline(recipe(frames / "nowhere"))


def test_recipes_without_backgrounds_are_who_they_were(frames):
    plain = Recipe.model_validate({"name": "a", "seed": 3, "sources": [TREES], "generator": {"name": "biplane"}})
    assert plain.identity(["x"]) == "4c8a4790fbbb7ff27bcc04cb8a7239f035a979f910e31d1904b9b6f1ba62756e"
    told = Terms.of(Pipeline(recipe(frames)))
    job = told.identity
    assert told.open(recipe(frames)).identity == job
    moved_to = frames.rename(frames.parent / "elsewhere")
    assert Pipeline(recipe(moved_to)).identity == job
    (file, *_) = sorted(moved_to.glob("*-0.png"))
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(file)
    assert Pipeline(recipe(moved_to)).identity != job
    with pytest.raises(Fault, match=r"backgrounds \(masks\) is not what the driver saw"):
        told.open(recipe(moved_to))


def test_a_dataset_is_made_verified_and_replayed_and_says_no_place(frames, tmp_path):
    out = tmp_path / "out"
    told = plan(recipe(frames))
    assert [source["scheme"] for source in told.sources] == ["tests.faulty.Toy", "masks"]
    assert told.sources[1]["backgrounds"] is True
    assert generate(recipe(frames), out, in_process=True).short == ""
    assert not verify(Store(str(out))).problems
    text = "".join(file.read_text() for file in out.glob("*.*") if file.suffix in (".json", ".md"))
    assert NAME not in text
    assert "`masks` (backgrounds)" in (out / "README.md").read_text()
    assert json.loads((out / "recipe.json").read_text())["recipe"]["backgrounds"]["uri"] == "masks:"
    spec = Pipeline(recipe(frames)).plan[5]
    with pytest.raises(Exception, match="--source backgrounds=masks:PLACE"):
        replay(out, spec.sample_id, trust=True)
    given = moved([f"backgrounds=masks:{frames}"])
    with pytest.raises(Exception, match="no code is run"):
        replay(out, spec.sample_id, given)
    again = replay(out, spec.sample_id, given, trust=True)
    assert again.identical
    assert again.members
    meta = json.loads(again.members["json"])
    scene = Pipeline(recipe(frames)).read(spec)
    assert meta["background"] == scene.background.source_id != meta["source_id"] == scene.case.source_id
    assert meta["background_subject"] == scene.background.subject != meta["subject"] == scene.case.subject
    assert meta["measured"] == {"burned_in_text": 0.0}
    for wrong, message in ((["1=masks:/a"], "source 0 alone"), (["backgrounds=ct:/a"], "the backgrounds are of kind")):
        with pytest.raises(Exception, match=message):
            replay(out, spec.sample_id, moved(wrong), trust=True)


def test_a_generator_may_not_say_itself_what_lay_behind(frames):
    job = Pipeline(recipe(frames, generator__name="tests.engine.scenery.Taken"))
    (spec, scene), *_ = scenes(job)
    (made,) = Maker(job).make([scene], [spec])
    assert str(made) == "output: labels background: these names are the engine's; rename them"


def test_cases_are_kept_and_their_backgrounds_are_not_kept_with_them(frames, tmp_path, monkeypatch):
    reads, real = [], Phantom.read
    monkeypatch.setattr(Phantom, "read", lambda self, case: (reads.append(case), real(self, case))[1])
    small = recipe(frames, sources=[{**TREES, "options": {"count": 2, "voxel_mm": 1.0}, "split": {"train": 1}}])

    def made(folder):
        cache._room.cache_clear()
        for k in range(Pipeline(small).plan.shards):
            assert Worker(small, Store(str(folder))).make(Task(k)).quarantined == 0
        return shas(folder)

    monkeypatch.setenv("LESIONFORGE_CACHE", "")
    without = made(tmp_path / "off")
    assert sorted(reads) == sorted([0, 1, 2, 3] * 3)
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))
    reads.clear()
    assert made(tmp_path / "on") == without
    assert sorted(reads) == [0, 1, 2, 3]
