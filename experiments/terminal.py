"""The terminal: a console that shows every text as it is."""

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from experiments.visible import visible


class PlainConsole(Console):
    """A console for texts that others wrote: no markup, no names of emoji, no control characters.

    What is to be bold or coloured is a `rich.text.Text`, or the style of its column or row. Pieces of
    a longer text that come from data are made `visible` first: ends of lines are kept here.

    Parameters
    ----------
    **settings : object
        Those of `rich.console.Console`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **settings})

    def render_str(self, text: str, **settings: Any) -> Text:
        """The text as rich prints it, in a line, a cell or a title."""
        return super().render_str(visible(text, keep="\n"), **settings)


def make_console(*, stderr: bool = False) -> Console:
    """A console that is 160 columns wide where the output is no terminal.

    Parameters
    ----------
    stderr : bool
        Whether to print to stderr.
    """
    width = None if sys.stdout.isatty() else 160
    return PlainConsole(width=width, stderr=stderr)
