"""The figures of a report: what each one draws, whoever draws it, and what it says to who cannot see it.

A figure is described once, by panels that hold lines, points and bars. `reports.svg` draws it as a
picture for papers, paper and browsers without scripts, `reports.interactive` as one that answers to
the mouse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from experiments.config.metric_names import long_title
from experiments.runs.configuration import DECIMALS
from reports import series
from reports.summarise import Summary, by_metric

# Okabe and Ito's colours, which the colour-blind tell apart; the light ones darkened for white paper.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#B07800", "#000000", "#2A8FC4", "#882255")
_OUTCOMES = {"wins": "#0072B2", "ties": "#C8C8C8", "losses": "#D55E00"}
_COSTS = {"train_seconds": "training seconds", "ms_per_user": "scoring ms per user"}

LINES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
"""How a line is dashed, as matplotlib and as plotly call it."""

MARKERS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond"}
"""What a point looks like, as matplotlib and as plotly call it."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a row of the report looks in every figure.

    Attributes
    ----------
    color : str
        #RRGGBB.
    line : str
        A key of `LINES`.
    marker : str
        A key of `MARKERS`.
    """

    color: str
    line: str = "-"
    marker: str = "o"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line through points; `steps` keeps each value until the next point."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    look: Look
    steps: bool = False


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point, filled or hollow."""

    label: str
    x: float
    y: float
    look: Look
    filled: bool = True


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Bars of one colour.

    Attributes
    ----------
    values : dict
        Category -> length of its bar; a category that is missing has none.
    """

    label: str
    values: Mapping[str, float]
    look: Look


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes and what is drawn between them.

    Attributes
    ----------
    marks : sequence of Line, Point or Bars
        Bars are alone in their panel.
    categories : sequence of str
        What the bars are of, in order.
    stacked : bool
        Whether bars lie, one behind the other; else they stand side by side.
    x_range : (float, float) or None
    x_log : bool
        Whether the x axis is logarithmic.
    """

    marks: Sequence[Line | Point | Bars]
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    categories: Sequence[str] = ()
    stacked: bool = False
    x_range: tuple[float, float] | None = None
    x_log: bool = False

    @property
    def bars(self) -> list[Bars]:
        """Those of the marks that are bars."""
        return [mark for mark in self.marks if isinstance(mark, Bars)]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name : str
        Of its file, without the ending; made of a-z, 0-9 and "-".
    text : str
        What it shows, for who cannot see it.
    head, body : sequences
        Its numbers as a table.
    panels : sequence of Panel
    beside : bool
        Whether the panels lie beside, not below, each other.
    height : float
        Of a panel as a picture, in inches.
    legend : str
        "inside" the first panel, "above" it, or "" for none.
    choices : dict
        Name -> panel, where a menu chooses what the only panel shows. The first one is in `panels`.
    interactive : bool
        Whether it has a form that answers to the mouse.
    """

    name: str
    title: str
    text: str
    head: Sequence[str]
    body: Sequence[Sequence[str]]
    panels: Sequence[Panel]
    beside: bool = False
    height: float = 3.4
    legend: str = "inside"
    choices: Mapping[str, Panel] = field(default_factory=dict)
    interactive: bool = True


def figures_of(summary: Summary) -> list[Figure]:
    """Every figure for which the store holds the numbers."""
    made = (make(summary) for make in (_curves, _cost, _slices, _versus, _importances))
    return [figure for figure in made if figure is not None]


def looks(summary: Summary) -> dict[str, Look]:
    """A look of its own for every row, by its label."""
    every = [
        Look(color=color, line=line, marker=marker)
        for (line, marker), color in product(zip(LINES, MARKERS, strict=True), _COLORS)
    ]
    return {row.label: every[place % len(every)] for place, row in enumerate(summary.rows)}


def _curves(summary: Summary) -> Figure | None:
    found = series.curves(summary)
    if not found:
        return None
    by_row = looks(summary)
    marks, body = [], []
    for each in found:
        look = _dashed(by_row[each.row], each.place)
        for curve in each.seeds:
            steps, values = zip(*curve, strict=True)
            marks.append(Line(label=each.label, x=steps, y=values, look=look))
        tops = [max(curve, key=lambda point: point[1]) for curve in each.seeds]
        epochs = ", ".join(str(len(curve)) for curve in each.seeds)
        best = ", ".join(f"{value:.4f} at epoch {step}" for step, value in tops)
        body.append((each.label, epochs, best))
    selecting = f"valid {long_title(summary.selecting)}"
    staged = any(each.stage for each in found)
    apart = " A line ends where a stage of the training ends." if staged else ""
    return Figure(
        name="curves",
        title="Learning curves",
        text=f"Lines of the {selecting} by epoch, one for every seed of "
        f"{_listed([each.label for each in found])}.{apart} The table below gives the number of "
        "epochs and the best value.",
        head=("model", "epochs, by seed", f"best {selecting}, by seed"),
        body=body,
        panels=[
            Panel(
                marks=marks,
                x_label="epoch, counted over all stages" if staged else "epoch",
                y_label=selecting,
            )
        ],
    )


def _dashed(look: Look, stage: int) -> Look:
    """The look of a row's stage: the row's colour, a dash of its own."""
    dashes = list(LINES)
    return replace(look, line=dashes[(dashes.index(look.line) + stage) % len(dashes)])


def _cost(summary: Summary) -> Figure | None:
    metric, by_row = summary.lead, looks(summary)
    quality = long_title(metric)
    found = {
        axis: points
        for cost, axis in _COSTS.items()
        if len(points := series.cost_points(summary, cost, metric)) > 1
    }
    if not found:
        return None
    panels, body = [], []
    for axis, points in found.items():
        front = Line(
            label="Pareto front",
            x=[point.cost for point in points if point.front],
            y=[point.quality for point in points if point.front],
            look=Look(color="#555555", line="--"),
            steps=True,
        )
        marks = [
            Point(
                label=point.label,
                x=point.cost,
                y=point.quality,
                look=by_row[point.label],
                filled=point.front,
            )
            for point in points
        ]
        panels.append(Panel(marks=[front, *marks], x_label=axis, y_label=quality, x_log=True))
        body += [
            (
                point.label,
                axis,
                f"{point.cost:.3g}",
                f"{point.quality:.4f}",
                "yes" if point.front else "no",
            )
            for point in points
        ]
    best = [
        f"{', '.join(p.label for p in points if p.front)} ({axis})"
        for axis, points in found.items()
    ]
    return Figure(
        name="cost",
        title="Quality against cost",
        text=f"Each model as a point: {quality} upwards, cost to the right on a logarithmic "
        f"scale. On the Pareto front, where nothing cheaper is better: {'; '.join(best)}.",
        head=("model", "cost", "value of the cost", quality, "on the front"),
        body=body,
        panels=panels,
        beside=True,
    )


def _slices(summary: Summary) -> Figure | None:
    leads, users = summary.leads.values(), series.slice_users(summary)

    def named(name: str) -> str:
        return f"{name} (n = {users[name]:,})" if name in users else name

    found = {
        lead: {named(name): by_row for name, by_row in means.items()}
        for lead in leads
        if (means := series.slice_means(summary, lead))
    }
    if not found:
        return None
    panels = [
        Panel(
            marks=[
                Bars(
                    label=label,
                    values={name: own[label] for name, own in by_slice.items() if label in own},
                    look=look,
                )
                for label, look in looks(summary).items()
            ],
            categories=list(by_slice),
            y_label=long_title(metric),
        )
        for metric, by_slice in found.items()
    ]
    firsts = [f"on {name} {_highest(means)}" for name, means in next(iter(found.values())).items()]
    return Figure(
        name="slices",
        title="Metric by slice",
        text="Bars of each model for cold and warm items (the fewest and the most training "
        "interactions) and for users with short and long histories; n is the number of users. The highest "
        f"mean {long_title(next(iter(found)))}, which is not tested here: {', '.join(firsts)}. "
        "slice=NAME makes a report of one slice, with its tests.",
        head=("slice", "metric", "model", "mean over seeds"),
        body=[
            (name, long_title(metric), label, f"{mean:.4f}")
            for metric, by_slice in found.items()
            for name, means in by_slice.items()
            for label, mean in means.items()
        ],
        panels=panels,
    )


def _versus(summary: Summary) -> Figure | None:
    metric = summary.lead
    ordered = [row.label for row in by_metric(summary.rows, metric) if row.label in summary.users]
    found = {row: each for row in ordered if (each := series.versus(summary, row, metric))}
    if not found:
        return None
    choices = {
        row: Panel(
            marks=[
                Bars(
                    label=outcome,
                    values={each.against: 100 * getattr(each, outcome) for each in against},
                    look=Look(color=color),
                )
                for outcome, color in _OUTCOMES.items()
            ],
            categories=[each.against for each in against],
            x_label=f"% of the users, by {long_title(metric)}",
            x_range=(0, 100),
            stacked=True,
        )
        for row, against in found.items()
    }
    best = next(iter(found))
    shares = [
        f"better than {each.against} for {each.wins:.0%} of the users and worse for {each.losses:.0%}"
        for each in found[best]
    ]
    return Figure(
        name="users",
        title=f"User by user: {best} against the others",
        text=f"{best} is, by {long_title(metric)}, " + "; ".join(shares) + ".",
        head=("model", "against", "users it serves better", "equally well", "worse"),
        body=[
            (each.row, each.against, f"{each.wins:.1%}", f"{each.ties:.1%}", f"{each.losses:.1%}")
            for several in found.values()
            for each in several
        ],
        panels=[choices[best]],
        choices=choices,
        height=1.2 + 0.35 * len(found[best]),
        legend="above",
    )


def _importances(summary: Summary) -> Figure | None:
    found = series.importances(summary)
    if not found:
        return None
    panels = [
        Panel(
            marks=[Bars(label="importance", values=by_key, look=Look(color=_COLORS[0]))],
            title=model,
            categories=list(by_key),
            x_label="importance" if model == list(found)[-1] else "",
            x_range=(0, 1),
            stacked=True,
        )
        for model, by_key in found.items()
    ]
    firsts = [f"{next(iter(by_key))} for {model}" for model, by_key in found.items()]
    return Figure(
        name="importances",
        title="Hyper-parameter importances",
        text="Bars of how much each hyper-parameter explains of the valid metric over the trials of "
        f"a tuning study. The most important: {', '.join(firsts)}.",
        head=("model", "hyper-parameter", "importance"),
        body=[
            (model, key, f"{value:.3f}")
            for model, by_key in found.items()
            for key, value in by_key.items()
        ],
        panels=panels,
        height=0.8 + 0.3 * max(len(each) for each in found.values()),
        legend="",
        interactive=False,
    )


def _highest(means: Mapping[str, float]) -> str:
    """Who has the highest mean as it is shown; nobody where several have it."""
    shown = {label: round(mean, DECIMALS) for label, mean in means.items()}
    top = [label for label, mean in shown.items() if mean == max(shown.values())]
    return top[0] if len(top) == 1 else f"nobody alone ({len(top)} are level)"


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
