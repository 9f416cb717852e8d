"""The descriptions of parents and experiments: Markdown, which the dashboard renders."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.tracking.columns import COSTS, leading_metric, shown_metrics, spelled, told

NOTE = "mlflow.note.content"
_OURS = "paddock.note_digest"
_LONGEST = 4500
"""Characters: an experiment's tag holds 5000."""


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
        lines += ["", _line([ranking, *(spelled(each).partition(" ")[2] for each in metrics)])]
        lines += [_rule(len(metrics)), _line(["", *(told(summary, each) for each in metrics)])]
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
    name: str, experiment_id: str, parents: Sequence[Any], views: Mapping[str, str]
) -> str:
    """The leaderboard of an experiment.

    Parameters
    ----------
    parents
        Parent runs, the best first.
    views
        Title -> key of the saved views.
    """
    reported = {metric for each in parents for metric in each.data.metrics}
    tables = shown_metrics(reported)
    metrics = [metric for names in tables.values() for metric in names[:2]]
    runs = f"#/experiments/{experiment_id}/runs"
    links = [f"[{title}]({runs}?viewStateShareKey={key})" for title, key in views.items()]
    dataset, _, protocol = name.partition("/")
    lines = [
        f"Data set **{dataset}**, protocol **{protocol}**. Views: {', '.join(links)}.",
        "",
        _line(["model", *map(spelled, metrics), "seeds", "train s"]),
        _rule(len(metrics) + 2),
    ]
    best = {
        metric: max(each.data.metrics[metric] for each in parents if metric in each.data.metrics)
        for metric in metrics
    }
    for each in parents:
        own = each.data.metrics
        cells = [
            f"**{told(own, metric)}**" if own.get(metric) == best[metric] else told(own, metric)
            for metric in metrics
        ]
        link = f"[{each.info.run_name}](#/experiments/{experiment_id}/runs/{each.info.run_id})"
        seconds = own.get("time/train_seconds")
        cost = "–" if seconds is None else f"{seconds:.1f}"
        lines.append(_line([link, *cells, f"{own.get('seeds', 0):.0f}", cost]))
    ended = f"Sorted by {spelled(leading_metric(reported) or '')}; means ± standard deviations over seeds."
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
