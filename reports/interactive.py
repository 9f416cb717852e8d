"""The figures that answer to the mouse, in plotly's terms: "data" and "layout"."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from reports.series import Point, Versus
from reports.summarise import Summary

Plot = dict[str, Any]

# Okabe and Ito's colours, which the colour-blind tell apart; the light ones darkened for white paper.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#B07800", "#000000", "#2A8FC4", "#882255")
_LINES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
_MARKERS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond"}

OUTCOMES = {"wins": "#0072B2", "ties": "#C8C8C8", "losses": "#D55E00"}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a row is drawn in every figure, in matplotlib's terms."""

    color: str
    line: str
    marker: str


def looks(summary: Summary) -> dict[str, Look]:
    """A look of its own for every row."""
    every = [
        Look(color=color, line=line, marker=marker)
        for (line, marker), color in product(zip(_LINES, _MARKERS, strict=True), _COLORS)
    ]
    return {row.label: every[place % len(every)] for place, row in enumerate(summary.rows)}


def curves(
    found: Mapping[str, Sequence[Sequence[tuple[int, float]]]],
    by_row: Mapping[str, Look],
    title: str,
) -> Plot:
    """One line for every seed; a click on a model's name hides all of its."""
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": label,
            "legendgroup": label,
            "showlegend": place == 0,
            "line": {
                "color": by_row[label].color,
                "dash": _LINES[by_row[label].line],
                "width": 1.5,
            },
            "x": [step for step, _ in curve],
            "y": [round(value, 6) for _, value in curve],
        }
        for label, seeds in found.items()
        for place, curve in enumerate(seeds)
    ]
    return {
        "data": data,
        "layout": _layout(xaxis={"title": {"text": "epoch"}}, yaxis={"title": {"text": title}}),
    }


def cost(found: Mapping[str, Sequence[Point]], by_row: Mapping[str, Look], title: str) -> Plot:
    """Points by quality and cost, with a panel for each cost."""
    data: list[Plot] = []
    layout = _layout(grid={"rows": 1, "columns": len(found), "pattern": "independent"})
    for number, (axis, points) in enumerate(found.items(), start=1):
        suffix = "" if number == 1 else str(number)
        front = [point for point in points if point.front]
        axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "Pareto front",
                "legendgroup": "front",
                "showlegend": number == 1,
                "line": {"color": "#555555", "dash": "dash", "shape": "hv", "width": 1},
                "x": [point.cost for point in front],
                "y": [point.quality for point in front],
                **axes,
            }
        )
        data += [
            {
                "type": "scatter",
                "mode": "markers",
                "name": point.label,
                "legendgroup": point.label,
                "showlegend": number == 1,
                "marker": {
                    "color": by_row[point.label].color,
                    "symbol": _MARKERS[by_row[point.label].marker]
                    + ("" if point.front else "-open"),
                    "size": 11,
                },
                "x": [point.cost],
                "y": [point.quality],
                **axes,
            }
            for point in points
        ]
        layout[f"xaxis{suffix}"] = {"title": {"text": axis}, "type": "log"}
        layout[f"yaxis{suffix}"] = {"title": {"text": title if number == 1 else ""}}
    return {"data": data, "layout": layout}


def slices(
    found: Mapping[str, Mapping[str, Mapping[str, float]]],
    by_row: Mapping[str, Look],
    told: Callable[[str], str],
) -> Plot:
    """Bars by slice and row, with a panel for each ranking."""
    layout = _layout(
        barmode="group", grid={"rows": len(found), "columns": 1, "pattern": "independent"}
    )
    layout["height"] = 330 * len(found)
    data: list[Plot] = []
    for number, (metric, by_slice) in enumerate(found.items(), start=1):
        suffix = "" if number == 1 else str(number)
        layout[f"yaxis{suffix}"] = {"title": {"text": told(metric)}}
        for label, look in by_row.items():
            known = {name: means[label] for name, means in by_slice.items() if label in means}
            data.append(
                {
                    "type": "bar",
                    "name": label,
                    "legendgroup": label,
                    "showlegend": number == 1,
                    "marker": {"color": look.color},
                    "x": list(known),
                    "y": [round(value, 6) for value in known.values()],
                    "xaxis": f"x{suffix}",
                    "yaxis": f"y{suffix}",
                }
            )
    return {"data": data, "layout": layout}


def versus(duels: Mapping[str, Sequence[Versus]], metric: str) -> Plot:
    """Stacked bars of one row against the others; a menu chooses the row."""

    def values(part: str, shown: Sequence[Versus]) -> list[float]:
        return [round(100 * getattr(each, part), 3) for each in reversed(shown)]

    def names(shown: Sequence[Versus]) -> list[str]:
        return [each.against for each in reversed(shown)]

    first = next(iter(duels.values()))
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": part,
            "marker": {"color": color},
            "x": values(part, first),
            "y": names(first),
        }
        for part, color in OUTCOMES.items()
    ]
    buttons = [
        {
            "label": row,
            "method": "restyle",
            "args": [
                {
                    "x": [values(part, shown) for part in OUTCOMES],
                    "y": [names(shown)] * len(OUTCOMES),
                }
            ],
        }
        for row, shown in duels.items()
    ]
    layout = _layout(barmode="stack", xaxis={"title": {"text": f"% of the users, by {metric}"}})
    layout["yaxis"] = {"automargin": True}
    layout["updatemenus"] = [{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.25}]
    layout["margin"] = {"t": 70, "r": 20}
    return {"data": data, "layout": layout}


def _layout(**more: Any) -> Plot:
    return {
        "height": 380,
        "margin": {"t": 20, "r": 20},
        "font": {"family": "system-ui, sans-serif", "color": "#1a1a1a"},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "legend": {"orientation": "h", "y": -0.25},
        **more,
    }
