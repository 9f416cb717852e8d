"""A figure that answers to the mouse, in plotly's terms: "data" and "layout"."""

from html import escape
from typing import Any

from experiments.visible import visible
from reports.figures import LINES, MARKERS, Bars, Figure, Line, Panel, Point

Plot = dict[str, Any]

_HEIGHT, _HEIGHT_BELOW = 380, 330
"""Pixels: of a figure, and of each of several panels below each other."""


def plot(figure: Figure) -> Plot:
    """A click on a label hides all that has it; a menu chooses among the figure's choices."""
    data: list[Plot] = []
    layout = _layout(figure)
    labelled: set[str] = set()
    for number, panel in enumerate(figure.panels, start=1):
        suffix = "" if number == 1 else str(number)
        for mark in panel.marks:
            data.append(
                {
                    **_trace(mark, panel),
                    "name": _text(mark.label),
                    "legendgroup": _text(mark.label),
                    "showlegend": mark.label not in labelled,
                    "xaxis": f"x{suffix}",
                    "yaxis": f"y{suffix}",
                }
            )
            labelled.add(mark.label)
        layout |= _axes(panel, suffix, named=number == 1 or not figure.beside)
    return {"data": data, "layout": layout}


def _layout(figure: Figure) -> Plot:
    rows, columns = (1, len(figure.panels)) if figure.beside else (len(figure.panels), 1)
    layout: Plot = {
        "height": _HEIGHT if rows == 1 else _HEIGHT_BELOW * rows,
        "margin": {"t": 20, "r": 20},
        "font": {"family": "system-ui, sans-serif", "color": "#1a1a1a"},
        "autosize": True,
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "legend": {"orientation": "h", "y": -0.25},
    }
    if len(figure.panels) > 1:
        layout["grid"] = {"rows": rows, "columns": columns, "pattern": "independent"}
    if figure.panels[0].bars:
        layout["barmode"] = "stack" if figure.panels[0].stacked else "group"
    if figure.choices:
        layout["margin"] = {"t": 70, "r": 20}
        layout["updatemenus"] = [
            {"buttons": _buttons(figure), "x": 0, "xanchor": "left", "y": 1.25}
        ]
    return layout


def _axes(panel: Panel, suffix: str, *, named: bool) -> Plot:
    """Both axes; panels beside each other name their y axis once."""
    x_axis: Plot = {"title": {"text": _text(panel.x_label)}}
    y_axis: Plot = {"title": {"text": _text(panel.y_label) if named else ""}}
    if panel.x_log:
        x_axis["type"] = "log"
    if panel.categories:
        x_axis["automargin"] = True
    if panel.stacked:
        y_axis["automargin"] = True
    return {f"xaxis{suffix}": x_axis, f"yaxis{suffix}": y_axis}


def _trace(mark: Line | Point | Bars, panel: Panel) -> Plot:
    look = mark.look
    if isinstance(mark, Line):
        line = {"color": look.color, "dash": LINES[look.line], "width": 1 if mark.steps else 1.5}
        return {
            "type": "scatter",
            "mode": "lines",
            "line": {**line, **({"shape": "hv"} if mark.steps else {})},
            "x": list(mark.x),
            "y": list(map(_rounded, mark.y)),
        }
    if isinstance(mark, Point):
        symbol = MARKERS[look.marker] + ("" if mark.filled else "-open")
        return {
            "type": "scatter",
            "mode": "markers",
            "marker": {"color": look.color, "symbol": symbol, "size": 11},
            "x": [mark.x],
            "y": [_rounded(mark.y)],
        }
    x, y = _coordinates(mark, panel)
    direction = {"orientation": "h"} if panel.stacked else {}
    return {"type": "bar", "marker": {"color": look.color}, "x": x, "y": y, **direction}


def _coordinates(bars: Bars, panel: Panel) -> tuple[list[Any], list[Any]]:
    """x and y of bars; plotly counts lying ones from below."""
    names = [name for name in panel.categories if name in bars.values]
    if panel.stacked:
        names.reverse()
    values = [_rounded(bars.values[name]) for name in names]
    names = list(map(_text, names))
    return (values, names) if panel.stacked else (names, values)


def _buttons(figure: Figure) -> list[Plot]:
    buttons = []
    for name, panel in figure.choices.items():
        xs, ys = zip(*(_coordinates(bars, panel) for bars in panel.bars), strict=True)
        buttons.append(
            {"label": _text(name), "method": "restyle", "args": [{"x": list(xs), "y": list(ys)}]}
        )
    return buttons


def _text(name: str) -> str:
    """A name as plotly shows it as it is: it takes what looks like HTML for HTML."""
    return escape(visible(name), quote=False)


def _rounded(value: float) -> float:
    """Six digits, which is more than a reader sees."""
    return float(f"{value:.6g}")
