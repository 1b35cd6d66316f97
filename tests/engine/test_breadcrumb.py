"""The file that tells what was in hand, and the alarm, each in a process of its own that may die."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lesionforge.engine import watchdog
from lesionforge.engine.watchdog import Breadcrumb, Work
from tests.engine.conftest import ROOT


def test_it_tells_what_is_in_hand_and_at_work(tmp_path):
    crumb = Breadcrumb(tmp_path / "crumb")
    with crumb.shard():
        for name in ("a", "bb", "c"):
            crumb.enter(name)
        with crumb.work("reading", ["c"]):
            found = watchdog.read(tmp_path / "crumb")
            assert (found.in_hand, found.sole, found.late) == (["a", "bb", "c"], ("reading", "c"), False)
            with crumb.work("making", ["a", "bb"]):
                assert [work.stage for work in watchdog.read(tmp_path / "crumb").work] == ["reading", "making"]
        crumb.leave("bb")
        found = watchdog.read(tmp_path / "crumb")
        assert (found.in_hand, found.work, found.sole) == (["a", "c"], [], None)
        crumb.leave("a")
        assert watchdog.read(tmp_path / "crumb").sole == ("passing on", "c")
    assert not (tmp_path / "crumb").exists()
    assert watchdog.read(tmp_path / "crumb").in_hand == []


def test_a_batch_at_work_blames_nobody():
    assert watchdog.Found(["a", "b"], [Work("making", ["a", "b"])]).sole is None
    assert watchdog.Found(["a", "b"], [Work("making", ["a"]), Work("reading", ["b"])]).sole is None


def child(path, body, seconds):
    code = f"""
import sys, time
from pathlib import Path
from lesionforge.engine.watchdog import Breadcrumb
from tests import faulty
crumb = Breadcrumb(Path(sys.argv[1]), {seconds})
with crumb.shard():
    crumb.enter("a")
{body}
    print("survived")
"""
    return subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=100,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize("hang", ["time.sleep(9999)", "faulty.hold_the_interpreter()"])
def test_the_alarm_ends_what_is_late_even_in_native_code(tmp_path, hang):
    done = child(tmp_path / "crumb", f"    with crumb.work('making', ['a']): {hang}", 0.5)
    assert done.returncode == -signal.SIGALRM, done.stderr
    found = watchdog.read(tmp_path / "crumb")
    assert (found.late, found.sole) == (True, ("making", "a"))


def test_other_deaths_are_not_late(tmp_path):
    done = child(tmp_path / "crumb", "    with crumb.work('reading', ['a']): faulty.crash()", 60)
    assert done.returncode == -signal.SIGSEGV
    found = watchdog.read(tmp_path / "crumb")
    assert (found.late, found.sole) == (False, ("reading", "a"))


def test_the_alarm_is_each_piece_of_work_s_own_and_a_batch_has_more_time(tmp_path):
    body = """
    for _ in range(5):
        with crumb.work('making', ['a']): time.sleep(0.5)
    with crumb.work('making', ['a', 'b', 'c']): time.sleep(2.5)
    time.sleep(2.5)"""
    done = child(tmp_path / "crumb", body, 2.0)
    assert (done.returncode, done.stdout) == (0, "survived\n"), done.stderr


def test_old_files_of_dead_processes_are_swept_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog.tempfile, "gettempdir", lambda: str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = {"old": f"lesionforge-{gone.pid}-a.crumb", "fresh": f"lesionforge-{gone.pid}-b.crumb"}
    names |= {"mine": f"lesionforge-{os.getpid()}-c.crumb", "odd": "lesionforge-x-d.crumb"}
    for kind, name in names.items():
        (tmp_path / name).touch()
        if kind != "fresh":
            os.utime(tmp_path / name, (time.time() - 9999,) * 2)
    watchdog.new_path()
    assert {p.name for p in tmp_path.iterdir()} == {names["fresh"], names["mine"], names["odd"]}
