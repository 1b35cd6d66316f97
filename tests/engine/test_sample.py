import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.plan import PlanError
from lesionforge.engine.sample import BadOutput, Maker, checked
from lesionforge.generators.base import Generator
from lesionforge.generators.types import Sample, stream
from lesionforge.sinks import png
from lesionforge.sinks.quarantine import Quarantined
from tests.engine.conftest import toy


def make_all(recipe, batch=1):
    maker = Maker(Pipeline(recipe))
    specs = [maker.pipeline.plan[i] for i in range(len(maker.pipeline.plan))]
    out = []
    for i in range(0, len(specs), batch):
        part = specs[i : i + batch]
        out += maker.make([maker.read(s) for s in part], part)
    return maker, out


def test_streams_are_the_same_on_every_machine():
    assert stream(b"key", "stage").integers(0, 2**63, 3).tolist() == [
        8420283736182124150, 3354335851119258119, 5157500179182887361,
    ]  # fmt: skip
    assert stream(b"key", "stage").random() != stream(b"key", "other").random() != stream(b"kez", "stage").random()


def test_attempts_and_stages_draw_from_their_own_streams():
    spec = Pipeline(toy()).plan[0]
    assert spec.rng("a").random() == spec.rng("a").random()
    again = type(spec)(**{**vars(spec), "attempt": 1})
    assert len({spec.rng("a").random(), spec.rng("b").random(), again.rng("a").random()}) == 3


def test_a_batch_makes_the_same_samples_as_one_by_one():
    _, single = make_all(toy())
    _, batched = make_all(toy(), batch=7)
    assert all(
        np.array_equal(a.fields["image.png"], b.fields["image.png"]) for a, b in zip(single, batched, strict=True)
    )


def test_the_encoder_starts_before_any_sample_s_time_runs():
    png._compiled.cache_clear()
    Maker(Pipeline(toy())).prepare()
    started = png._compiled.cache_info().misses
    png.png(np.zeros((9, 9), np.uint8))
    png.png(stream(b"key", "picture").integers(0, 256, (9, 9), dtype=np.uint8))
    assert png._compiled.cache_info().misses == started


def test_memory_running_out_halves_the_batch_and_is_counted():
    maker, made = make_all(toy(generator__params={"memory_limit": 2}), batch=8)
    assert all(isinstance(s, Sample) for s in made)
    assert maker.batch_halvings == 3 * 5  # 8 -> 4 -> 2: three halvings in each of five batches


@pytest.mark.parametrize("batch", [1, 5])
def test_only_the_faulty_samples_become_reasons(batch):
    params = {
        "raise_at": ["train-0000-00000003"],
        "reject_always": ["train-0000-00000004"],
        "reject_twice": ["train-0001-00000000"],
    }
    maker, made = make_all(toy(generator__params=params), batch)
    reasons = {maker.pipeline.plan[i].sample_id: str(s) for i, s in enumerate(made) if isinstance(s, Quarantined)}
    assert set(reasons) == {"train-0000-00000003", "train-0000-00000004"}
    assert reasons["train-0000-00000003"].startswith("error: RuntimeError: ordered to fail (faulty.py:")
    assert reasons["train-0000-00000004"] == "quality: ordered to be rejected (drawn 6 times)"
    redrawn = next(s for s in made if isinstance(s, Sample) and s.spec.sample_id == "train-0001-00000000")
    assert redrawn.spec.attempt == 2


SPOILT = {  # order to fail -> reason
    "nan_at": "output: labels.value is nan",
    "text_measured_at": "output: measured.mean is 'much', not a number",
    "twice_at": "output: more than 1 samples for 1 asked for",
    "never_at": "output: 0 samples for 1 asked for",
    "other_spec_at": "output: spec is that of 'train-9999-00000000'",
    "gpu_memory_at": "error: OutOfMemoryError: CUDA out of memory, ordered (faulty.py:",
    "exit_at": "error: SystemExit: ordered to exit (faulty.py:",
}


@pytest.mark.parametrize("batch", [1, 5])
def test_what_breaks_the_contract_is_named_and_nobody_else_suffers(batch):
    params = {order: [f"train-0000-{n:08d}"] for n, order in enumerate(SPOILT)}
    maker, made = make_all(toy(generator__params=params), batch)
    reasons = [str(s) for s in made if isinstance(s, Quarantined)]
    assert len(made) == 40
    assert [reason[: len(said)] for reason, said in zip(reasons, SPOILT.values(), strict=True)] == list(SPOILT.values())
    assert all(isinstance(made[n], Quarantined) for n in range(len(SPOILT)))
    if batch > 1:
        assert maker.batch_halvings > 0  # for the simulated GPU


@pytest.mark.parametrize(
    ("altered", "said"),
    [
        ({"labels": {"boxes": [{"x": 1.0}, {"x": float("-inf")}]}}, "labels.boxes.1.x is -inf"),
        ({"measured": {"ds": np.float32("nan")}}, "measured.ds is nan"),
        ({"fields": [1]}, "fields is list [1], not a dict by name"),
        ({"drawn": {1: 2}}, "drawn is dict {1: 2}, not a dict by name"),
        ({"spec": None}, "spec is that of None"),
    ],
)
def test_the_field_and_its_value_are_named(altered, said):
    spec = Pipeline(toy()).plan[0]
    good = Sample(spec, {}, {}, {}, {})
    assert checked([good], [spec]) == [good]
    with pytest.raises(BadOutput, match=re.escape(said)):
        checked([replace(good, **altered)], [spec])
    with pytest.raises(BadOutput, match="a dict in place of a Sample"):
        checked([{}], [spec])
    with pytest.raises(BadOutput, match=", altered"):
        checked([replace(good, spec=replace(spec, attempt=1))], [spec])


def test_a_generator_without_an_end_is_stopped():
    spec = Pipeline(toy()).plan[0]
    with pytest.raises(BadOutput, match="more than 1 samples"):
        checked(itertools.repeat(Sample(spec, {}, {}, {}, {})), [spec])


def test_limits_reject_and_unknown_limits_are_named():
    _, made = make_all(toy(quality__limits={"mean": {"min": 1e9}}, quality__redraws=1))
    assert str(made[0]).startswith("quality: mean is 1")
    assert ", below 1e+09 (drawn 2 times)" in str(made[0])
    with pytest.raises(PlanError, match=r"limits\.meen: generator .* does not measure it; did you mean mean\?"):
        make_all(toy(quality__limits={"meen": {"min": 0}}))
    with pytest.raises(PlanError, match=r"burned_in_text: of a CoronaryTree nobody measures it; leave it out"):
        make_all(toy(quality__limits={"burned_in_text": {"max": 0}}), batch=5)


class Judged(Generator):
    """Knows one figure before its costly part."""

    classes = ("mild", "severe")
    measures = ("early", "late")
    made = 0

    def make(self, case, spec):
        early = {"early": float(spec.rng("early").random())}
        self.judge(spec, early)
        self.made += 1
        return Sample(spec, {}, {}, {}, {**early, "late": float(spec.rng("late").random())})


@pytest.mark.parametrize("batch", [1, 5])
def test_what_is_judged_early_saves_its_costly_part_and_changes_nothing_else(batch, monkeypatch):
    def make():
        kind, limits = "tests.engine.test_sample.Judged", {"late": {"min": 0.3}, "early": {"min": 0.7}}
        maker, made = make_all(toy(generator__name=kind, quality__limits=limits, quality__redraws=3), batch)
        return maker.pipeline.generator.made, [s if isinstance(s, Quarantined) else vars(s) for s in made]

    early, judged = make()
    monkeypatch.setattr(Maker, "_judge", lambda *_: None)
    late, whole = make()
    assert judged == whole
    assert {str(s)[:16] for s in judged if isinstance(s, Quarantined)} == {"quality: late is", "quality: early i"}
    assert early < 0.6 * late


def test_unreadable_cases_are_reasons():
    maker = Maker(Pipeline(toy(sources__0__options={"count": 5, "unreadable": [2]})))
    spec = next(s for i in range(len(maker.pipeline.plan)) if (s := maker.pipeline.plan[i]).case == 2)
    assert str(maker.read(spec)) == "source: case 2 is unreadable"


def test_a_source_that_reads_nothing_is_a_reason():
    maker = Maker(Pipeline(toy(sources__0__options={"count": 5, "none_at": [2]})))
    spec = next(s for i in range(len(maker.pipeline.plan)) if (s := maker.pipeline.plan[i]).case == 2)
    assert str(maker.read(spec)) == "source: read a NoneType, no case"


def test_classes_must_be_the_generator_s():
    with pytest.raises(PlanError, match="does not make 'heavy'; its classes are mild, severe"):
        Pipeline(toy(balance={"heavy": 1}))
