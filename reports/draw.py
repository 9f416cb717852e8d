"""Drawing: the figures of a report as SVG, each with its text and its numbers."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from experiments.metric_names import long_title as long
from reports import interactive, series
from reports.summarise import Summary, by_metric

# The same numbers give the same file; text stays text.
_STYLE: Any = {
    "svg.hashsalt": "paddock",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
}
_WIDTH = 7.2


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name : str
        Of its file, without the ending.
    text : str
        What it shows, for who cannot see it.
    head, body : sequences
        Its numbers as a table.
    plot : dict or None
        The same for plotly: "data" and "layout".
    """

    name: str
    title: str
    text: str
    svg: str
    head: Sequence[str]
    body: Sequence[Sequence[str]]
    plot: Mapping[str, Any] | None = None


def draw(summary: Summary) -> list[Figure]:
    """Every figure for which the store holds the numbers."""
    makers: list[Callable[[Summary], Figure | None]] = [
        _curves,
        _cost,
        _slices,
        _versus,
        _importances,
    ]
    with mpl.rc_context(_STYLE):
        made = [make(summary) for make in makers]
    return [figure for figure in made if figure is not None]


def _curves(summary: Summary) -> Figure | None:
    found = series.curves(summary)
    if not found:
        return None
    looks = interactive.looks(summary)
    canvas, axes = _canvas(1)
    body = []
    for label, seeds in found.items():
        for place, curve in enumerate(seeds):
            steps, values = zip(*curve, strict=True)
            name = label if place == 0 else None
            look = looks[label]
            axes[0].plot(
                steps, values, color=look.color, ls=look.line, lw=1.3, alpha=0.8, label=name
            )
        tops = [max(curve, key=lambda point: point[1]) for curve in seeds]
        epochs = ", ".join(str(len(curve)) for curve in seeds)
        best = ", ".join(f"{value:.4f} at epoch {step}" for step, value in tops)
        body.append((label, epochs, best))
    selecting = long(summary.selecting)
    axes[0].set(xlabel="epoch", ylabel=f"valid {selecting}")
    axes[0].legend(frameon=False, fontsize=9)
    return Figure(
        name="curves",
        title="Learning curves",
        text=f"Lines of the valid {selecting} by epoch, one for every seed of "
        f"{_listed(found)}. The table below gives the number of epochs and the best value.",
        svg=_svg(canvas),
        head=("model", "epochs, by seed", f"best valid {selecting}, by seed"),
        body=body,
        plot=interactive.curves(found, looks, f"valid {selecting}"),
    )


def _cost(summary: Summary) -> Figure | None:
    metric, looks = summary.lead, interactive.looks(summary)
    told = {"train_seconds": "training seconds", "ms_per_user": "scoring ms per user"}
    found = {
        axis: points
        for cost, axis in told.items()
        if len(points := series.cost_points(summary, cost, metric)) > 1
    }
    if not found:
        return None
    canvas, axes = _canvas(len(found))
    body = []
    for panel, (axis, points) in zip(axes, found.items(), strict=True):
        front = [point for point in points if point.front]
        panel.plot(
            [point.cost for point in front],
            [point.quality for point in front],
            color="#555555",
            lw=1,
            ls="--",
            drawstyle="steps-post",
            label="Pareto front",
        )
        for point in points:
            look = looks[point.label]
            panel.plot(
                point.cost,
                point.quality,
                look.marker,
                color=look.color,
                ms=9 if point.front else 6,
                mfc=look.color if point.front else "white",
                label=point.label,
            )
            body.append(
                (
                    point.label,
                    axis,
                    f"{point.cost:.3g}",
                    f"{point.quality:.4f}",
                    "yes" if point.front else "no",
                )
            )
        panel.set(xlabel=axis, ylabel=long(metric), xscale="log")
    axes[0].legend(frameon=False, fontsize=8)
    best = [
        f"{', '.join(p.label for p in points if p.front)} ({axis})"
        for axis, points in found.items()
    ]
    return Figure(
        name="cost",
        title="Quality against cost",
        text=f"Each model as a point: {long(metric)} upwards, cost to the right on a logarithmic "
        f"scale. On the Pareto front, where nothing cheaper is better: {'; '.join(best)}.",
        svg=_svg(canvas),
        head=("model", "cost", "value of the cost", long(metric), "on the front"),
        body=body,
        plot=interactive.cost(found, looks, long(metric)),
    )


def _slices(summary: Summary) -> Figure | None:
    looks = interactive.looks(summary)
    leads = summary.leads.values()
    found = {lead: means for lead in leads if (means := series.slice_means(summary, lead))}
    if not found:
        return None
    canvas, axes = _canvas(len(found), rows=True)
    body = []
    for panel, (metric, by_slice) in zip(axes, found.items(), strict=True):
        labels = [row.label for row in summary.rows]
        width = 0.8 / len(labels)
        for place, label in enumerate(labels):
            spots = [spot for spot, means in enumerate(by_slice.values()) if label in means]
            heights = [means[label] for means in by_slice.values() if label in means]
            offset = (place - (len(labels) - 1) / 2) * width
            panel.bar(
                [spot + offset for spot in spots],
                heights,
                width * 0.92,
                color=looks[label].color,
                label=label,
            )
        panel.set_xticks(range(len(by_slice)), list(by_slice))
        panel.set_ylabel(long(metric))
        body += [
            (told, long(metric), label, f"{mean:.4f}")
            for told, means in by_slice.items()
            for label, mean in means.items()
        ]
    axes[0].legend(frameon=False, fontsize=8, ncols=3)
    firsts = [
        f"on {told} {max(means, key=lambda label: means[label])}"
        for told, means in next(iter(found.values())).items()
    ]
    return Figure(
        name="slices",
        title="Metric by slice",
        text="Bars of each model for cold and warm items (the fewest and the most training "
        "interactions) and for users with short and long histories. The best by "
        f"{long(next(iter(found)))}: {', '.join(firsts)}.",
        svg=_svg(canvas),
        head=("slice", "metric", "model", "mean over seeds"),
        body=body,
        plot=interactive.slices(found, looks, long),
    )


def _versus(summary: Summary) -> Figure | None:
    metric = summary.lead
    ordered = [row.label for row in by_metric(summary.rows, metric) if row.label in summary.users]
    duels = {row: each for row in ordered if (each := series.versus(summary, row, metric))}
    if not duels:
        return None
    best = next(iter(duels))
    shown = duels[best]
    canvas, axes = _canvas(1, height=1.2 + 0.35 * len(shown))
    left = [0.0] * len(shown)
    for part, color in interactive.OUTCOMES.items():
        widths = [100 * getattr(each, part) for each in shown]
        axes[0].barh([each.against for each in shown], widths, left=left, color=color, label=part)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes[0].invert_yaxis()
    axes[0].set(xlabel=f"% of the users, by {long(metric)}", xlim=(0, 100))
    axes[0].legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    told = [
        f"better than {each.against} for {each.wins:.0%} of the users and worse for {each.losses:.0%}"
        for each in shown
    ]
    return Figure(
        name="users",
        title=f"User by user: {best} against the others",
        text=f"{best} is, by {long(metric)}, " + "; ".join(told) + ".",
        svg=_svg(canvas),
        head=("model", "against", "users it serves better", "equally well", "worse"),
        body=[
            (each.row, each.against, f"{each.wins:.1%}", f"{each.ties:.1%}", f"{each.losses:.1%}")
            for several in duels.values()
            for each in several
        ],
        plot=interactive.versus(duels, long(metric)),
    )


def _importances(summary: Summary) -> Figure | None:
    found = series.importances(summary)
    if not found:
        return None
    most = max(len(each) for each in found.values())
    canvas, axes = _canvas(len(found), rows=True, height=0.8 + 0.3 * most)
    for panel, (model, by_key) in zip(axes, found.items(), strict=True):
        panel.barh(list(by_key), list(by_key.values()), color="#0072B2")
        panel.invert_yaxis()
        panel.set(title=model, xlim=(0, 1))
    axes[-1].set_xlabel("importance")
    firsts = [f"{next(iter(by_key))} for {model}" for model, by_key in found.items()]
    return Figure(
        name="importances",
        title="Hyper-parameter importances",
        text="Bars of how much each hyper-parameter explains of the valid metric over the trials of "
        f"a tuning study. The most important: {', '.join(firsts)}.",
        svg=_svg(canvas),
        head=("model", "hyper-parameter", "importance"),
        body=[
            (model, key, f"{value:.3f}")
            for model, by_key in found.items()
            for key, value in by_key.items()
        ],
    )


def _canvas(panels: int, *, rows: bool = False, height: float = 3.4) -> tuple[Canvas, list[Any]]:
    shape = (panels, 1) if rows else (1, panels)
    tall = height * panels if rows else height
    canvas = Canvas(figsize=(_WIDTH, tall), layout="constrained")
    return canvas, list(canvas.subplots(*shape, squeeze=False).flat)


def _svg(canvas: Canvas) -> str:
    stream = io.StringIO()
    canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _listed(names: Mapping[str, Any]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
