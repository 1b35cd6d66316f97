"""A stranger's texts where people read them: one function a medium, so that no text does more than stand there.

Class names, reasons, terms and ids come from plug-ins, files and other people's datasets. A control character moves a
terminal's cursor or fills its clipboard, a bidirectional override turns a line round, Markdown has links and HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# What GitHub's Markdown reads as more than text anywhere in a line. An underscore inside of a word is none of it.
_MARKDOWN = re.compile(r"([\\`*\[\]<>|~&$#@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.)", re.IGNORECASE)


# C0 and C1 but the line break, marks that are not seen or turn a line round, halves of characters.
_UNSEEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def terminal(text: str) -> str:
    r"""For a terminal or a log: what cannot be seen is told, as ``\x1b`` or ``\u202e``; lines stay apart."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    """For one line of any medium: as ``terminal``, line breaks as well."""
    return terminal(text).replace("\n", "\\n")


def markdown(text: object) -> str:
    """For a line or a table's cell of Markdown: the text itself, no markup, no HTML, no link."""
    return _MARKDOWN.sub(r"\\\1", one_line(str(text)))


def code(text: str) -> str:
    """As a name in Markdown, also in a table: a code span that nothing ends but its own end."""
    return "`" + one_line(text).replace("`", "'").replace("|", "/") + "`"


def page(value: Any) -> Any:
    """For a page's data, as JSON in its script: every text in it, keys too, as a line."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, Mapping):
        return {one_line(str(key)): page(item) for key, item in value.items()}
    return [page(item) for item in value] if isinstance(value, list | tuple) else value
