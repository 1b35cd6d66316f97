"""A reason and its text are each other's inverse, and reasons that differ in numbers only are one group."""

import pytest

from lesionforge.sinks.quarantine import KINDS, Quarantined, Reasons


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("source: case 4 is unreadable", "source"),
        ("error: ValueError: a: b (x.py:3)", "error"),
        ("output: labels.value is nan", "output"),
        ("encode: ", "encode"),
        ("quality: value is 3, above 2 (drawn 4 times)", "quality"),
        ("memory: none left", "memory"),
        ("killed its worker (3 times)", "killed"),
        ("time: making took longer than 2 s", "time"),
        ("unknown: the index was rebuilt from the tar", "other"),
        ("killed: by whom", "other"),
        ("a patient's name", "other"),
        ("", "other"),
    ],
)
def test_a_reason_is_read_back_from_its_text(text, kind):
    reason = Quarantined.read(text)
    assert (reason.kind, str(reason)) == (kind, text)
    assert kind in KINDS


def test_reasons_that_differ_in_numbers_are_one_group():
    texts = [f"quality: ds is {n}.5, above 2 (drawn 6 times)" for n in range(9)]
    assert len({Quarantined.read(text).group for text in texts}) == 1
    assert Quarantined.read("quality: mld is 1.5, above 2").group != Quarantined.read(texts[0]).group
    reasons = Reasons()
    for text in [*texts, "source: unreadable"]:
        reasons.add(text)
    assert list(reasons) == [("quality: ds is …, above 2 (drawn 6 times)", 9), ("source: unreadable", 1)]
