"""``check_generator`` passes every generator of ours, and names what is wrong with each that is not one."""

import random
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import pytest

from lesionforge.engine import plugins
from lesionforge.engine.sources.phantom import Phantom, PhantomOptions
from lesionforge.generators.base import Generator
from lesionforge.generators.testing import check_generator
from lesionforge.generators.types import Panel, Rejected, Sample
from tests.generators.angio_ct.toys import chest
from tests.generators.lesion.toys import abdomen, vessel

SHORT = {"size": 48, "plaques": (1, 1), "length_mm": (4, 8), "calcified_mm": (3, 5)}  # the toys' vessels are short


@cache
def frame(case=0):
    return Phantom("angiogram", PhantomOptions(count=1)).read(case)


def trees():
    return [Phantom("coronary", PhantomOptions(count=1, voxel_mm=0.6)).read(case) for case in (0, 1)]


OURS = {  # what each is checked on: parameters, cases, classes
    "angio_ct": (SHORT, lambda: [chest()], ("healthy", "mixed")),
    "biplane": ({"grid": 64, "detector": 128, "spacing_mm": (1.6, 2.2)}, trees, ()),
    "cine": ({"frames": 2, "size": 128}, lambda: trees()[:1], ("none", "severe")),
    "lesion": (SHORT, lambda: [vessel(), abdomen()], ("calcified", "liver_early")),
    "stenosis": ({}, lambda: [frame()], ("moderate", "severe")),
}


@pytest.mark.parametrize("name", plugins.names("generators"))
def test_all_of_ours_keep_their_promises(name):
    params, cases, targets = OURS[name]
    check_generator(plugins.generator(name, params), cases(), targets)


@dataclass(frozen=True)
class NoParams:
    pass


class Good(Generator):
    """Noise over the case; every defect below is one change to it."""

    Params = NoParams
    classes: ClassVar = ("a", "b")
    measures: ClassVar = ("mean",)

    def make(self, case, spec):
        if spec.attempt < 1:
            raise Rejected("the first draw never fits")
        image = np.clip(case.image + spec.rng("noise").normal(0, 5, case.image.shape), 0, 255).astype(np.uint8)
        return Sample(spec, {"image.png": image}, {}, {"target": spec.target}, {"mean": float(image.mean())})


class GlobalRng(Good):
    def make(self, case, spec):
        sample = super().make(case, spec)
        return Sample(spec, sample.fields, {"luck": float(np.random.rand())}, sample.drawn, sample.measured)  # noqa: NPY002


class PythonRng(Good):
    def make(self, case, spec):
        sample = super().make(case, spec)
        return Sample(spec, sample.fields, sample.labels, {"luck": random.random()}, sample.measured)


class SharesBatch(Good):
    def generate(self, cases, specs):
        for case, spec in zip(cases, specs, strict=True):
            sample = self.make(case, spec)
            yield Sample(spec, sample.fields, {"batch": len(specs)}, sample.drawn, sample.measured)


class Remembers(Good):
    count = 0

    def make(self, case, spec):
        sample = super().make(case, spec)
        self.count += 1
        return Sample(spec, {"image.png": np.full((8, 8), self.count, np.uint8)}, {}, {}, sample.measured)


class OutOfOrder(Good):
    def generate(self, cases, specs):
        return reversed([self.make(case, spec) for case, spec in zip(cases, specs, strict=True)])


class Edits(Good):
    def make(self, case, spec):
        case.image[0, 0] += 1
        return super().make(case, spec)


class WrongType(Good):
    def make(self, case, spec):
        sample = super().make(case, spec)
        return Sample(spec, {"image.png": sample.fields["image.png"] / 255}, {}, {}, sample.measured)


class WrongName(Good):
    def make(self, case, spec):
        sample = super().make(case, spec)
        return Sample(spec, {"image.tif": sample.fields["image.png"]}, {}, {}, sample.measured)


class NanField(Good):
    def make(self, case, spec):
        return Sample(spec, {"image.npy": np.full((4, 4), np.nan)}, {}, {}, super().make(case, spec).measured)


class NanLabel(Good):
    def make(self, case, spec):
        sample = super().make(case, spec)
        return Sample(spec, sample.fields, {"box": [float("nan")]}, sample.drawn, sample.measured)


class ArrayLabel(Good):
    def make(self, case, spec):
        sample = super().make(case, spec)
        return Sample(spec, sample.fields, {"box": np.zeros(4)}, sample.drawn, sample.measured)


class OtherMeasure(Good):
    def make(self, case, spec):
        sample = super().make(case, spec)
        return Sample(spec, sample.fields, {}, {}, {"maen": 1.0})


class TextMeasure(Good):
    def make(self, case, spec):
        return Sample(spec, super().make(case, spec).fields, {}, {}, {"mean": "much"})


class JudgesOther(Good):
    def make(self, case, spec):
        self.judge(spec, {"mean": 0.0})
        return super().make(case, spec)


class OtherSpec(Good):
    def make(self, case, spec):
        sample = super().make(case, spec)
        return Sample(None, sample.fields, {}, {}, sample.measured)


class TwoOfOne(Good):
    def generate(self, cases, specs):
        for case, spec in zip(cases, specs, strict=True):
            yield self.make(case, spec)
            yield self.make(case, spec)


class NeverFits(Good):
    def make(self, case, spec):
        raise Rejected("too dark")


class CannotShow(Good):
    def panels(self, fields, meta):
        raise KeyError("mask.png")


class ShowsNothing(Good):
    def panels(self, fields, meta):
        return []


class ShowsFloats(Good):
    def panels(self, fields, meta):
        return [Panel("image", {"image": fields["image.png"] / 255})]


class ShowsOtherShapes(Good):
    def panels(self, fields, meta):
        return [Panel("image", {"image": fields["image.png"], "half": fields["image.png"][::2]})]


class NoSize(Good):
    def sample_bytes(self):
        return 1.5


class ClassesAsText(Good):
    classes: ClassVar = "ab"


def small():
    """Its arrays can be written to, as those that a source yields."""
    case = Phantom("angiogram", PhantomOptions(count=1, size=128)).read(0)
    case.image.setflags(write=True)
    return case


def test_a_good_one_passes_and_its_samples_come_back():
    a, b = check_generator(Good(NoParams()), [small()])
    assert (a.spec.target, b.spec.target) == ("a", "b")
    assert a.spec.attempt == 1


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (GlobalRng, r"^replay: .* differs in labels; draw from spec\.rng alone"),
        (PythonRng, r"^replay: .* differs in drawn; draw from spec\.rng alone"),
        (SharesBatch, r"^batch: .* differs in labels"),
        (Remembers, r"^batch: .* differs in fields\['image\.png'\]"),
        (OutOfOrder, "^order: train-0000-00000001 stands where train-0000-00000000"),
        (Edits, "^pure: the case .* was changed; copy its arrays before an edit"),
        (WrongType, r"^encode: .* field 'image\.png': float64 \(128, 128\) is no PNG"),
        (WrongName, r"^encode: .* field 'image\.tif': no encoding for \.tif"),
        (NanField, r"^encode: .* field 'image\.npy': holds NaN"),
        (NanLabel, "^encode: labels, drawn or measured of train-0000-00000000 are no JSON"),
        (ArrayLabel, "^encode: .* are no JSON: ndarray cannot stand in JSON"),
        (OtherMeasure, "^measures: train-0000-00000000 has maen, which OtherMeasure.measures lacks"),
        (TextMeasure, "^measures: .* mean is 'much', not a number"),
        (JudgesOther, r"^judge: train-0000-00000000 is judged by mean 0\.0, and measures \d+"),
        (OtherSpec, "^generate: the spec of train-0000-00000000 came back altered"),
        (TwoOfOne, "^generate: 2 samples for one spec"),
        (NeverFits, "^redraw: train-0000-00000000 was rejected 20 times, last as: too dark"),
        (CannotShow, "^panels: .* cannot be shown: KeyError: 'mask.png'"),
        (ShowsNothing, "^panels: train-0000-00000000 has none to show"),
        (ShowsFloats, "^panels: .* layer 'image' of 'image' is no uint8"),
        (ShowsOtherShapes, "^panels: .* layers of 'image' differ in shape"),
        (NoSize, "^sample_bytes: 1.5 is no size in bytes"),
        (ClassesAsText, "^ClassesAsText is no generator: its classes is 'ab', no tuple of strings"),
    ],
)
def test_each_defect_is_named(kind, said):
    with pytest.raises(AssertionError, match=said):
        check_generator(kind(NoParams()), [small()])
