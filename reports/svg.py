"""A figure as a picture: SVG, drawn by matplotlib."""

import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from experiments.visible import visible
from reports.figures import Figure, Line, Panel, Point

# The same numbers give the same file; text stays text.
_STYLE: Any = {
    "svg.hashsalt": "paddock",
    "svg.fonttype": "none",
    # A "$" in a name is a "$".
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
}
_WIDTH = 11.0
_STRETCH = 1.2
"""Of the heights, which are those of a narrower picture."""

_BAR = 0.8
"""How much of a category its bars fill."""


def draw(figure: Figure) -> str:
    """The picture, the same for the same figure."""
    n_panels = len(figure.panels)
    shape = (1, n_panels) if figure.beside else (n_panels, 1)
    height = _STRETCH * (figure.height if figure.beside else figure.height * n_panels)
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(_WIDTH, height), layout="constrained")
        every = list(canvas.subplots(*shape, squeeze=False).flat)
        for axes, panel in zip(every, figure.panels, strict=True):
            _draw_panel(axes, panel)
        _draw_legend(every[0], figure)
        stream = io.StringIO()
        canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    # XML takes no control characters.
    return visible(stream.getvalue(), keep="\n\t")


def _draw_panel(axes: Any, panel: Panel) -> None:
    labelled: set[str] = set()
    for mark in panel.marks:
        # The legend lists each label once.
        label = None if mark.label in labelled else visible(mark.label)
        labelled.add(mark.label)
        if isinstance(mark, Line):
            _draw_line(axes, mark, label)
        elif isinstance(mark, Point):
            _draw_point(axes, mark, label)
    if panel.bars:
        (_draw_lying_bars if panel.stacked else _draw_standing_bars)(axes, panel)
    if panel.title:
        axes.set_title(panel.title)
    if panel.x_label:
        axes.set_xlabel(panel.x_label)
    if panel.y_label:
        axes.set_ylabel(panel.y_label)
    if panel.x_range:
        axes.set_xlim(panel.x_range)
    if panel.x_log:
        axes.set_xscale("log")


def _draw_line(axes: Any, line: Line, label: str | None) -> None:
    form = {"lw": 1, "drawstyle": "steps-post"} if line.steps else {"lw": 1.3, "alpha": 0.8}
    axes.plot(line.x, line.y, color=line.look.color, ls=line.look.line, label=label, **form)


def _draw_point(axes: Any, point: Point, label: str | None) -> None:
    axes.plot(
        point.x,
        point.y,
        point.look.marker,
        color=point.look.color,
        ms=9 if point.filled else 6,
        mfc=point.look.color if point.filled else "white",
        label=label,
    )


def _draw_standing_bars(axes: Any, panel: Panel) -> None:
    width = _BAR / len(panel.bars)
    for place, bars in enumerate(panel.bars):
        offset = (place - (len(panel.bars) - 1) / 2) * width
        spots = [spot for spot, name in enumerate(panel.categories) if name in bars.values]
        axes.bar(
            [spot + offset for spot in spots],
            [bars.values[panel.categories[spot]] for spot in spots],
            width * 0.92,
            color=bars.look.color,
            label=visible(bars.label),
        )
    axes.set_xticks(range(len(panel.categories)), list(panel.categories))


def _draw_lying_bars(axes: Any, panel: Panel) -> None:
    left = [0.0] * len(panel.categories)
    for bars in panel.bars:
        widths = [bars.values.get(name, 0.0) for name in panel.categories]
        names = list(panel.categories)
        axes.barh(names, widths, left=left, color=bars.look.color, label=visible(bars.label))
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()


def _draw_legend(axes: Any, figure: Figure) -> None:
    if figure.legend == "above":
        axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    elif figure.legend == "inside":
        columns = 3 if figure.panels[0].bars else 1
        axes.legend(frameon=False, fontsize=8, ncols=columns)
