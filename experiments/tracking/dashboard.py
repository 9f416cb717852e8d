"""The arrangement of MLflow's dashboard: an experiment's description and its saved views.

A saved view holds filter, order and columns of the table of runs. MLflow keeps it as a tag of the
experiment, lists it in its menu "Views", and opens it by the key in an address.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.tracking.columns import COSTS, leading_metric, shown_metrics
from experiments.tracking.notes import experiment_note, note_tags
from experiments.tracking.store import Store

VIEWS = {"Leaderboard": "paddock-leaderboard", "Seeds": "paddock-seeds"}
"""Title -> key."""

_VIEW_TAG = "mlflow.sharedViewState."
_MOST_ROWS = 15
_RUN_NAME_WIDTH, _WIDTH = 150, 130


def arrange(store: Store, experiment_id: str) -> None:
    """Bring the description and the views of an experiment up to date with its parent runs."""
    client = store.client
    experiment = client.get_experiment(experiment_id)
    parents = _parents(client, experiment_id)
    if not parents:
        return
    reported = {name for each in parents for name in each.data.metrics}
    note = experiment_note(experiment.name, experiment_id, parents, VIEWS)
    wanted = {
        **_views(reported, created=experiment.creation_time),
        **note_tags(note, experiment.tags),
    }
    for key, value in wanted.items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment_id, key, value)


def _parents(client: Any, experiment_id: str) -> list[Any]:
    """The best parent runs, the best first, of those that answer the question most of them answer."""
    query = "tags.`paddock.kind` = 'parent'"
    newest = client.search_runs([experiment_id], query, max_results=1)
    metric = leading_metric(newest[0].data.metrics) if newest else None
    if metric is None:
        return []
    order = [f"metrics.`{metric}` DESC", "attributes.start_time ASC"]
    found = list(client.search_runs([experiment_id], query, order_by=order, max_results=_MOST_ROWS))
    asked = Counter(_question(each) for each in found)
    shown = max(asked, key=lambda question: asked[question])
    return [each for each in found if _question(each) == shown]


def _question(parent: Any) -> tuple[tuple[str, str], ...]:
    """The hashes that two rows share which compare."""
    return tuple(
        sorted(
            (key, value)
            for key, value in parent.data.tags.items()
            if key.endswith("_hash") and key != "paddock.config_hash"
        )
    )


def _views(reported: Iterable[str], *, created: int) -> dict[str, str]:
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
        "searchFilter": "tags.`paddock.kind` = 'parent'",
        "orderByKey": f"metrics.`{metrics[0]}`",
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
