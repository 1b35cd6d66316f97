"""Items from sources and from datasets, by one loop that loses nothing without a word."""

from dataclasses import dataclass

import pytest

from lesionforge.engine.sources.base import SourceError
from lesionforge.generators.types import BadCase
from lesionforge.jobs.errors import UsageError
from lesionforge.jobs.studies import places
from lesionforge.jobs.studies.places import DataPlace, read
from tests.jobs.studies.toy_task import Toy
from tests.jobs.tasks.detection.worlds import HERE, TRAIN, ToyOptions, ToySource

SOURCE = f"{HERE}.ToySource:here"


@dataclass(frozen=True)
class TornOptions(ToyOptions):
    torn: int = 3


class TornSource(ToySource):
    """Every so many a case that cannot be read."""

    Options = TornOptions

    def __init__(self, place, options):
        super().__init__(place, options)
        self.torn = options.torn
        self.left_over = {"label maps without an image": ["a", "b"], "images without a label": []}

    def read(self, case):
        if case % self.torn == 0:
            raise BadCase(f"truncated after {case + 100} bytes")
        return super().read(case)


LEFT = {"label maps without an image": 2}
TORN = "tests.jobs.studies.test_places.TornSource:here"


def test_what_cannot_be_read_is_counted_with_its_reasons_and_told(capsys):
    got = read(Toy(), DataPlace(TORN, options={"cases": 8}))
    assert len(got.items) == 5
    assert got.body() == {"read": 5, "unreadable": 3, "reasons": {"truncated after … bytes": 3}, "left_over": LEFT}
    assert "reading source: 8 cases" in capsys.readouterr().err  # before the first is read
    places.tell({"--real": got.body(), "--test": read(Toy(), DataPlace(SOURCE, options=TRAIN)).body()})
    said = capsys.readouterr().err
    assert "--real: 3 of 8 cases cannot be read and are left out: 3 x truncated after … bytes" in said
    assert "--real: files in no case: 2 label maps without an image" in said
    assert "--test" not in said


def test_subjects_are_hashes_and_one_person_in_two_sources_has_one(toy):
    one, two = DataPlace(SOURCE, options={"cases": 4}), DataPlace(SOURCE, options={"cases": 4, "first": 2})
    key = places.common_key([one, two, DataPlace(toy)])
    mine, other = (read(Toy(), place, key).items for place in (one, two))
    assert not any("patient" in item.subject for item in (*mine, *other))
    assert [item.subject for item in mine[2:]] == [item.subject for item in other[:2]]


def test_a_dataset_s_split_and_what_it_lacks(toy, tmp_path):
    assert len(read(Toy(), DataPlace(toy)).items) == 48
    with pytest.raises(UsageError, match=r"--test: .*toy has no split test; it has train$"):
        read(Toy(), DataPlace(toy, "test", option="--test"))
    with pytest.raises(
        UsageError, match=r"--real: .*nowhere holds no dataset with samples: correct the place, or give .*ct:FOLDER$"
    ):
        DataPlace(str(tmp_path / "nowhere"), option="--real").amount()
    with pytest.raises(SourceError, match=r"^--test \(arcade\): no such folder"):
        DataPlace(f"arcade:{tmp_path}/nowhere", option="--test").amount()
    with pytest.raises(UsageError, match="options cases are for a source"):
        read(Toy(), DataPlace(toy, options={"cases": 1}))
    with pytest.raises(UsageError, match=r"no member 'label.png'.*: made otherwise"):
        list(places.samples(toy, None, ["label.png"], (), "made otherwise"))


def test_a_place_s_content_stands_for_what_it_holds_and_names_no_path(toy):
    contents = {DataPlace(SOURCE, options={"cases": n}).content for n in (4, 5)}
    assert len(contents) == 2
    assert "toy" not in DataPlace(toy).content
    assert DataPlace(toy).content != DataPlace(toy, "test").content
