"""Making the store agree with a finished run folder."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from experiments.config.schema import TrackingConfig
from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder
from experiments.tracking.child import Child, open_child
from experiments.tracking.commands import upload_command
from experiments.tracking.dashboard import arrange
from experiments.tracking.mlflow_import import patient
from experiments.tracking.model import link_model
from experiments.tracking.parent import refresh_parent
from experiments.tracking.points import milliseconds, missing, points_of, send_points
from experiments.tracking.store import Store, connect, reason
from experiments.tracking.system import system_points

_log = logging.getLogger(__name__)

_ARTIFACTS = ("config.yaml", "run.json", "result.json", "per_user.parquet", "model")


def publish(folder: RunFolder, tracking: TrackingConfig) -> str | None:
    """Make the store agree with a finished run folder; a second time changes nothing.

    Returns
    -------
    str or None
        The MLflow run id. None where `tracking.uri` is null, and where the store failed: a warning
        then says which command uploads later, and no published.json is written.
    """
    return publish_or_warn(folder, tracking)


def publish_or_warn(
    folder: RunFolder,
    tracking: TrackingConfig,
    store: Store | None = None,
    child: Child | None = None,
) -> str | None:
    """`publish`, with the store and the child run that the caller has open."""
    if tracking.uri is None:
        return None
    try:
        return _publish(folder, store or connect(tracking), child)
    except Exception as error:
        _log.warning(
            "The run is complete in %s but was not uploaded: %s. Upload it later with: %s",
            folder.path,
            reason(error, tracking),
            upload_command(folder, tracking),
        )
        return None


def _publish(folder: RunFolder, store: Store, child: Child | None) -> str:
    if not folder.finished:
        raise PaddockError(f"{folder.path} is not finished")
    points = points_of(folder) + system_points(folder)
    child = child or store.settled(partial(open_child, store, folder))
    unsent = missing(points, child.logged)
    if unsent is None:
        # MLflow deletes no single value, so a run that contradicts the folder is made anew.
        # `refresh_parent` removes the other one, once this one is complete.
        child = store.settled(partial(open_child, store, folder, fresh=True))
        unsent = points
    send_points(store.client, child.run_id, unsent)
    with patient():
        _send_artifacts(store.client, child.run_id, folder.path)
    link_model(store.client, store.client.get_run(child.run_id), folder.run)
    store.client.set_terminated(child.run_id, "FINISHED", milliseconds(folder.run["finished"]))
    parent_id = store.settled(partial(_gather, store, folder, child))
    folder.write_published(child.whereabouts(store, parent_id))
    return child.run_id


def _gather(store: Store, folder: RunFolder, child: Child) -> str:
    """Bring what the seeds share up to date: their parent, and the page of the experiment."""
    with store.guard():
        parent_id = refresh_parent(
            store, folder, experiment_id=child.experiment_id, child_id=child.run_id
        )
        arrange(store, child.experiment_id)
    return parent_id


def _send_artifacts(client: Any, run_id: str, path: Path) -> None:
    for name in _ARTIFACTS:
        if (path / name).is_dir():
            client.log_artifacts(run_id, str(path / name), name)
        elif (path / name).is_file():
            client.log_artifact(run_id, str(path / name))
