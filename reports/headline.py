"""The first sentence of a report: who is best, against whom, and whether that is shown."""

from experiments.config.metric_names import long_title
from reports import cells
from reports.rivals import builds_on, is_toy
from reports.significance import NONE, SIGNIFICANT
from reports.summarise import Row, Summary, Value


def headline(summary: Summary) -> str:
    """One sentence or two for every ranking; no row wins whose lead is not significant."""
    said = (_of_ranking(summary, ranking, metric) for ranking, metric in summary.leads.items())
    return " ".join(filter(None, said))


def _of_ranking(summary: Summary, ranking: str, metric: str) -> str:
    ordered = summary.ranked(ranking)
    first, value = ordered[0], ordered[0].values.get(metric)
    if value is None:
        return ""
    name = long_title(metric)
    level = [row for row in ordered if (own := row.values.get(metric)) and own.mark == "best"]
    if len(level) > 1:
        *others, last = [cells.label(row) for row in level]
        return f"{', '.join(others)} and {last} share the best {name}: {cells.mean(value)}."
    shown = f"{name}: {cells.number(value)}"
    if len(ordered) == 1:
        return f"{cells.label(first)} alone is shown, {shown}."
    against = next((row for row in ordered if row.label == value.against), None)
    if against is None:
        return f"{cells.label(first)} has the highest mean {shown}."
    by_much = f"{cells.gain(value)} against {_opponent(first, against)}"
    verdict = value.comparison.verdict if value.comparison else ""
    if verdict == SIGNIFICANT:
        sentence = f"{cells.label(first)} has the best {shown}, {by_much} (significant)."
    else:
        sentence = f"{cells.label(first)} has the highest mean {shown}, {by_much}, {_doubt(value)}."
    return " ".join(filter(None, [sentence, _passed_over(first, against, ordered, metric)]))


def _doubt(value: Value) -> str:
    """Why a lead is no win."""
    if value.comparison is None:
        return "which was not tested"
    if value.comparison.verdict == NONE:
        return "which is not significant"
    return "which holds for these trained models on these users; other seeds may turn it"


def _opponent(first: Row, against: Row) -> str:
    label = cells.label(against)
    if builds_on(first.configuration, against.configuration):
        return f"its own backbone {label}"
    if is_toy(against.configuration):
        return f"{label}, which learns nothing of the users"
    if builds_on(against.configuration, first.configuration):
        return f"{label}, which is built on it"
    return label


def _passed_over(first: Row, against: Row, ordered: list[Row], metric: str) -> str:
    """Names better rows that are no opponents, so that nobody looks for them in vain."""
    mean = against.values[metric].mean
    better = [
        row
        for row in ordered
        if row is not first and (own := row.values.get(metric)) and own.mean > mean
    ]
    toys = [cells.label(row) for row in better if is_toy(row.configuration)]
    built = [
        cells.label(row) for row in better if builds_on(row.configuration, first.configuration)
    ]
    said = [
        f"{', '.join(built)}, built on {first.label}, is no opponent of it." if built else "",
        f"{', '.join(toys)}, better than that, learns nothing of the users." if toys else "",
    ]
    return " ".join(filter(None, said))
