"""One rate and the time left by it, whatever starting up took and whatever was there before."""

import io

import pytest
from rich.console import Console

from lesionforge.jobs import console, progress


class Clock:
    """Time that passes when told."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_the_log_s_rate_and_time_left_are_one_and_count_no_start_up(clock, monkeypatch):
    page = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=page, width=200))
    pace = progress.Pace()
    with progress.samples(100, 20, pace) as advance:
        clock.now += 60  # workers start, and then make the first shard
        advance(9, 1, 20.0)
        clock.now += 20
        advance(10, 0, 20.0)
    assert [line.rstrip() for line in page.getvalue().splitlines()] == [
        "samples 30/100  0.5 samples/s  1 quarantined  about 2 min 20 s left",
        "samples 40/100  0.5 samples/s  1 quarantined  about 2 min 00 s left",
    ]
    assert pace.rate == pytest.approx(0.5)


def test_what_reports_no_seconds_is_counted_from_its_first_step(clock, monkeypatch):
    page = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=page, width=200))
    with progress.steps("training") as advance:
        clock.now += 30  # a model is loaded
        advance(400, 1000, "loss 2")
        clock.now += 20
        advance(500, 1000, "loss 1")
        clock.now += 100
        advance(1000, 1000, "loss 0")
    assert [line.rstrip() for line in page.getvalue().splitlines()] == [
        "training 400/1000  loss 2",
        "training 500/1000  loss 1  about 1 min 40 s left",
        "training 1000/1000  loss 0",
    ]


def test_a_run_shorter_than_its_workers_took_begins_no_earlier_than_it_did(clock):
    pace = progress.Pace()
    with progress.samples(10, 0, pace) as advance:
        clock.now += 5
        advance(10, 0, 50.0)
    assert pace.rate == pytest.approx(2)
