"""Rendering: the files of a report."""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments.metric_names import long_title, title
from reports import cells, text
from reports.draw import Figure
from reports.summarise import Summary

_TEMPLATES = Path(__file__).resolve().parent / "templates"


def files(summary: Summary, figures: Sequence[Figure]) -> dict[str, str]:
    """The content of every file, by its path within the report's folder."""
    return {
        "index.html": to_html(summary, figures),
        "summary.json": text.to_json(summary),
        "table.md": text.to_markdown(summary),
        "table.tex": text.to_tex(summary),
        **{f"figures/{figure.name}.svg": figure.svg for figure in figures},
    }


def to_html(summary: Summary, figures: Sequence[Figure]) -> str:
    """One page that needs nothing but itself."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"title": title, "long_title": long_title, "data_uri": _data_uri}
    plots = {figure.name: figure.plot for figure in figures if figure.plot}
    active = bool(plots) and summary.options.interactive
    server = summary.source.uri.startswith("http")
    return environment.get_template("index.html.j2").render(
        summary=summary,
        figures=figures,
        cells=cells,
        text=text,
        comparisons=_comparisons(summary),
        plots=_for_script(plots) if active else "",
        plotly=_plotly() if active else "",
        style=_asset("style.css"),
        script=_asset("page.js"),
        dashboard=f"{summary.source.uri.rstrip('/')}/#/experiments/{summary.source.experiment_id}"
        if server
        else "",
    )


def _comparisons(summary: Summary) -> list[list[str]]:
    """Every comparison that was made, in full."""
    return [
        [
            cells.label(row),
            made.against,
            long_title(metric),
            f"{made.difference:+.4f}",
            cells.interval(made),
            cells.probability(made.p_users),
            cells.probability(made.p_holm),
            cells.probability(made.p_seeds),
            made.verdict,
        ]
        for ranking, metrics in summary.tables.items()
        for row in summary.ranked(ranking)
        for metric in metrics
        if (value := row.values.get(metric)) and (made := value.comparison)
    ]


def _for_script(content: Mapping[str, Any]) -> Markup:
    """JSON that may stand in a script element: no text in it ends the element."""
    return Markup(json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"))


@cache
def _plotly() -> str:
    """plotly.js, compressed: a third of its five megabytes, which every browser unpacks."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


@cache
def _asset(name: str) -> Markup:
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def _data_uri(svg: str) -> str:
    """An image of its own: the ids in one figure cannot meet those of another."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
