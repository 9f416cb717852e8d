"""The descriptions of parents and experiments: Markdown, which the dashboard renders."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.metric_names import default_columns, long_title, title
from experiments.runs.compare import DECIMALS, Configuration, Run, cautions, marks

NOTE = "mlflow.note.content"
_OURS = "paddock.note_digest"
_LONGEST = 4500
"""Characters: an experiment's tag holds 5000."""

COSTS = {
    "time/train_seconds": "train s",
    "memory/train_peak_mb": "peak memory MB",
    "scoring_ms_per_user": "scoring ms per user",
    "params_trained": "parameters trained",
}
"""Metric -> how it is shown."""


def shown_metrics(names: Iterable[str]) -> dict[str, list[str]]:
    """The default columns by ranking, the leading one first: a wide table is cut at its right.

    Returns
    -------
    dict
        {"full": ["test/full/ndcg_at_10", "test/full/hit_at_10", "test/full/hit_at_1"], ...}
    """
    return {ranking: own[::-1] for ranking, own in default_columns(names).items()}


def mean_and_deviation(metrics: Mapping[str, float], name: str) -> str:
    """A mean with its standard deviation: "0.1071 ± 0.0075"; a dash where there is none.

    Parameters
    ----------
    metrics
        A parent's metrics, the deviation of `name` among them as <name>_std.
    """
    if name not in metrics:
        return "–"
    deviation = metrics.get(f"{name}_std")
    shown = "" if deviation is None else f" ± {deviation:.{DECIMALS}f}"
    return f"{metrics[name]:.{DECIMALS}f}{shown}"


def note_tags(text: str, present: Mapping[str, str]) -> dict[str, str]:
    """The tags that set a description; none where it stands, or where a person wrote another.

    Parameters
    ----------
    present : mapping
        The tags that the run or the experiment has.
    """
    note = present.get(NOTE, "")
    if note and _digest(note) != present.get(_OURS):
        return {}
    return {} if note == text else {NOTE: text, _OURS: _digest(text)}


def parent_note(model: str, counted: Sequence[Any], summary: Mapping[str, float]) -> str:
    """Mean and standard deviation by ranking, the cost, and the command of every seed.

    Parameters
    ----------
    counted
        The child runs, one a seed.
    summary
        The parent's metrics.
    """
    lines = [f"**{model}**, {_seeds(len(counted))}, test part, mean ± sample standard deviation."]
    for ranking, metrics in shown_metrics(summary).items():
        lines += ["", _line([ranking, *map(title, metrics)])]
        lines += [
            _rule(len(metrics)),
            _line(["", *(mean_and_deviation(summary, each) for each in metrics)]),
        ]
    costs = [f"{label} {summary[name]:,.4g}" for name, label in COSTS.items() if name in summary]
    if costs:
        lines += ["", f"Cost, mean: {', '.join(costs)}."]
    if any(each.data.tags.get("paddock.dirty") == "true" for each in counted):
        lines += ["", "Made by uncommitted code: the commands may give other numbers."]
    lines += ["", "Commands:", "", "```sh"]
    lines += [str(each.data.tags.get("paddock.command", "")) for each in counted]
    lines += ["```"]
    return _cut(lines)


def experiment_note(
    name: str,
    experiment_id: str,
    configurations: Sequence[Configuration[Run]],
    views: Mapping[str, str],
    *,
    lead: str,
) -> str:
    """The leaderboard of an experiment.

    Parameters
    ----------
    name
        The experiment's: <dataset>/<protocol>.
    configurations
        Each with its parent run, the best first.
    views
        Title -> key of the saved views.
    lead
        The metric that they are sorted by.
    """
    parents = [each.runs[0] for each in configurations]
    tables = shown_metrics({metric for parent in parents for metric in parent.metrics})
    metrics = [metric for names in tables.values() for metric in names[:2]]
    marked = {
        metric: marks({each.label: each.mean(metric) for each in configurations}, metric)
        for metric in metrics
    }
    runs = f"#/experiments/{experiment_id}/runs"
    links = [f"[{view}]({runs}?viewStateShareKey={key})" for view, key in views.items()]
    notes = [", ".join(cautions(each)) for each in configurations]
    noted = ["note"] if any(notes) else []
    dataset, _, protocol = name.partition("/")
    lines = [
        f"Data set **{dataset}**, protocol **{protocol}**. Views: {', '.join(links)}.",
        "",
        _line(["model", *map(long_title, metrics), "seeds", "train s", *noted]),
        _rule(len(metrics) + 2) + (":---|" if noted else ""),
    ]
    for each, parent, note in zip(configurations, parents, notes, strict=True):
        cells = [
            f"**{mean_and_deviation(parent.metrics, metric)}**"
            if marked[metric].get(each.label) == "best"
            else mean_and_deviation(parent.metrics, metric)
            for metric in metrics
        ]
        link = f"[{each.label}]({runs}/{parent.run_id})"
        seconds = parent.metrics.get("time/train_seconds")
        cost = "–" if seconds is None else f"{seconds:.1f}"
        n_seeds = f"{parent.metrics.get('seeds', 0):.0f}"
        lines.append(_line([link, *cells, n_seeds, cost, *([note] if noted else [])]))
    ended = f"Sorted by {long_title(lead)}; means ± standard deviations over seeds."
    return _cut([*lines, "", ended])


def _seeds(number: int) -> str:
    return "one seed" if number == 1 else f"{number} seeds"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(numbers: int) -> str:
    return f"|:---|{'---:|' * numbers}"


def _cut(lines: Sequence[str]) -> str:
    """Whole lines, as many as a tag holds."""
    kept: list[str] = []
    for line in lines:
        if sum(len(each) + 1 for each in kept) + len(line) > _LONGEST:
            break
        kept.append(line)
    return "\n".join(kept)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
