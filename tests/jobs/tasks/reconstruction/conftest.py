from hashlib import sha256

import pytest

from lesionforge.generators.biplane.generator import Biplane
from lesionforge.generators.biplane.params import BiplaneParams
from lesionforge.generators.phantom.tree.coronary import phantom_tree
from lesionforge.generators.types import SampleSpec
from lesionforge.jobs.tasks.reconstruction.pairs import pair_of_sample
from tests.jobs.tasks.reconstruction import worlds

SIZE = 32
PARAMS = {"grid": 64, "resample": SIZE, "detector": 128, "spacing_mm": (1.6, 2.2)}


def pairs_of(subjects, rule="half", **params):
    """Both trees of phantom subjects as pairs on a coarse grid."""
    made = []
    for subject in subjects:
        for side in ("left", "right"):
            key = sha256(f"{subject}".encode()).digest()
            tree = phantom_tree(key, side, f"{subject}", voxel_mm=0.8)
            spec = SampleSpec("train-0000-00000000", "train", 0, 0, 0, None, sha256(key + side.encode()).digest())
            (sample,) = Biplane(BiplaneParams(**PARAMS | params)).generate([tree], [spec])
            named = {"subject": tree.subject, "source_id": tree.source_id, "sample_id": f"{subject}/{side}"}
            made.append(pair_of_sample({**sample.fields, "json": sample.labels | named}, SIZE, rule))
    return made


@pytest.fixture(scope="session")
def pairs():
    """Of four subjects, left and right in turns."""
    return pairs_of(range(4))


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    """A dataset's place: both trees of six subjects, in three splits."""
    return worlds.make_dataset(tmp_path_factory.mktemp("trees"))


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Of the bootstrap: what it is of is tested elsewhere."""
    monkeypatch.setattr("lesionforge.jobs.studies.summary.DRAWS", 40)
