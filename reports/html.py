"""Making HTML: templates, and what plug-ins need of them for a section of their own."""

import base64
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments.config.metric_names import long_title, title
from experiments.visible import visible

_TEMPLATES = Path(__file__).resolve().parent / "templates"


def fill(template: str, **values: Any) -> Markup:
    """A template of reports/templates with its values, which are escaped."""
    return Markup(_environment().get_template(template).render(**values))


def table(
    caption: str, head: Sequence[str], body: Sequence[Sequence[str]], *, numbers: bool = True
) -> Markup:
    """A table that sorts at a click and scrolls by itself on a phone.

    Parameters
    ----------
    caption : str
        What it shows.
    head : sequence of str
    body : sequence of sequences of str
        Rows; the first cell of each is its head.
    numbers : bool
        Whether the other columns hold numbers.
    """
    macros = _environment().get_template("macros.html.j2").module
    return Markup(macros.table(caption, head, body, numbers))  # type: ignore[attr-defined]


@cache
def asset(name: str) -> Markup:
    """The text of a style sheet or a script of reports/templates."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "metric_title": title,
        "long_title": long_title,
        "data_uri": _data_uri,
        "for_script": _for_script,
    }
    return environment


def _shown(value: Any) -> Any:
    """Text as it is put in: nothing in it turns the direction of writing."""
    return visible(value, keep="\n\t") if type(value) is str else value


def _for_script(content: Mapping[str, Any]) -> Markup:
    """JSON that may stand in a script element: no text in it ends the element."""
    return Markup(json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"))


def _data_uri(svg: str) -> str:
    """An image of its own: the ids in one figure cannot meet those of another."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
