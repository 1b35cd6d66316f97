"""The short form of `python -m tests.chaos.storage`: the same code, fewer runs, hurried pauses."""

import pytest

from lesionforge.infra.ceph import CephMissing
from tests.chaos.storage import everything, table


@pytest.fixture(scope="module")
def rows():
    try:
        return everything(seed=1, small=True)
    except CephMissing as error:
        pytest.skip(str(error))


def test_nothing_is_lost_doubled_halved_or_left(rows):
    assert [(row.name, row.wrong) for row in rows if not row.good] == []
    assert table(rows).row_count == len(rows) + 1


def test_the_faults_were_there_and_the_reader_looked(rows):
    tried = [row for row in rows if not row.skipped]
    assert {row.name for row in tried if not row.looks} == set()
    spoilt = {
        row.name: row.injected for row in tried if "condition refused" not in row.name and "no s3" not in row.name
    }
    assert {name for name, count in spoilt.items() if not count} <= {"two drivers, one wakes up late"}


def test_what_cannot_be_got_through_is_said_in_one_line(rows):
    said = {row.name: row.said for row in rows if row.said}
    assert "the credentials are out of date" in said["keys expire"]
    assert "AccessDenied" in said["no s3:PutObject"]
    assert "a run is at work" in said["two drivers, one wakes up late"]
    local = {row.name for row in rows if row.skipped or "[Errno " in row.said}
    assert {"disk full", "disk becomes read-only", "folder may not be written"} <= local
