"""Who a case is of stays with the source."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from lesionforge.engine.pipeline import Pipeline
from lesionforge.engine.privacy import subject_hash, subject_key, unnamed
from lesionforge.engine.sample import Maker
from lesionforge.engine.sources import dicom
from lesionforge.engine.sources.pictures.picture import decode, flags, letters
from lesionforge.engine.sources.xa.pixels import XaRun
from lesionforge.generators.types import Angiogram, CoronaryTree, Volume
from tests.engine.conftest import toy


class Kept:
    """A source whose files an outsider does not have."""

    def __init__(self, files: bytes):
        self._files = files

    def secret(self) -> bytes:
        return self._files


def test_a_subject_s_hash_needs_the_seed_and_the_files():
    keys = [
        subject_key(seed, sources) for seed in (1, 2) for sources in ([], [Kept(bytes(32))], [Kept(b"a")], [Kept(b"b")])
    ]
    assert len({subject_hash(key, "Jane Doe") for key in keys}) == 8
    assert subject_key(1, [Kept(b"a")]) == subject_key(1, [Kept(b"a")])
    assert len(subject_hash(keys[0], "Jane Doe")) == 16


def test_the_trees_of_a_volume_are_of_the_same_hashed_subject():
    tree = CoronaryTree("Jane", "a", "CC0-1.0", "left", np.zeros((1, 3), np.float32), (1.0, 1.0, 1.0))
    volume = Volume(
        "Jane", "b", "CC0-1.0", np.zeros((2, 2, 2), np.int16), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), trees=(tree,)
    )
    hidden = unnamed(volume, b"key")
    assert hidden.subject == hidden.trees[0].subject == subject_hash(b"key", "Jane")
    assert hidden.hu is volume.hu


def test_a_generator_never_sees_a_subject_s_name():
    job = Pipeline(toy())
    case = Maker(job).read(job.plan[0])
    assert case.subject == subject_hash(job.subject_key, f"subject{job.plan[0].case}")


def frame(edge=512, text="", size=14, level=255, at=(30, 60)):
    """A soft chest-like background with a dark vessel, and writing on it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:edge, :edge] / edge
    image = 120 + 60 * np.sin(3 * x) * np.cos(2 * y) + rng.normal(0, 6, (edge, edge))
    image[:, edge // 2 : edge // 2 + 12] -= 50
    picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    ImageDraw.Draw(picture).text(at, text, fill=level, font=ImageFont.load_default(size))
    return np.asarray(picture)


@pytest.mark.parametrize("size", [12, 18, 28])
@pytest.mark.parametrize("edge", [512, 1024])
def test_writing_is_seen(size, edge):
    assert letters(frame(edge)) == 0
    assert letters(frame(edge, "DOE^JANE 1960-01-01", size * edge // 512)) >= 4


def test_what_is_not_seen_is_known():
    """The heuristic's limits, as its module states them."""
    assert letters(frame(text="DOE^JANE", level=170)) == 0  # grey letters
    assert letters(frame(text="L", size=40)) == 0  # a side marker


def test_real_frames_raise_no_false_alarm(data_dir):
    names = ("arcade/images/*.png", "vessel_masks_300/*[0-9].png", "danilov/*.bmp", "clinical_biplane/**/*.jp*g")
    files = sorted(path for name in names for path in data_dir.glob(name))
    assert len(files) >= 220
    assert [path.name for path in files if letters(decode(path.read_bytes()))] == []
    for path in sorted(data_dir.glob("xa_dicom/*.dcm")):
        run = XaRun(dicom.read(path.read_bytes(), dicom.XA_RUN))
        assert [n for n in range(1, run.frames + 1, 20) if letters(run.grey(n)[0])] == []


def test_a_declaration_is_a_flag_too():
    plain = Angiogram("s", "i", "none", frame())
    assert flags(plain) == {"burned_in_text": 0.0}
    declared = Angiogram("s", "i", "none", frame(), notes={"burned_in_annotation": True})
    assert flags(declared) == {"burned_in_text": 1.0}
    assert flags(Angiogram("s", "i", "none", frame(text="DOE^JANE")))["burned_in_text"] >= 4
