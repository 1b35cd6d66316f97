"""What the room itself says: its names, loaded when first used, and what its generators share."""

import subprocess
import sys

import lesionforge.generators as room
from lesionforge.generators.base import Memory, close_loop


def test_every_name_of_the_room_is_there():
    for name in room.__all__:
        assert getattr(room, name) is not None, name
        assert name in dir(room)


def test_the_room_loads_nothing_before_use():
    script = (
        "import sys, lesionforge.generators as room\n"
        "assert 'numpy' not in sys.modules\n"
        "[getattr(room, name) for name in room.__all__]\n"
        "print([m for m in ('torch', 'ray', 'pydantic', 'fsspec', 'pyarrow', 'scipy', 'numba') if m in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_memory_keeps_what_was_used_last():
    calls = []
    memory = Memory[str](2)

    def get(key):
        return memory.get(key, lambda: calls.append(key) or key.upper())

    assert [get(key) for key in "ababca"] == list("ABABCA")
    assert calls == ["a", "b", "c", "a"]  # c sent a away, which was used longest ago


def test_a_closed_loop_draws_again_what_is_off_and_nothing_else():
    rounds = []
    close_loop([1, 2, 3], lambda left, turn: rounds.append((turn, list(left))), lambda n: n > len(rounds), 5)
    assert rounds == [(0, [1, 2, 3]), (1, [2, 3]), (2, [3])]
    rounds.clear()
    close_loop([1], lambda left, turn: rounds.append(turn), lambda n: True, 2)
    assert rounds == [0, 1]
