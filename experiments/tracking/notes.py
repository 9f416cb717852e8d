"""The descriptions of parents and experiments: Markdown, which the dashboard renders."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.config.metric_names import default_columns, long_title, names_of, title
from experiments.runs.compare import Comparable, cautions, marks
from experiments.runs.configuration import DECIMALS, NOT_APPLICABLE, Configuration, Run, notes_of

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

SEEDS = "seeds"
"""The tag that shows how many seeds a parent is the mean of."""

APART = (
    "Trained on train and valid, for the epochs that valid chose (protocol.refit=valid): they know more "
    "than those above, and compare with one another only."
)


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

    Decimals are those that the seeds allow, at most four: the last one is the second digit of the
    mean's standard error that is not zero.

    Parameters
    ----------
    metrics
        A parent's metrics, the deviation of `name` among them as <name>_std, and the number of
        seeds; or those of one seed.
    """
    if name not in metrics:
        return "–"
    deviation = metrics.get(f"{name}_std")
    if deviation is None:
        return f"{metrics[name]:.{DECIMALS}f}"
    error = deviation / math.sqrt(metrics.get("seeds", 1))
    allowed = 1 - math.floor(math.log10(error)) if error > 0 else DECIMALS
    decimals = max(0, min(DECIMALS, allowed))
    return f"{metrics[name]:.{decimals}f} ± {deviation:.{decimals}f}"


def shown_cost(name: str, value: float) -> str:
    """A cost as a person reads it: "12,345", "812", "15.5", "0.25"."""
    decimals = 0 if name == "params_trained" or value >= 100 else 1 if value >= 1 else 2
    return f"{value:,.{decimals}f}"


def column(name: str) -> str:
    """The tag that shows a metric in MLflow's table: "full NDCG at 10". It takes no "@"."""
    return COSTS.get(name) or long_title(name).replace("@", " at ")


def displayed(metrics: Mapping[str, float]) -> dict[str, str]:
    """Tags that show a run's numbers in MLflow's table, rounded; the metrics stay exact beside them.

    MLflow's table shows metrics with all their digits, and a mean and its deviation as two of them.

    Parameters
    ----------
    metrics
        A parent's or a seed's.
    """
    accuracy = [name for names in shown_metrics(metrics).values() for name in names]
    made = {column(name): mean_and_deviation(metrics, name) for name in accuracy}
    if "seeds" in metrics:
        made[SEEDS] = f"{metrics['seeds']:.0f}"
    return made | {
        column(name): shown_cost(name, metrics[name]) for name in COSTS if name in metrics
    }


def unscored(run: Mapping[str, Any]) -> dict[str, str]:
    """Tags that say "not applicable" where the numbers would stand; none of a run that was scored.

    Parameters
    ----------
    run
        The content of its run.json.
    """
    if not any(note.startswith(NOT_APPLICABLE) for note in notes_of(run.get("tags", {}))):
        return {}
    protocol = run["config"]["protocol"]
    cutoffs = {name: each["cutoffs"] for name, each in protocol["rankings"].items()}
    names = [f"test/{name}" for name in names_of(cutoffs, protocol["metrics"])]
    shown = (name for own in shown_metrics(names).values() for name in own)
    return {column(name): NOT_APPLICABLE for name in shown}


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
    tags = [each.data.tags for each in counted]
    refitted = any(each.get("paddock.refitted") == "true" for each in tags)
    return cut(
        [
            f"**{model}**, {_seeds(len(counted))}, test part, mean ± sample standard deviation.",
            *_tables(summary),
            *_sentences(note for each in tags for note in notes_of(each)),
            *_costs("Cost, mean", summary),
            *_warnings(tags, refitted=refitted),
            *_commands([str(each.get("paddock.command", "")) for each in tags]),
        ]
    )


def child_note(run: Mapping[str, Any], metrics: Mapping[str, float], *, refitted: bool) -> str:
    """The numbers of one seed, its cost, and its command.

    Parameters
    ----------
    run
        The content of its run.json.
    metrics
        What MLflow holds of it at the end.
    refitted
        Whether the model was trained on the valid part too.
    """
    tags = {"paddock.dirty": str(bool((run.get("git") or {}).get("dirty"))).lower()}
    return cut(
        [
            f"**{run['model_key']}**, seed {run['seed']}, test part.",
            *_tables(metrics),
            *_sentences(notes_of(run.get("tags", {}))),
            *_costs("Cost", metrics),
            *_warnings([tags], refitted=refitted),
            *_commands([run["command"]]),
        ]
    )


def experiment_note(
    name: str,
    experiment_id: str,
    found: Comparable[Run],
    views: Mapping[str, str],
    *,
    lead: str,
) -> str:
    """The leaderboard of an experiment, what stands apart from it, and what does not compare.

    Parameters
    ----------
    name
        The experiment's: <dataset>/<protocol>.
    found
        Each configuration with its parent run, the best first.
    views
        Title -> key of the saved views.
    lead
        The metric that they are sorted by.
    """
    runs = f"#/experiments/{experiment_id}/runs"
    dataset, _, protocol = name.partition("/")
    lines = [
        f"Data set **{dataset}**, protocol **{protocol}**. Views: {view_links(runs, views)}.",
        *_leaderboard(found.configurations, runs),
    ]
    if found.apart:
        lines += ["", APART, *_leaderboard(found.apart, runs)]
    if found.left_out:
        lines += ["", "Not compared:", ""]
        lines += [
            f"- [{each.model}]({runs}/{each.run_id}): {each.reason}" for each in found.left_out
        ]
    ended = f"Sorted by {long_title(lead)}; means ± standard deviations over seeds."
    return cut([*lines, "", ended])


def view_links(runs: str, views: Mapping[str, str]) -> str:
    """Links to saved views.

    Parameters
    ----------
    runs
        The address of the experiment's runs within MLflow.
    views
        Title -> key.
    """
    return ", ".join(
        f"[{view}]({runs}?viewStateShareKey={key}&workflowType=machine_learning)"
        for view, key in views.items()
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, the first column of text and the others of numbers."""
    return ["", _line(head), _rule(len(head) - 1), *map(_line, rows)]


def _leaderboard(configurations: Sequence[Configuration[Run]], runs: str) -> list[str]:
    if not configurations:
        return []
    parents = [each.runs[0] for each in configurations]
    tables = shown_metrics({metric for parent in parents for metric in parent.metrics})
    metrics = [metric for names in tables.values() for metric in names[:2]]
    marked = {
        metric: marks({each.label: each.mean(metric) for each in configurations}, metric)
        for metric in metrics
    }
    notes = [", ".join(cautions(each)) for each in configurations]
    noted = ["note"] if any(notes) else []
    lines = [
        "",
        _line(["model", *map(long_title, metrics), "seeds", "train s", *noted]),
        _rule(len(metrics) + 2) + (":---|" if noted else ""),
    ]
    for each, parent, note in zip(configurations, parents, notes, strict=True):
        cells = [
            f"**{mean_and_deviation(parent.metrics, metric)}**"
            if marked[metric].get(each.label) == "best"
            else "n/a"
            if each.not_applicable and metric not in parent.metrics
            else mean_and_deviation(parent.metrics, metric)
            for metric in metrics
        ]
        link = f"[{each.label}]({runs}/{parent.run_id})"
        seconds = parent.metrics.get("time/train_seconds")
        cost = "–" if seconds is None else shown_cost("time/train_seconds", seconds)
        n_seeds = f"{parent.metrics.get('seeds', 0):.0f}"
        lines.append(_line([link, *cells, n_seeds, cost, *([note] if noted else [])]))
    return lines


def _tables(metrics: Mapping[str, float]) -> list[str]:
    """A table of one line for each ranking."""
    return [
        line
        for ranking, names in shown_metrics(metrics).items()
        for line in table(
            [ranking, *map(title, names)],
            [["", *(mean_and_deviation(metrics, each) for each in names)]],
        )
    ]


def _costs(head: str, metrics: Mapping[str, float]) -> list[str]:
    costs = [f"{label} {shown_cost(n, metrics[n])}" for n, label in COSTS.items() if n in metrics]
    return ["", f"{head}: {', '.join(costs)}."] if costs else []


def _warnings(tags: Iterable[Mapping[str, str]], *, refitted: bool) -> list[str]:
    lines = ["", APART.replace("those above", "other runs")] if refitted else []
    if any(each.get("paddock.dirty") == "true" for each in tags):
        lines += ["", "Made by uncommitted code: the commands may give other numbers."]
    return lines


def _sentences(notes: Iterable[str]) -> list[str]:
    """The notes of models that cannot score what the protocol asks for."""
    told = dict.fromkeys(note for note in notes if note.startswith(NOT_APPLICABLE))
    return [line for note in told for line in ("", f"{note[0].upper()}{note[1:]}.")]


def _commands(commands: Sequence[str]) -> list[str]:
    head = "Command:" if len(commands) == 1 else "Commands:"
    return ["", head, "", "```sh", *commands, "```"]


def _seeds(number: int) -> str:
    return "one seed" if number == 1 else f"{number} seeds"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(numbers: int) -> str:
    return f"|:---|{'---:|' * numbers}"


def cut(lines: Sequence[str]) -> str:
    """Whole lines, as many as a tag holds."""
    kept: list[str] = []
    for line in lines:
        if sum(len(each) + 1 for each in kept) + len(line) > _LONGEST:
            break
        kept.append(line)
    return "\n".join(kept)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
