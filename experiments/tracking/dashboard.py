"""The arrangement of MLflow's dashboard: an experiment's description and its saved views.

A saved view holds filter, order and columns of the table of runs. MLflow keeps it as a tag of the
experiment, lists it in its menu "Views", and opens it by the key in an address.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.config.metric_names import leading
from experiments.runs.compare import Comparable, by_metric, comparable
from experiments.runs.configuration import RECBOLE, Run, notes_of
from experiments.tracking.describe import COLLAPSED, REFITTED
from experiments.tracking.notes import (
    COSTS,
    SEEDS,
    column,
    experiment_note,
    note_tags,
    shown_metrics,
)
from experiments.tracking.store import Store

VIEWS = ("Leaderboard", "Refitted", "Seeds")
"""Titles of the views of an experiment's runs."""

PARENTS = "tags.`paddock.kind` = 'parent'"

_VIEW_TAG = "mlflow.sharedViewState."
_MOST_ROWS = 15
_RUN_NAME_WIDTH, _WIDTH = 150, 130


def arrange(store: Store, experiment_id: str) -> None:
    """Bring the description and the views of an experiment up to date with its parent runs."""
    client = store.client
    experiment = client.get_experiment(experiment_id)
    lead = _leading_metric(client, experiment_id)
    if lead is None:
        return
    found = _best(client, experiment_id, lead)
    reported = {
        name for each in (*found.configurations, *found.apart) for name in each.runs[0].metrics
    }
    note = experiment_note(
        experiment.name, experiment_id, found, {each: key_of(each) for each in VIEWS}, lead=lead
    )
    write_page(client, experiment, _views(reported, lead=lead), note)


def write_page(client: Any, experiment: Any, views: Mapping[str, str], note: str) -> None:
    """Write an experiment's views and its description where they differ from what is there.

    Parameters
    ----------
    client : mlflow.MlflowClient
    experiment : mlflow.entities.Experiment
    views : mapping
        Title -> what `view` gives, under the key that `key_of` gives.
    note : str
        Markdown.
    """
    made = experiment.creation_time
    wanted = {
        **{f"{_VIEW_TAG}{key_of(t)}": _envelope(t, s, created=made) for t, s in views.items()},
        **note_tags(note, experiment.tags),
    }
    for key, value in wanted.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)


def _leading_metric(client: Any, experiment_id: str) -> str | None:
    """What the leaderboard is sorted by: the metric that chose the epochs, in the test."""
    newest = client.search_runs([experiment_id], PARENTS, max_results=1)
    if not newest:
        return None
    run = _run(newest[0])
    if (selecting := f"test/{run.selecting}") in run.metrics:
        return selecting
    return next((leading(each, selecting) for each in shown_metrics(run.metrics).values()), None)


def _best(client: Any, experiment_id: str, lead: str) -> Comparable[Run]:
    """The best configurations, the best first, that answer the question most of them answer."""
    found = _compared(client, experiment_id, PARENTS, lead)
    if found.left_out:
        # Those that answer another question may have pushed others off the page.
        same = [f"tags.`paddock.{name}_hash` = '{value}'" for name, value in found.question.items()]
        fuller = _compared(client, experiment_id, " and ".join([PARENTS, *same]), lead)
        found = replace(fuller, left_out=found.left_out)
    return replace(
        found,
        configurations=by_metric(found.configurations, lead),
        apart=by_metric(found.apart, lead),
    )


def _compared(client: Any, experiment_id: str, query: str, lead: str) -> Comparable[Run]:
    order = [f"metrics.`{lead}` DESC", "attributes.start_time ASC"]
    page = client.search_runs([experiment_id], query, order_by=order, max_results=_MOST_ROWS)
    return comparable(map(_run, page))


def _run(parent: Any) -> Run:
    """A parent run as what stands for its configuration: its metrics are means over seeds."""
    tags, params = parent.data.tags, parent.data.params
    return Run(
        run_id=parent.info.run_id,
        model=parent.info.run_name,
        seed=0,
        config_hash=tags.get("paddock.config_hash", ""),
        started=parent.info.start_time,
        question={
            key.removeprefix("paddock.").removesuffix("_hash"): value
            for key, value in sorted(tags.items())
            if key.startswith("paddock.") and key.endswith("_hash") and key != "paddock.config_hash"
        },
        selecting=params.get("protocol.valid_metric", ""),
        metrics=parent.data.metrics,
        params=params,
        dirty=tags.get("paddock.dirty") == "true",
        inputs=params.get("protocol.inputs", RECBOLE),
        refitted=params.get("protocol.refit") == "valid",
        mechanics_only=tags.get("paddock.mechanics_only") == "true",
        notes=(*filter(None, [tags.get(COLLAPSED)]), *notes_of(tags)),
    )


def _views(reported: Iterable[str], *, lead: str) -> dict[str, str]:
    """The leaderboard, that of refitted models, and all runs with the seeds under their parents.

    Accuracy stands before the cost, both as rounded tags, which MLflow's table shows as they are; the
    order is that of the exact metric.
    """
    reported = set(reported)
    accuracy = [column(name) for names in shown_metrics(reported).values() for name in names]
    costs = [column(name) for name in COSTS if name in reported]
    columns = [
        *(f"tags.`{name}`" for name in [*accuracy, SEEDS, *costs]),
        "attributes.`Dataset`",
        "attributes.`Models`",
    ]
    best = f"metrics.`{lead}`"
    queries = (
        (f"{PARENTS} AND tags.`{REFITTED}` IS NULL", best),
        (f"{PARENTS} AND tags.`{REFITTED}` = 'true'", best),
        ("", "attributes.start_time"),
    )
    return {
        title: view(query, columns, order=order)
        for title, (query, order) in zip(VIEWS, queries, strict=True)
    }


def key_of(title: str) -> str:
    """The key of a saved view."""
    return f"paddock-{title.lower().replace(' ', '-')}"


def view(query: str, columns: Sequence[str], *, order: str) -> str:
    """The state of MLflow's table of runs, as a saved view keeps it.

    Parameters
    ----------
    query : str
        Which runs; "" for all.
    columns : sequence of str
        Such as "tags.`seeds`", behind the run's name.
    order : str
        By what the rows are sorted, the highest first.
    """
    return json.dumps(
        {
            "searchFilter": query,
            "orderByKey": order,
            "orderByAsc": False,
            "lifecycleFilter": "Active",
            "startTime": "ALL",
            "selectedColumns": list(columns),
            "columnOrder": ["attributes.`Run Name`", *columns],
            "columnWidths": {
                "attributes.`Run Name`": _RUN_NAME_WIDTH,
                **dict.fromkeys(columns, _WIDTH),
            },
        }
    )


def _envelope(title: str, state: str, *, created: int) -> str:
    return json.dumps({"name": title, "createdAt": created, "updatedAt": created, "state": state})
