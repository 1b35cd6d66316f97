"""``check_source`` over every source of ours, and toys that it must refuse."""

import itertools
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from lesionforge.engine import plugins
from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.recipe import SourceRecipe
from lesionforge.engine.recipe_yaml import parse
from lesionforge.engine.sources.base import Source, SourceError, open_source, read_all
from lesionforge.engine.sources.testing import NonConforming, check_source
from lesionforge.generators.types import Angiogram, BadCase
from tests.engine.sources import makers

OURS = {
    "arcade": (makers.arcade, "", {}),
    "ct": (makers.ct, "", {"region": ["liver"]}),
    "ctdicom": (makers.ctdicom, "", {}),
    "dicom": (makers.dicom, "", {"masks": "masks"}),
    "imagecas": (makers.imagecas, "", {}),
    "imagecasx": (makers.imagecasx, "", {}),
    "masks": (makers.masks, "", {}),
    "nifti": (makers.nifti, "", {}),
    "phantom": (None, "coronary", {"count": 2, "voxel_mm": 0.6}),
    "phantom angiogram": (None, "angiogram", {"count": 2, "size": 256}),
    "phantom ccta": (None, "ccta", {"count": 1, "shape": [48, 48, 48]}),
    "phantom abdomen": (None, "abdomen", {"count": 1, "shape": [48, 40, 32], "spacing_mm": [7, 7, 7]}),
    "voc": (makers.voc, "", {"subject": "^[^_]+", "masks": "masks"}),
    "yolo": (makers.yolo, "", {"masks": "masks"}),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LESIONFORGE_CACHE", str(tmp_path / "cache"))


def test_every_source_is_tried():
    assert {name.split()[0] for name in OURS} == set(plugins.names("sources"))


@pytest.mark.parametrize("name", OURS)
def test_ours_conform(name, tmp_path):
    make, place, options = OURS[name]
    if make:
        make(tmp_path / "data")
        place = str(tmp_path / "data")
    recipe = SourceRecipe(uri=f"{name.split()[0]}:{place}", options=options)
    check_source(lambda: open_source(recipe), cases=2, words=(str(tmp_path), "DOE^JANE", *makers_words(name)))
    if make:
        with pytest.raises(SourceError, match="option subject: 'nobody' matches none"):
            open_source(recipe.model_copy(update={"options": {**options, "subject": "nobody"}}))


def makers_words(name):
    """Names of files, where they could be a patient's."""
    return () if name.startswith(("phantom", "arcade")) else ("11_1", "12_1", ".nii", ".dcm", ".nrrd")


class Toy(Source):
    """Two subjects of two frames; a subclass breaks one thing."""

    def __init__(self, place="", options=None):
        super().__init__(place, options or self.Options())
        self.subjects, self.cases_per_subject = 2, 2

    def fingerprint(self):
        return "toy"

    def read(self, case):
        image = np.full((40, 40), case, np.uint8)
        return Angiogram(f"subject {case // 2}", f"id{case}", "none", image)


def broken(**members):
    return type("Broken", (Toy,), members)


def reading(change):
    """A toy whose cases are changed, or are refused where ``change`` gives a reason."""

    def read(self, case):
        changed = change(Toy.read(self, case))
        if isinstance(changed, str):
            raise BadCase(changed)
        return changed

    return broken(read=read)


def opening(change):
    def __init__(self):
        Toy.__init__(self)
        change(self)

    return broken(__init__=__init__)


count = itertools.count()
DEFECTS = [
    ("no subclass", type("Duck", (), {"read": Toy.read, "fingerprint": Toy.fingerprint})),
    ("subjects is 0", opening(lambda self: setattr(self, "subjects", 0))),
    ("count other subjects", opening(lambda self: setattr(self, "subjects", 2 + next(count)))),
    ("sizes does not say", opening(lambda self: setattr(self, "sizes", [3]))),
    ("sizes does not say", opening(lambda self: setattr(self, "sizes", [4, 0]))),
    ("is of a subject that another", opening(lambda self: setattr(self, "sizes", [1, 3]))),
    ("left_over is no mapping", broken(left_over={"files": "a path"})),
    ("a note, or a reason", broken(left_over={"files of Doe, Jane": ["x"]})),
    ("a note, or a reason", broken(notes=["Doe, Jane"])),
    ("licence is empty", broken(licence="")),
    ("not its Options", opening(lambda self: setattr(self, "options", lambda: None))),
    ("fingerprint.. is empty or changes", broken(fingerprint=lambda self: str(next(count)))),
    ("secret.. is empty or changes", broken(secret=lambda self: str(next(count)).encode())),
    ("no str, or secret", broken(fingerprint=lambda self: b"toy")),
    ("locate.. is no str", broken(locate=lambda self, case: None)),
    ("fingerprint.. says what", broken(fingerprint=lambda self: "Doe, Jane")),
    ("raises KeyError: raise BadCase", reading(lambda case: {}[case.subject])),
    ("none of 4 cases can be read: torn", reading(lambda case: "torn")),
    ("refused without a reason", reading(lambda case: "")),
    ("is a NoneType, none of", reading(lambda case: None)),
    ("has no source_id", reading(lambda case: replace(case, source_id=""))),
    ("image of case 0 is no array", reading(lambda case: replace(case, image=[[1]]))),
    ("mask of case 0 is no array", reading(lambda case: replace(case, mask=np.ones((40, 40))))),
    ("notes of case 0 says what", reading(lambda case: replace(case, notes={"of": "Doe, Jane"}))),
    ("the reason of case 0 says", reading(lambda case: "Doe, Jane's")),
    ("read again .image", reading(lambda case: replace(case, image=case.image + np.uint8(next(count) % 200)))),
    ("read again .notes", reading(lambda case: replace(case, notes={"n": next(count)}))),
    ("global random", reading(lambda case: case if np.random.random() < 2 else "never")),  # noqa: NPY002
    ("is of a subject that another", reading(lambda case: replace(case, subject="all one"))),
]


def test_a_sound_toy_conforms():
    check_source(Toy, words=("Doe, Jane",))
    check_source(opening(lambda self: setattr(self, "sizes", [2, 2])))


@pytest.mark.parametrize(("words", "kind"), DEFECTS, ids=[f"{n} {words}" for n, (words, _) in enumerate(DEFECTS)])
def test_defects_are_found(words, kind):
    with pytest.raises(NonConforming, match=words):
        check_source(kind, words=("Doe, Jane",))


@dataclass
class Loose:
    low: int = 0


class Unfinished(Source):
    Options = Loose

    def read(self, case):
        raise NotImplementedError


class Sized(Unfinished):
    subjects = 1

    def fingerprint(self):
        return "sized"


def recipe(uri, **options):
    source = {"uri": f"{__name__}.{uri}", "options": options}
    return parse(json.dumps({"name": "a", "seed": 1, "sources": [source], "generator": {"name": "biplane"}}))


def test_what_a_source_lacks_and_unknown_options_are_told_when_the_recipe_is_opened():
    with pytest.raises(plugins.PluginError, match="is no source: it has no fingerprint"):
        Pipeline(recipe("Unfinished:here"))
    with pytest.raises(Exception, match=r"sources\.0\.options\.lo: unknown key"):  # of a plain dataclass, too
        Pipeline(recipe("Sized:here", lo=3))


def test_reading_all_counts_what_cannot_be_read():
    class Half(Toy):
        def read(self, case):
            if case % 2:
                raise BadCase(f"case {case} is broken")
            return super().read(case)

    refused = []
    assert [case.source_id for case in read_all(Half(), refused.append)] == ["id0", "id2"]
    assert refused == ["case 1 is broken", "case 3 is broken"]


@pytest.mark.parametrize("scheme", ["masks", "dicom", "ct", "imagecas"])
def test_a_wrong_path_says_what_it_starts_from_and_is_shown_to_a_terminal_alone(scheme, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=r"no such .*folder; the path is relative, so it starts from") as error:
        open_source(SourceRecipe(uri=f"{scheme}:jane/doe"))
    assert "doe" not in str(error.value)
    assert error.value.place == str(tmp_path / "jane" / "doe")
