"""Scans and targets: from datasets and from sources, of the classes that a domain has."""

import numpy as np
import pytest

from lesionforge.generators.lesion.classes import LABELS, LEGEND
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.segmentation.scans import matches, require_lesions, same_spacing
from lesionforge.jobs.tasks.segmentation.targets import classes_of, target
from tests.jobs.tasks.segmentation import worlds
from tests.jobs.tasks.segmentation.worlds import HERE, scans_of


def named(domain):
    """Class of each label by name."""
    values = np.arange(len(LABELS), dtype=np.uint8)
    classes = ("", *classes_of(domain))
    return {name: classes[t] for name, t in zip(LABELS, target(values, LEGEND, domain), strict=True) if t}


def test_every_label_of_the_generator_is_of_its_class_or_background():
    assert named("ccta") == {
        "calcified": "calcified",
        "non_calcified": "non_calcified",
        "low_attenuation": "non_calcified",
        "mixed": "non_calcified",
    }
    assert named("abdomen") == {
        f"{organ}_{end}": f"{organ}_tumour"
        for organ in ("liver", "kidney", "pancreas")
        for end in ("tumour", "early", "late")
    }


def test_a_set_s_own_values_count_by_their_names():
    lits = target(np.array([0, 1, 2], np.uint8), {1: "liver", 2: "liver_tumour"}, "abdomen")
    assert lits.tolist() == [0, 0, 1]


def test_a_dataset_s_splits_hold_other_subjects(balls):
    train, test = scans_of(balls["real"]), scans_of(balls["real"], "test")
    assert (len(train), len(test)) == (6, 3)
    assert not {scan.subject for scan in train} & {scan.subject for scan in test}
    assert not {scan.source_id for scan in train} & {scan.source_id for scan in test}
    for scan in (*train, *test):
        (value,) = scan.voxels
        voxels = scan.voxels[value]
        assert (scan.target[tuple(voxels.T)] == value).all()
        assert len(voxels) == (scan.target == value).sum()
        assert (scan.hu[scan.target == 1] > 150).all()
        assert (scan.hu[scan.target == 2] < -70).all()


def test_a_source_s_own_lesions_are_scans_and_its_names_stay_at_home():
    scans = scans_of(f"{HERE}.ToySource:here", options={"count": 2, "labelled": True})
    assert [scan.target.max() for scan in scans] == [1, 1]
    assert all("patient" not in scan.subject for scan in scans)
    assert len({scan.subject for scan in scans}) == 2


def test_what_cannot_be_used_is_named(balls, tmp_path):
    with pytest.raises(UsageError, match="holds no dataset with samples"):
        scans_of(str(tmp_path))
    with pytest.raises(UsageError, match=r"has no split val; it has train, test$"):
        scans_of(balls["real"], "val")
    with pytest.raises(UsageError, match="domain 'chest' is unknown; give ccta or abdomen"):
        scans_of(balls["real"], domain="chest")
    with pytest.raises(UsageError, match="is --set domain=abdomen right"):
        require_lesions(scans_of(balls["real"], domain="abdomen"), "abdomen", "--real")
    with pytest.raises(UsageError, match="labelled CT volumes"):
        scans_of("tests.jobs.tasks.detection.worlds.ToySource:here")


def test_voxels_of_one_size(balls, tmp_path):
    scans = scans_of(balls["real"])
    assert same_spacing(scans) == (1.0, 1.0, 1.0)
    thick = worlds.make_dataset(tmp_path, "thick", spacing=2.0, count=3)
    with pytest.raises(UsageError, match=r"voxels are \[1.0, 1.0, 1.0\] to \[2.0, 2.0, 2.0\] mm"):
        same_spacing([*scans, *scans_of(thick)])
    assert matches((1.1, 1, 1), (1, 1, 1))
    assert not matches((1, 1, 1.3), (1, 1, 1))
