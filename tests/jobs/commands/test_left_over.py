"""Files that no case reads are counted wherever a person looks, and named on a terminal alone."""

import io
import json

import pytest
from rich.console import Console

from lesionforge.jobs.commands import doctor
from lesionforge.jobs.commands.generate import generate
from lesionforge.jobs.commands.plan import plan
from lesionforge.sinks import layout
from tests import faulty
from tests.engine.conftest import toy

NOTE = "test_left_over.Partial): 3 files are in no case: 2 images without a label map, 1 label maps without an image"


class Partial(faulty.Toy):
    """An incomplete download."""

    left_over = {  # noqa: RUF012
        "images without a label map": [f"/data/DOE^JANE/volume-{n}.nii" for n in (1, 2)],
        "label maps without an image": ["/data/DOE^JANE/segmentation-7.nii"],
        "files of which there are none": [],
    }


@pytest.fixture
def recipe():
    return toy(sources__0__uri=f"{__name__}.Partial:here")


def shown(result, terminal=False):
    to = Console(file=io.StringIO(), width=400, force_terminal=terminal, color_system=None)
    result.show(to)
    return to.file.getvalue()


def test_plan_counts_them_and_names_them_on_a_terminal(recipe):
    found = plan(recipe)
    assert NOTE in shown(found)
    assert "DOE" not in shown(found) + json.dumps(found.body())
    assert "/data/DOE^JANE/segmentation-7.nii" in shown(found, terminal=True)
    assert found.body()["sources"][0]["left_over"] == {
        "images without a label map": 2,
        "label maps without an image": 1,
    }


def test_doctor_counts_them(recipe, tmp_path):
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe.model_dump(mode="json")))
    findings = doctor.examine(str(tmp_path / "recipe.yaml"), None)["findings"]
    (line,) = [f for f in findings if f["name"] == "sources"]
    assert line["state"] == "warn"
    assert NOTE in line["text"]


def test_the_end_and_the_card_count_them(recipe, tmp_path):
    done = generate(recipe, tmp_path / "out", in_process=True)
    assert NOTE in shown(done)
    assert done.body()["left_over"][0]["label maps without an image"] == 1
    assert "2 images without a label map, 1 label maps without an image" in (tmp_path / "out" / layout.CARD).read_text()
    everything = b"".join(f.read_bytes() for f in (tmp_path / "out").rglob("*") if f.is_file())
    assert b"DOE" not in everything
    assert "DOE" not in shown(done, terminal=True)
