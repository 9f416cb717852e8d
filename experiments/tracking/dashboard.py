"""The arrangement of MLflow's dashboard: an experiment's description and its saved views.

A saved view holds filter, order and columns of the table of runs. MLflow keeps it as a tag of the
experiment, lists it in its menu "Views", and opens it by the key in an address.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.config.metric_names import leading
from experiments.runs.compare import (
    RECBOLE,
    Comparable,
    Configuration,
    Run,
    by_metric,
    comparable,
    notes_of,
)
from experiments.tracking.notes import COSTS, experiment_note, note_tags, shown_metrics
from experiments.tracking.store import Store

VIEWS = {"Leaderboard": "paddock-leaderboard", "Seeds": "paddock-seeds"}
"""Title -> key."""

_VIEW_TAG = "mlflow.sharedViewState."
_PARENTS = "tags.`paddock.kind` = 'parent'"
_MOST_ROWS = 15
_RUN_NAME_WIDTH, _WIDTH = 150, 130


def arrange(store: Store, experiment_id: str) -> None:
    """Bring the description and the views of an experiment up to date with its parent runs."""
    client = store.client
    experiment = client.get_experiment(experiment_id)
    lead = _leading_metric(client, experiment_id)
    if lead is None:
        return
    shown = _best(client, experiment_id, lead)
    reported = {name for each in shown for name in each.runs[0].metrics}
    note = experiment_note(experiment.name, experiment_id, shown, VIEWS, lead=lead)
    wanted = {
        **_views(reported, lead=lead, created=experiment.creation_time),
        **note_tags(note, experiment.tags),
    }
    for key, value in wanted.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment_id, key, value)


def _leading_metric(client: Any, experiment_id: str) -> str | None:
    """What the leaderboard is sorted by: the metric that chose the epochs, in the test."""
    newest = client.search_runs([experiment_id], _PARENTS, max_results=1)
    if not newest:
        return None
    run = _run(newest[0])
    if (selecting := f"test/{run.selecting}") in run.metrics:
        return selecting
    return next((leading(each, selecting) for each in shown_metrics(run.metrics).values()), None)


def _best(client: Any, experiment_id: str, lead: str) -> list[Configuration[Run]]:
    """The best configurations, the best first, that answer the question most of them answer."""
    found = _compared(client, experiment_id, _PARENTS, lead)
    if found.left_out:
        # Those that answer another question may have pushed others off the page.
        same = [f"tags.`paddock.{name}_hash` = '{value}'" for name, value in found.question.items()]
        found = _compared(client, experiment_id, " and ".join([_PARENTS, *same]), lead)
    return by_metric(found.configurations, lead)


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
        notes=notes_of(tags),
    )


def _views(reported: Iterable[str], *, lead: str, created: int) -> dict[str, str]:
    """By tag, the leaderboard of parents, and all runs with the seeds under their parents."""
    reported = set(reported)
    tables = shown_metrics(reported)
    metrics = [metric for names in tables.values() for metric in names]
    deviations = {f"{names[0]}_std" for names in tables.values()} & set(reported)
    shown: list[str] = []
    for metric in metrics:
        shown += [metric, f"{metric}_std"] if f"{metric}_std" in deviations else [metric]
    costs = [name for name in COSTS if name in reported]
    columns = [
        *(f"metrics.`{name}`" for name in [*shown, "seeds", *costs]),
        "attributes.`Dataset`",
        "attributes.`Models`",
    ]
    facets = {
        "searchFilter": _PARENTS,
        "orderByKey": f"metrics.`{lead}`",
        "orderByAsc": False,
    }
    nested = {"searchFilter": "", "orderByKey": "attributes.start_time", "orderByAsc": False}
    made = {
        title: {
            **asked,
            "lifecycleFilter": "Active",
            "startTime": "ALL",
            "selectedColumns": columns,
            "columnOrder": ["attributes.`Run Name`", *columns],
            "columnWidths": {
                "attributes.`Run Name`": _RUN_NAME_WIDTH,
                **dict.fromkeys(columns, _WIDTH),
            },
        }
        for title, asked in zip(VIEWS, (facets, nested), strict=True)
    }
    return {
        f"{_VIEW_TAG}{key}": _envelope(title, made[title], created=created)
        for title, key in VIEWS.items()
    }


def _envelope(title: str, state: Mapping[str, Any], *, created: int) -> str:
    return json.dumps(
        {"name": title, "createdAt": created, "updatedAt": created, "state": json.dumps(state)}
    )
