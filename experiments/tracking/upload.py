"""Uploading the run folders that the store has not seen."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from experiments.config.schema import TrackingConfig
from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder, find_runs
from experiments.tracking.address import absolute, without_password
from experiments.tracking.publishing import publish_or_warn
from experiments.tracking.store import reach


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


def upload_pending(
    runs_dir: str | Path, tracking: TrackingConfig, *, console: Console | None = None
) -> Uploads:
    """Upload every finished run folder that this store has not seen.

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
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        # Oldest first, so that the runs stand in MLflow in the order in which they were made.
        for folder in progress.track(pending[::-1]):
            if publish_or_warn(folder, tracking, store) is not None:
                uploaded += 1
            else:
                reach(tracking)
    return Uploads(uploaded, len(pending) - uploaded, len(folders) - len(pending))
