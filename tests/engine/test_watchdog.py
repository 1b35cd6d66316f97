"""The file that tells what was in hand, and the alarm, each in a process of its own that may die."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lesionforge.engine import watchdog
from lesionforge.engine.messages import InHand, Work
from lesionforge.engine.watchdog import Watchdog
from tests.engine.conftest import ROOT


def test_it_tells_what_is_in_hand_and_at_work(tmp_path):
    dog = Watchdog(tmp_path / "hand")
    with dog.shard():
        for name in ("a", "bb", "c"):
            dog.enter(name)
        with dog.work("reading", ["c"]):
            in_hand = watchdog.read(tmp_path / "hand")
            assert (in_hand.samples, in_hand.sole, in_hand.late) == (["a", "bb", "c"], ("reading", "c"), False)
            with dog.work("making", ["a", "bb"]):
                assert [work.stage for work in watchdog.read(tmp_path / "hand").work] == ["reading", "making"]
        dog.leave("bb", well=True)
        in_hand = watchdog.read(tmp_path / "hand")
        assert in_hand.done == 1
        assert (in_hand.samples, in_hand.work, in_hand.sole) == (["a", "c"], [], None)
        dog.leave("a", well=False)
        assert watchdog.read(tmp_path / "hand").sole == ("passing on", "c")
    assert not (tmp_path / "hand").exists()
    assert watchdog.read(tmp_path / "hand").samples == []


def test_a_batch_at_work_blames_nobody():
    assert InHand(["a", "b"], [Work("making", ["a", "b"])]).sole is None
    assert InHand(["a", "b"], [Work("making", ["a"]), Work("reading", ["b"])]).sole is None


def start(path, body, seconds, **popen):
    code = f"""
import sys, time
from pathlib import Path
from lesionforge.engine.watchdog import Watchdog
from tests import faulty
dog = Watchdog(Path(sys.argv[1]), {seconds})
with dog.shard():
    dog.enter("a")
{body}
    print("survived")
"""
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, **popen,
    )  # fmt: skip


def child(path, body, seconds):
    process = start(path, body, seconds, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=100)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.parametrize("hang", ["time.sleep(9999)", "faulty.hold_the_interpreter()"])
def test_the_alarm_ends_what_is_late_even_in_native_code(tmp_path, hang):
    done = child(tmp_path / "hand", f"    with dog.work('making', ['a']): {hang}", 0.5)
    assert done.returncode == -signal.SIGALRM, done.stderr
    in_hand = watchdog.read(tmp_path / "hand")
    assert (in_hand.late, in_hand.sole) == (True, ("making", "a"))


def test_other_deaths_are_not_late(tmp_path):
    done = child(tmp_path / "hand", "    with dog.work('reading', ['a']): faulty.crash()", 60)
    assert done.returncode == -signal.SIGSEGV
    in_hand = watchdog.read(tmp_path / "hand")
    assert (in_hand.late, in_hand.sole) == (False, ("reading", "a"))


def test_the_alarm_is_each_piece_of_work_s_own_and_a_batch_has_more_time(tmp_path):
    body = """
    for _ in range(5):
        with dog.work('making', ['a']): time.sleep(0.5)
    with dog.work('making', ['a', 'b', 'c']): time.sleep(2.5)
    time.sleep(2.5)"""
    done = child(tmp_path / "hand", body, 2.0)
    assert (done.returncode, done.stdout) == (0, "survived\n"), done.stderr


def test_old_files_of_dead_processes_are_swept_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog.tempfile, "gettempdir", lambda: str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = {"old": f"lesionforge-{gone.pid}-a.worker", "fresh": f"lesionforge-{gone.pid}-b.worker"}
    names |= {"mine": f"lesionforge-{os.getpid()}-c.worker", "odd": "lesionforge-x-d.worker"}
    for kind, name in names.items():
        (tmp_path / name).touch()
        if kind != "fresh":
            os.utime(tmp_path / name, (time.time() - 9999,) * 2)
    watchdog.new_path()
    assert {p.name for p in tmp_path.iterdir()} == {names["fresh"], names["mine"], names["odd"]}


def test_a_process_that_was_stopped_when_its_time_ran_out_is_told_from_one_that_was_late(tmp_path):
    body = """
    with dog.work('making', ['a']):
        print('begun', flush=True)
        time.sleep(9999)"""
    for stop in (True, False):
        process = start(tmp_path / "hand", body, 1.0, stdout=subprocess.PIPE)
        process.stdout.readline()
        if stop:
            process.send_signal(signal.SIGSTOP)
            time.sleep(2.5)
            process.send_signal(signal.SIGCONT)
        process.communicate()
        assert process.returncode == -signal.SIGALRM
        in_hand = watchdog.read(tmp_path / "hand")
        assert (in_hand.late, in_hand.paused, in_hand.sole) == (True, stop, ("making", "a"))
