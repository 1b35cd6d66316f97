"""The short form of `python -m tests.chaos.weather`: one run in a folder, and a judge that sees what is wrong."""

import pytest

from tests.chaos.cluster import Ours
from tests.chaos.weather_bench import Where
from tests.chaos.weather_run import Run
from tests.weather import Weather


@pytest.mark.timeout(300)
def test_bad_weather_ends_complete_and_right_or_is_said(tmp_path):
    ours = Ours()
    try:
        run = Run("short", 5, tmp_path, Where(ours, Weather(tmp_path / "orders")), cases=8, most=5)
        outcome = run.play()
        assert (outcome.wrong, outcome.end) == ([], "complete")
        assert outcome.faults.total() == 5
        shard = next((tmp_path / "out/shards").iterdir())
        whole = shard.read_bytes()
        shard.write_bytes(whole[:600] + bytes([whole[600] ^ 1]) + whole[601:])
        run.judge()
        assert [line for line in outcome.wrong if "COMPLETE AND WRONG" in line]
    finally:
        assert ours.end() == []
