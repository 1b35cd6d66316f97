"""Whole samples: the contract, determinism, the closed loop on phantom frames and on real ones."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from lesionforge.engine.sources.pictures.arcade import Arcade, ArcadeOptions
from lesionforge.generators.base import Generator
from lesionforge.generators.phantom.angiogram.frame import phantom_angiogram
from lesionforge.generators.stenosis import boxes
from lesionforge.generators.stenosis.closure import graded
from lesionforge.generators.stenosis.generator import StenosisGenerator
from lesionforge.generators.stenosis.params import StenosisParams
from lesionforge.generators.stenosis.sites import FrameAnatomy
from lesionforge.generators.types import BadCase, Lesion, Rejected, SampleSpec, severity_class
from lesionforge.sinks.encode import decode, encode
from lesionforge.sinks.pictures.sheet import TINT_OF


@pytest.fixture(scope="module")
def frames():
    return [phantom_angiogram(bytes([n]) * 32, side, f"s{n}") for n in range(2) for side in ("left", "right")]


@pytest.fixture(scope="module")
def generator():
    return StenosisGenerator(StenosisParams())


def spec(n=0, target="moderate", attempt=0):
    name = f"train-0000-{n:08d}"
    return SampleSpec(name, "train", 0, 0, n, target, name.encode().ljust(32, b"."), attempt)


def one(generator, frame, n=0, target="moderate"):
    """As the engine: drawn again until accepted."""
    for attempt in range(20):
        try:
            (sample,) = generator.generate([frame], [spec(n, target, attempt)])
            return sample
        except Rejected:
            continue
    raise AssertionError("rejected twenty times")


def same(a, b):
    fields = all(np.array_equal(a.fields[k], b.fields[k]) for k in a.fields)
    return fields and a.fields.keys() == b.fields.keys() and a.labels == b.labels and a.drawn == b.drawn


@pytest.mark.parametrize("target", ["mild", "moderate", "severe"])
def test_a_sample_is_what_the_contract_says(generator, frames, target):
    assert isinstance(generator, Generator)
    for n, frame in enumerate(frames):
        frame = replace(frame, lesions=(Lesion((5.0, 6.0, 30.0, 40.0), "mild", 35.0),))
        sample = one(generator, frame, n, target)
        assert sorted(sample.fields) == ["image.png", "mask.png", "source.png", "source_mask.png"]
        assert all(f.dtype == np.uint8 and f.shape == frame.image.shape for f in sample.fields.values())
        assert np.array_equal(sample.fields["source.png"], frame.image)
        assert np.array_equal(sample.fields["source_mask.png"] > 0, frame.mask)
        drawn, known = sample.labels["lesions"]
        assert known["box"] == [5.0, 6.0, 30.0, 40.0]
        assert not known["synthetic"]
        assert known["severity_class"] == "mild"
        assert known["edit_box"] is None
        assert known["requested_ds"] is None
        assert drawn["synthetic"]
        assert drawn["severity_class"] == target == severity_class(drawn["measured_ds"])
        assert abs(drawn["requested_ds"] - drawn["measured_ds"]) <= 5
        assert sample.labels["requested"]["percent_ds"] == drawn["requested_ds"]
        assert sample.measured["percent_ds"] == drawn["measured_ds"]
        assert drawn["mld_px"] / drawn["d_ref_px"] == pytest.approx(1 - drawn["measured_ds"] / 100)
        assert drawn["width_px"] >= 5
        said = [graded(drawn[key]) for key in ("densitometric_ds", "geometric_ds") if drawn[key] is not None]
        assert drawn["measured_ds"] == pytest.approx(np.mean(said))
        assert drawn["measured_ds_sd"] > 0
        x0, y0, x1, y1 = drawn["box"]
        assert x1 - x0 == pytest.approx(y1 - y0)
        assert x1 - x0 > 34 - 1e-9
        assert np.allclose([(x0 + x1) / 2, (y0 + y1) / 2], drawn["mld_xy"])
        a0, b0, a1, b1 = drawn["edit_box"]
        c0, d0, c1, d1 = drawn["tight_box"]
        assert a0 <= c0 < c1 <= a1
        assert b0 <= d0 < d1 <= b1
        changed = sample.fields["image.png"] != frame.image
        assert changed.any()
        assert changed[b0:b1, a0:a1].sum() == changed.sum()
        assert not (sample.fields["mask.png"] > sample.fields["source_mask.png"]).any()
        meta = {**sample.labels, "drawn": sample.drawn, "measured": sample.measured}
        assert json.loads(json.dumps(meta, allow_nan=False)) == meta
        for name, field in sample.fields.items():
            assert np.array_equal(decode(name, encode(name, field)), field)


def test_the_request_stays_inside_its_class_and_off_its_edges():
    params = StenosisParams(occlusion=0.3)
    rng = np.random.default_rng(0)
    seen = Counter()
    for target, low, high in (("mild", 30, 45), ("moderate", 55, 65), ("severe", 75, 90)):
        for _ in range(300):
            severity, ds = params.draw_ds(rng, target)
            assert severity == target
            assert low <= ds <= high or (target == "severe" and ds == 100)
            seen[ds == 100] += 1
    assert 60 < seen[True] < 120
    natural = Counter(params.draw_ds(rng, None)[0] for _ in range(2000))
    assert natural["mild"] == 0
    assert 0.08 < natural["severe"] / 2000 < 0.14


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"moderate_ds": (45, 70)}, "moderate_ds is 45 ... 70"),
        ({"severe_ds": (80, 75)}, "low first"),
        ({"moderate_ds": (62, 64), "margin": 9}, "margin 9 leaves nothing"),
        ({"natural": (0.5, 0.5, 0.5)}, "summing to 1"),
        ({"backend": "diffusion"}, "needs weights"),
        ({"tolerance": 0}, "tolerance is 0"),
    ],
)
def test_bad_parameters_are_named(params, match):
    with pytest.raises(ValueError, match=match):
        StenosisParams(**params)


def test_the_same_sample_alone_together_again_and_with_a_warm_memory(generator, frames):
    """Promise P1: who shares the batch, what was made before and which process makes it do not matter."""
    alone = [one(generator, f, n) for n, f in enumerate(frames)]
    attempts = [s.spec.attempt for s in alone]
    fresh = StenosisGenerator(StenosisParams())
    specs = [spec(n, attempt=a) for n, a in enumerate(attempts)]
    together = list(fresh.generate(frames, specs))
    again = list(fresh.generate(frames[::-1], specs[::-1]))[::-1]
    for a, b, c in zip(alone, together, again, strict=True):
        assert same(a, b)
        assert same(b, c)
    assert not same(one(generator, frames[0], 7), one(generator, frames[0], 8))


def test_another_mask_or_lesion_of_the_same_picture_is_another_frame(generator, frames):
    """The memory of measured vessels must not answer for them."""
    plain = one(generator, frames[0], 3)
    x, y = plain.labels["lesions"][0]["mld_xy"]
    marked = replace(frames[0], lesions=(Lesion((x - 20, y - 20, x + 20, y + 20)),))
    for warm in (generator, StenosisGenerator(StenosisParams())):
        sample = one(warm, marked, 3)
        other_x, other_y = sample.labels["lesions"][0]["mld_xy"]
        assert max(abs(other_x - x), abs(other_y - y)) > 20


def test_several_lesions_keep_apart_and_are_all_labelled(frames):
    generator = StenosisGenerator(StenosisParams(lesions=(3, 3)))
    counts = Counter()
    for n, frame in enumerate(frames):
        sample = one(generator, frame, n)
        drawn = [x for x in sample.labels["lesions"] if x["synthetic"]]
        counts[len(drawn)] += 1
        changed = sample.fields["image.png"] != frame.image
        for lesion in drawn:
            others = [x["edit_box"] for x in drawn if x is not lesion]
            assert not any(boxes.overlap(tuple(lesion["edit_box"]), tuple(box)) for box in others)
            x0, y0, x1, y1 = lesion["edit_box"]
            assert changed[y0:y1, x0:x1].any()
            changed[y0:y1, x0:x1] = False
            assert severity_class(lesion["measured_ds"]) == lesion["severity_class"]
        assert not changed.any()
    assert max(counts) > 1


def test_an_occlusion_closes_the_vessel(frames):
    generator = StenosisGenerator(StenosisParams(occlusion=1))
    sample = one(generator, frames[0], 1, "severe")
    lesion = sample.labels["lesions"][0]
    assert lesion["requested_ds"] == 100
    assert lesion["measured_ds"] >= 80
    x, y = (int(v) for v in lesion["mld_xy"])
    assert sample.fields["source_mask.png"][y, x]
    assert not sample.fields["mask.png"][y, x]


def test_a_known_lesion_is_made_tighter_and_relabelled():
    found = 0
    for n in range(4):
        frame = phantom_angiogram(bytes([40 + n]) * 32, "right", "s", stenoses=2)
        generator = StenosisGenerator(StenosisParams(site="regrade", tolerance=8))
        for attempt in range(6):
            try:
                (sample,) = generator.generate([frame], [spec(n, "severe", attempt)])
            except Rejected:
                continue
            lesions = sample.labels["lesions"]
            assert len(lesions) == len(frame.lesions)
            (drawn,) = (x for x in lesions if x["synthetic"])
            x, y = drawn["mld_xy"]
            known = [le.box for le in frame.lesions]
            assert drawn["regraded"]
            assert any(b[0] <= x <= b[2] and b[1] <= y <= b[3] for b in known)
            found += 1
            break
    assert found


def test_sites_are_clear_of_lesions_ends_and_borders(frames):
    for frame in frames:
        box = (200.0, 150.0, 330.0, 300.0)
        marked = replace(frame, lesions=(Lesion(box),))
        anatomy = FrameAnatomy.of(marked, 7.0)
        assert len(FrameAnatomy.of(frame, 7.0).places) > len(anatomy.places)
        for vessel, row in anatomy.places:
            lumen = anatomy.vessels[vessel].lumen
            x, y = lumen.points[row] + 0.5
            assert not (box[0] <= x <= box[2] and box[1] <= y <= box[3])
            assert 5 < x < frame.image.shape[1] - 5
            assert 5 < y < frame.image.shape[0] - 5
            assert anatomy.vessels[vessel].width[row] >= 7
            assert min(row, len(lumen.points) - 1 - row) >= 7


def test_frames_that_cannot_be_used_say_why(generator, frames):
    empty = replace(frames[0], mask=np.zeros_like(frames[0].mask), source_id="b")
    with pytest.raises(BadCase, match="clear enough"):
        list(generator.generate([empty], [spec()]))
    with pytest.raises(ValueError, match="no severity class"):
        list(generator.generate([frames[0]], [spec(target="terrible")]))


def test_source_and_panels_may_be_left_out(generator, frames):
    bare = StenosisGenerator(StenosisParams(keep_source=False))
    sample = one(bare, frames[0])
    assert "source.png" not in sample.fields
    assert bare.sample_bytes() < generator.sample_bytes()
    assert not any("before" in p.layers for p in bare.panels(sample.fields, sample.labels)[:2])
    full = one(generator, frames[0])
    panels = generator.panels(full.fields, full.labels)
    both = {**full.labels, "lesions": [*full.labels["lesions"], {"box": [1, 1, 9, 9], "synthetic": False}]}
    kinds = [
        [name for name in generator.panels(full.fields, told)[0].layers if "boxes" in name]
        for told in (full.labels, both)
    ]
    assert kinds == [["drawn boxes"], ["drawn boxes", "real boxes"]]
    assert TINT_OF["drawn boxes"] != TINT_OF["real boxes"]
    asked, measured = (full.labels["lesions"][0][k] for k in ("requested_ds", "measured_ds"))
    assert panels[1].title == f"lesion: {measured:.0f} % stenosis ({asked:.0f} % requested)"
    for panel in panels:
        assert "before" in panel.layers
        shapes = {layer.shape for layer in panel.layers.values()}
        assert len(shapes) == 1
        assert all(layer.dtype == np.uint8 for layer in panel.layers.values())


def test_the_loop_closes_on_real_frames(data_dir):
    """Requested, stored and re-read with fresh noise, on ARCADE's frames."""
    source = Arcade(str(data_dir / "arcade"), ArcadeOptions(require="segments"))
    generator = StenosisGenerator(StenosisParams(occlusion=0))
    misses, jpeg = [], 0
    for n in range(16):
        frame = source.read(n * 4)
        try:
            sample = one(generator, frame, n, ("moderate", "severe")[n % 2])
        except AssertionError:
            continue  # a frame without a healthy stretch
        lesion = sample.labels["lesions"][0]
        misses.append(lesion["requested_ds"] - lesion["measured_ds"])
        x0, y0, x1, y1 = lesion["edit_box"]
        changed = sample.fields["image.png"] != frame.image
        assert changed[y0:y1, x0:x1].sum() == changed.sum() > 0
        if FrameAnatomy.of(frame, 7).texture.jpeg:
            jpeg += 1
            assert x0 % 8 == y0 % 8 == 0
    assert len(misses) >= 12
    assert jpeg >= 4
    assert np.abs(misses).mean() <= 3
