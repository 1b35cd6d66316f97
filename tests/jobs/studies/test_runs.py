"""A folder belongs to one study from its first finished run on."""

import json

import pytest

from lesionforge.jobs.studies.runs import StudyError, claim


def test_a_folder_without_a_finished_run_may_be_taken_by_another_study(tmp_path):
    claim(tmp_path, {"domain": "ccta"}, "one", "study")
    claim(tmp_path, {"domain": "abdomen"}, "two", "study")  # the first one's options were wrong, say
    assert json.loads((tmp_path / "study.json").read_text()) == {"domain": "abdomen", "identity": "two"}
    (tmp_path / "runs" / "first.json").write_text("{}")
    claim(tmp_path, {"domain": "abdomen"}, "two", "study")
    with pytest.raises(StudyError, match="holds a study with another domain"):
        claim(tmp_path, {"domain": "ccta"}, "one", "study")
    with pytest.raises(StudyError, match="holds a study with another place of frames"):
        claim(tmp_path, {"domain": "abdomen"}, "three", "place of frames")
