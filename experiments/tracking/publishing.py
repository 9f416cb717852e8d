"""Making the store agree with finished run folders: with one, or with all that it has not seen."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from experiments.address import TRACKING_URI, absolute
from experiments.config.schema import Config, TrackingConfig
from experiments.errors import PaddockError
from experiments.integrity import Damaged
from experiments.passwords import without_password
from experiments.paths import program
from experiments.runs.configuration import STAGES, USERS_HASH
from experiments.runs.folder import RunFolder, find_runs
from experiments.terminal import make_console
from experiments.tracking.child import Child, open_child
from experiments.tracking.dashboard import arrange
from experiments.tracking.describe import REFITTED, link_model
from experiments.tracking.notes import child_note, displayed, note_tags, unscored
from experiments.tracking.package import can_be_packaged, packaged
from experiments.tracking.parent import refresh_parent
from experiments.tracking.points import milliseconds, missing, points_of, send_points
from experiments.tracking.store import Store, artifact_timeout, connect, override, reach, reason
from experiments.tracking.system import system_points

_log = logging.getLogger(__name__)

_ARTIFACTS = ("config.yaml", "run.json", "result.json", "per_user.parquet", "model")


@dataclass(frozen=True)
class Uploads:
    """How many run folders were uploaded, failed to upload, and had been uploaded before."""

    uploaded: int
    failed: int
    already: int


def is_published(folder: RunFolder, tracking: TrackingConfig) -> bool:
    """Whether the store has the whole run, as far as the folder knows; True where there is none."""
    if tracking.uri is None:
        return True
    return folder.published.get("tracking_uri") == without_password(absolute(tracking.uri))


def publish(
    folder: RunFolder,
    tracking: TrackingConfig,
    store: Store | None = None,
    child: Child | None = None,
) -> str | None:
    """Make the store agree with a finished run folder; a second time changes nothing.

    Parameters
    ----------
    folder : RunFolder
        Its published.json is written.
    tracking : TrackingConfig
    store : Store or None
        The store, where the caller has it open.
    child : Child or None
        The folder's MLflow run, where the caller has it open.

    Returns
    -------
    str or None
        The MLflow run id. None where `tracking.uri` is null, and where the store failed: a warning
        then names the command that uploads later, and no published.json is written.
    """
    if tracking.uri is None:
        return None
    try:
        return _publish(folder, store or connect(tracking), child, model=tracking.model)
    except Damaged as error:
        _log.warning("Not uploaded: %s", error)
        return None
    except Exception as error:
        _log.warning(
            "The run is complete in %s but was not uploaded: %s. Upload it later with: %s",
            folder.path,
            reason(error, tracking),
            _upload_command(folder, tracking),
        )
        return None


def upload_pending(
    runs_dir: str | Path, tracking: TrackingConfig, *, console: Console | None = None
) -> Uploads:
    """Upload every finished run folder that the store has not seen.

    Parameters
    ----------
    runs_dir : str or Path
    tracking : TrackingConfig
    console : Console or None
        Where the bar is drawn; standard error if None.

    Raises
    ------
    PaddockError
        The store cannot be reached, or there is none.
    """
    if tracking.uri is None:
        raise PaddockError("tracking.uri is null: name the store that the runs are uploaded to.")
    folders = find_runs(runs_dir, finished=True)
    pending = [folder for folder in folders if not is_published(folder, tracking)]
    store = reach(tracking)
    uploaded = 0
    columns = (TextColumn("uploading"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console or make_console(stderr=True)) as progress:
        # Oldest first, so that the runs stand in MLflow in the order in which they were made.
        for folder in progress.track(pending[::-1]):
            if folder.reaching_out() is None:
                folder.clean()
            if publish(folder, tracking, store) is not None:
                uploaded += 1
            else:
                reach(tracking)
    return Uploads(uploaded, len(pending) - uploaded, len(folders) - len(pending))


def _publish(folder: RunFolder, store: Store, child: Child | None, *, model: bool) -> str:
    if (place := folder.reaching_out()) is not None:
        raise Damaged(
            f"{place} is a link, a pipe or a device, and nothing outside of a run's folder is sent: "
            "put a copy of the file in its place, or remove it"
        )
    if not folder.finished:
        raise PaddockError(f"{folder.path} is not finished")
    folder.verify()
    points = points_of(folder) + system_points(folder)
    child = child or store.retried(partial(open_child, store, folder))
    unsent = missing(points, child.logged)
    if unsent is None:
        # MLflow deletes no single value, so a run that contradicts the folder is made anew.
        # `refresh_parent` removes the other one, once this one is complete.
        child = store.retried(partial(open_child, store, folder, fresh=True))
        unsent = points
    send_points(store.client, child.run_id, unsent)
    store.retried(partial(_describe, store.client, child.run_id, folder))
    with artifact_timeout():
        _send_artifacts(store.client, child.run_id, folder.path)
        if model and can_be_packaged(folder.run):
            with packaged(folder, run_id=child.run_id) as made:
                store.client.log_artifacts(child.run_id, str(made), "model")
    if (folder.path / "model").is_dir():  # one that could score nothing was not trained
        link_model(store.client, store.client.get_run(child.run_id), folder.run)
    store.client.set_terminated(child.run_id, "FINISHED", milliseconds(folder.run["finished"]))
    parent_id = store.retried(partial(_gather, store, folder, child))
    folder.write_published(child.identifiers(store, parent_id))
    return child.run_id


def _describe(client: Any, run_id: str, folder: RunFolder) -> None:
    """The tags that are known at the end alone: notes, rounded numbers, stages, the description."""
    stored, run = client.get_run(run_id).data, folder.run
    note = child_note(run, stored.metrics, refitted=REFITTED in stored.tags)
    tags = {
        # What the model reads at test.
        **run["tags"],
        **unscored(run),
        **displayed(stored.metrics),
        STAGES: json.dumps(_first_steps(folder.curve)),
        **_users_hash(run),
        **note_tags(note, stored.tags),
    }
    for name, value in tags.items():
        client.set_tag(run_id, name, value)


def _first_steps(curve: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Stage -> the step of its first epoch, in the order of the stages."""
    first: dict[str, int] = {}
    for record in curve:
        first.setdefault(record["stage"], record["step"])
    return first


def _users_hash(run: Mapping[str, Any]) -> dict[str, str]:
    """The hash by which a reader of the store tells this run's table of users from any other file.

    Runs of earlier versions state none.
    """
    written = run.get("files", {}).get("per_user.parquet")
    return {USERS_HASH: written["sha256"]} if written else {}


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


def _upload_command(folder: RunFolder, tracking: TrackingConfig) -> str:
    """The command that uploads `folder`, and what waits beside it, to the store of `tracking`."""
    default = TrackingConfig()
    command = [*program("run"), "mode=upload"]
    runs_dir = folder.path.parents[3] if len(folder.path.parents) > 3 else Path(Config.runs_dir)
    if str(runs_dir) != Config.runs_dir:
        command.append(override("runs_dir", str(runs_dir)))
    # The environment may name another store in the shell that the command is typed into, or here.
    if tracking.uri != default.uri or os.environ.get(TRACKING_URI):
        command.append(override("tracking.uri", without_password(str(tracking.uri))))
    if tracking.artifacts != default.artifacts:
        command.append(override("tracking.artifacts", str(tracking.artifacts)))
    return " ".join(command)
