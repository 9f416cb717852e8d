"""Data sets as MLflow knows them: linked to runs by name and digest, and described once."""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.config.schema import TrackingConfig
from experiments.tracking.dashboard import key_of, view, write_page
from experiments.tracking.notes import view_links
from experiments.tracking.store import Store, connect, find_or_create_experiment, reason

_log = logging.getLogger(__name__)

_DIGEST_LENGTH = 36  # MLflow's limit

_VIEW = "Contents"
_COLUMNS = ("users", "items", "interactions", "density", "gini")
"""What the view of a data set's experiment shows of the facts."""


def link_dataset(
    client: Any,
    run_id: str,
    *,
    name: str,
    digest: str,
    context: str,
    profile: Mapping[str, Any] | None = None,
) -> None:
    """Enter a data set as an input of a run.

    Parameters
    ----------
    client : mlflow.MlflowClient
    run_id : str
    name : str
        The data set's.
    digest : str
        The content hash; MLflow keeps its first 36 characters.
    context : str
        What the run does with it, such as "training".
    profile : mapping or None
        Facts of the data set, which the dashboard shows beside it.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.exceptions import MlflowException

    dataset = Dataset(
        name=name,
        digest=digest[:_DIGEST_LENGTH],
        source_type="paddock",
        source=json.dumps({"content_hash": digest}),
        profile=None if profile is None else json.dumps(profile),
    )
    tag = InputTag("mlflow.data.context", context)
    inputs = [DatasetInput(dataset, [tag])]
    try:
        client.log_inputs(run_id, datasets=inputs)
    except MlflowException:
        # Two runs that enter one data set at once both find it missing, and the slower insert fails.
        client.log_inputs(run_id, datasets=inputs)


def log_inspection(
    tracking: TrackingConfig,
    *,
    name: str,
    digest: str,
    facts: Mapping[str, Any],
    files: Iterable[Path],
) -> str | None:
    """Keep the facts of a data set in the experiment <name>/data, once for each content.

    Parameters
    ----------
    tracking : TrackingConfig
    name, digest : str
        The data set's name and content hash.
    facts : mapping
        The numbers among them become metrics.
    files : iterable of Path
        What the run keeps as artifacts.

    Returns
    -------
    str or None
        The MLflow run id; None where there is no store or it fails, which is warned of.
    """
    if tracking.uri is None:
        return None
    try:
        return _log_inspection(
            connect(tracking), name=name, digest=digest, facts=facts, files=files
        )
    except Exception as error:
        _log.warning("The inspection was not tracked: %s.", reason(error, tracking))
        return None


def _log_inspection(
    store: Store, *, name: str, digest: str, facts: Mapping[str, Any], files: Iterable[Path]
) -> str:
    client = store.client
    with store.guard():
        experiment_id = find_or_create_experiment(store, dataset=name, protocol="data")
        found = client.search_runs(
            [experiment_id], f"tags.`paddock.dataset_hash` = '{digest}'", max_results=1
        )
        if found:
            return found[0].info.run_id
        run = client.create_run(
            experiment_id,
            tags={"paddock.kind": "inspection", "paddock.dataset_hash": digest},
            run_name=f"{name} {digest[:8]}",
        )
    run_id: str = run.info.run_id
    link_dataset(client, run_id, name=name, digest=digest, context="inspection", profile=facts)
    for fact, value in facts.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            client.log_metric(run_id, f"data/{fact}", value)
    for path in files:
        client.log_artifact(run_id, str(path))
    client.set_terminated(run_id)
    columns = [f"metrics.`data/{fact}`" for fact in _COLUMNS if fact in facts]
    views = {_VIEW: view("", columns, order="attributes.start_time")}
    link = view_links(f"#/experiments/{experiment_id}/runs", {_VIEW: key_of(_VIEW)})
    note = (
        f"Facts of the data set **{name}**, one run for each content, the newest first. View: {link}. "
        "Every run of <dataset>/<protocol> names the content that it read (tag `paddock.dataset_hash`)."
    )
    write_page(client, client.get_experiment(experiment_id), views, note)
    return run_id
