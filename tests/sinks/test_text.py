"""A stranger's texts stay texts: on a terminal, in Markdown, in a page, on a sheet."""

import io
import json
import re

import numpy as np
import pytest

from lesionforge.generators.types import Panel
from lesionforge.jobs.console import Terminal, table
from lesionforge.sinks import text
from lesionforge.sinks.card import card
from lesionforge.sinks.pictures.gallery import gallery
from lesionforge.sinks.pictures.names import caption
from lesionforge.sinks.pictures.sheet import Shown, contact_sheet
from lesionforge.sinks.quarantine import Reasons
from tests.sinks.test_card import DOCUMENT

CONTROLS = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\x00\x08\r\u202egnp\u2066\u200b\ufeff\x7f"
MARKUP = "[red]x[/red] [/] :smile: [link=http://a]b[/link]"
EVIL = f"{CONTROLS}{MARKUP}\nsecond line"
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


@pytest.fixture
def page():
    return Terminal(file=io.StringIO(), width=400, force_terminal=True, color_system="truecolor", no_color=True)


def test_a_terminal_obeys_nothing_that_a_text_says(page):
    page.print(EVIL)
    page.print(f"problem: {EVIL}", markup=False)
    table(EVIL, [EVIL, "n"], [[EVIL, 3]], page)
    said = re.sub(r"\x1b\[[\d;]*m", "", page.file.getvalue())  # rich's own styles of the table
    assert not UNSEEN.search(said)
    assert r"\x1b]52;c;ZXZpbA==" in said  # of the bell and the backspace rich leaves nothing
    assert said.count(MARKUP) >= 2
    assert r"\u202egnp" in said


def test_what_is_plain_is_left_alone():
    plain = "Stenose ≥ 70 %, ×4, größer\u202f1 mm, 狭窄, 🫀"
    assert text.terminal(plain) == text.one_line(plain) == plain


def test_what_is_not_seen_is_told():
    for sign in "\x00\t\r\x1b\x7f\x9b\xad\u061c\u180e\u200b\u202e\u2066\ufeff\ufff9\ud800\U000e0041":
        assert text.terminal(f"a{sign}b") == f"a{ascii(sign)[1:-1]}b"


def test_reasons_are_one_line_each():
    reasons = Reasons()
    reasons.add(EVIL)
    ((told, count),) = reasons
    assert (count, "\n" in told, bool(UNSEEN.search(told))) == (1, False, False)


def test_a_card_takes_no_text_for_markdown():
    markdown_it = pytest.importorskip("markdown_it")
    words = "**b** `c` www.evil.org a@b.org &lt; _d_ [e]: http://f"
    evil = f"![x](http://evil/a.png) <script>alert(1)</script> | {words}\n# g"
    classes = {evil: 1, "mild_x": 2}
    split = {"shards": 1, "samples": 1, "bytes": 1, "urls": "shards/train-000000.tar", "classes": classes}
    told = {"name": "made", "identity": "a" * 64, "planned": {"samples": 1}, "samples": 1, "bytes": 1, "shards": 1}
    told |= {"burned_in_text": 0, "splits": {"train": split}, "reasons": {evil: 2}}
    source = {"scheme": "ct", "subjects": 1, "licence": evil, "left_over": {evil: 1}}
    recipe = {**DOCUMENT["recipe"], "generator": {"name": "a`<i>.B"}}
    said = card(told, {**DOCUMENT, "recipe": recipe, "sources": [source]}, ["a`|b.png"], [evil]).decode()
    html = markdown_it.MarkdownIt("commonmark").enable("table").render(said.split("---\n", 2)[2])
    assert not re.search("<script|<img|<a |<strong>|<em>", html)
    assert html.count(words.replace("&", "&amp;") + "\\n# g") == 5
    assert r"www\.evil.org a\@b.org" in said  # of which GitHub makes links
    assert r"http\://f" in said
    assert "mild_x: 2" in html
    assert "<code>a'/b.png</code>" in html
    assert "<code>a'&lt;i&gt;.B</code>" in html


def test_a_page_holds_texts_as_lines():
    page = gallery({"name": EVIL, "samples": [{"labels": {EVIL: [EVIL]}, "text": "</script>"}]}).decode()
    data = re.search(r'id="data">(.*?)</script>', page)[1]
    assert "<" not in data
    (sample,) = json.loads(data)["samples"]
    assert sample["labels"] == {text.one_line(EVIL): [text.one_line(EVIL)]}


def test_a_sheet_is_drawn_whatever_a_class_is_called():
    panel = Panel(EVIL, {EVIL: np.zeros((8, 8), np.uint8), f"b{EVIL}": np.ones((8, 8), np.uint8)})
    assert contact_sheet("title", [Shown(EVIL, caption(EVIL, {EVIL: 1.0}), [panel])]).startswith(b"\x89PNG")
    drawn = {contact_sheet("title", [Shown(name, "", [panel])]) for name in ("a\x1b[2J", "a\\x1b[2J")}
    assert len(drawn) == 1
