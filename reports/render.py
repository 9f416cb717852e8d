"""Rendering: the files of a report."""

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from reports import interactive, sections, svg, text
from reports.errors import ReportError
from reports.figures import Figure
from reports.headline import headline
from reports.html import asset, fill
from reports.sections import Content, Section
from reports.summarise import Summary


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A section with what it holds in this report."""

    section: Section
    content: Content


def files(summary: Summary) -> dict[str, str]:
    """The content of every file, by its path within the report's folder.

    Raises
    ------
    ReportError
        Two sections draw figures of one name.
    """
    filled = [
        Filled(section=section, content=section.content(summary)) for section in sections.SECTIONS
    ]
    filled = [each for each in filled if each.content.html or each.content.figures]
    figures = _figures(filled)
    pictures = {name: svg.draw(figure) for name, figure in figures.items()}
    return {
        "index.html": _page(summary, filled, figures, pictures),
        "summary.json": text.to_json(summary),
        "table.md": text.to_markdown(summary),
        "table.tex": text.to_tex(summary),
        **{f"figures/{name}.svg": picture for name, picture in pictures.items()},
    }


def _figures(filled: Sequence[Filled]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for each in filled:
        for figure in each.content.figures:
            if figure.name in figures:
                raise ReportError(
                    f"report section {each.section.name}: another section has a figure named "
                    f"{figure.name}; choose another name"
                )
            figures[figure.name] = figure
    return figures


def _page(
    summary: Summary,
    filled: Sequence[Filled],
    figures: dict[str, Figure],
    pictures: dict[str, str],
) -> str:
    """One page that needs nothing but itself."""
    plots = {
        name: interactive.plot(figure)
        for name, figure in figures.items()
        if figure.interactive and summary.options.interactive
    }
    return fill(
        "index.html.j2",
        summary=summary,
        sections=filled,
        pictures=pictures,
        plots=plots,
        plotly=_plotly() if plots else "",
        headline=headline(summary),
        style=asset("style.css"),
        script=asset("page.js"),
    )


@cache
def _plotly() -> str:
    """plotly.js, compressed: a third of its five megabytes, which every browser unpacks."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
