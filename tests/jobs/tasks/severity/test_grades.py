"""Classes of %DS, and what is known of lesions whose class alone somebody gave."""

import pytest

from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.tasks.severity.grades import UNKNOWN, cuts, grade, names, worst


def test_cuts_are_half_open():
    two, three, clinical = cuts("25"), cuts("25/100"), cuts("50/70")
    assert [grade(p, two) for p in (0, 24.999, 25, 100)] == [0, 0, 1, 1]
    assert [grade(p, three) for p in (24.999, 25, 99.99, 100)] == [0, 1, 1, 2]
    assert [grade(p, clinical) for p in (49.999, 50, 69.999, 70)] == [0, 1, 1, 2]
    assert grade(69.9999999999, clinical) == 2  # as every CPU rounds it
    assert names(three) == ["<25", "25-99", "100"]
    assert cuts(25) == two


@pytest.mark.parametrize("text", ["", "a", "70/50", "50/50", "0/50", "50/101", None, True])
def test_other_cuts_are_refused(text):
    with pytest.raises(UsageError, match="cut is"):
        cuts(text)


@pytest.mark.parametrize(
    ("classes", "cut", "expected"),
    [
        ([], "25", 0),
        (["moderate"], "25", 1),
        (["moderate"], "50/70", 1),
        (["severe", "moderate"], "50/70", 2),
        (["mild"], "50/70", 0),
        (["mild"], "25", UNKNOWN),
        (["severe"], "25/100", UNKNOWN),  # an occlusion, or not
        (["mild", "moderate"], "25", 1),
        ([None], "70", UNKNOWN),
        ([None, "severe"], "70", 1),
    ],
)
def test_a_lesion_of_a_class_alone_has_a_grade_where_no_cut_is_inside(classes, cut, expected):
    assert worst([{"severity_class": one, "percent_ds": None} for one in classes], cuts(cut)) == expected


def test_a_percentage_goes_before_its_class():
    assert worst([{"percent_ds": 10.0, "severity_class": "mild"}], cuts("25")) == 0
    assert worst([{"percent_ds": 40.0}, {"percent_ds": 10.0}], cuts("25")) == 1
