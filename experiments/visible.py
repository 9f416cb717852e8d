"""Text that others wrote, made harmless to look at: nothing in it acts on a terminal or a page.

Titles, names and labels come from data sets and run folders. A control character among them could move
the cursor, colour the screen or put a line of its own below ours; one that turns the direction of writing
makes what stands beside it read backwards.
"""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

_ACTS = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0 and C1: escape sequences, carriage returns, tabs, ends of lines
    "\u2028\u2029"  # ends of lines and paragraphs
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u206a-\u206f"  # directions of writing
    "\ufff9-\ufffb\U000e0000-\U000e007f"  # annotations and tags, which are never seen
    "\ud800-\udfff"  # halves of characters, which no terminal can be sent
    "]"
)


def visible(text: str, *, keep: str = "") -> str:
    r"""A text in one line whose control characters are spelled out: ESC as ``\x1b``.

    Parameters
    ----------
    text : str
        Any text.
    keep : str
        Control characters that stay, such as the end of a line.
    """
    return _ACTS.sub(lambda found: found[0] if found[0] in keep else _spelled(found[0]), text)


def all_visible(content: Any) -> Any:
    """Plain content with every text in it made `visible`.

    Parameters
    ----------
    content : object
        Mappings, lists, tuples, strings, numbers and None.
    """
    if isinstance(content, str):
        return visible(content)
    if isinstance(content, Mapping):
        return {all_visible(key): all_visible(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(map(all_visible, content))
    return content


def json_text(content: Any, *, indent: int | None = 2) -> str:
    r"""Content as JSON for stdout, indented or in one line, where ``\u001b`` stands for ESC: what is read from it is the same.

    Parameters
    ----------
    content : object
        Dicts, lists, strings, numbers and None.
    indent : int or None
        Blanks of a level; None: one line.
    """
    text = json.dumps(content, ensure_ascii=False, indent=indent)
    # Outside of its strings JSON holds no control character but ends of lines.
    return _ACTS.sub(lambda found: found[0] if found[0] == "\n" else _escaped(found[0]), text)


class VisibleFormatter(logging.Formatter):
    """Warnings as they are printed: in one line, control characters spelled out."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return visible(super().format(record), keep="\n")


def _spelled(letter: str) -> str:
    code = ord(letter)
    known = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(letter)
    return known or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def _escaped(letter: str) -> str:
    return json.dumps(letter)[1:-1] if letter != "\x7f" else "\\u007f"
