"""MLflow as a projection of the run folders.

A run folder is the truth. What is sent to MLflow can be sent again from the folder at any time, so
training depends on no store being reachable: `Tracker` shows a run while it trains and gives up
quietly, `publish` makes the store agree with a finished folder, `upload_pending` does so for all
folders that no store has seen.

One MLflow experiment holds one data set under one protocol. In it, a parent run stands for one
config_hash and carries mean and standard deviation over the seeds, which are its child runs.

MLflow is imported inside functions: the import takes seconds that a command which tracks nothing
must not pay.
"""

import json
import logging
import math
import os
import re
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from experiments.config import Config, TrackingConfig
from experiments.errors import PaddockError
from experiments.files import lock
from experiments.run_folder import RunFolder, find_runs

_log = logging.getLogger(__name__)

# MLflow's own limits, per value and per call.
_PARAM_LENGTH, _TAG_LENGTH, _KEY_LENGTH = 6000, 8000, 250
_PARAMS_PER_CALL, _METRICS_PER_CALL = 100, 1000

_ARTIFACTS = ("config.yaml", "run.json", "result.json", "per_user.parquet", "model")
_DEFAULT_ARTIFACTS = "mlartifacts"
_LOCK_SECONDS = 60
_PROBE_SECONDS = 5
_ARTIFACT_SECONDS = "120"
_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"

# What the user set in the environment wins. MLflow's own defaults retry for minutes, and it prints
# a line per run, logs its schema migrations, and reports usage.
_ENVIRONMENT = {
    _TIMEOUT: "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_set_here: set[str] = set()

# Name, value, timestamp in milliseconds, step.
Point = tuple[str, float, int, int]


class Tracker:
    """Shows one run in MLflow while it trains. No method raises because of the store.

    Parameters
    ----------
    tracking : TrackingConfig
    folder : RunFolder
    flush_seconds : float
        Epochs are sent together, at most this often.

    Attributes
    ----------
    seconds : float
        The time spent in here, the import of MLflow included.
    """

    def __init__(
        self, tracking: TrackingConfig, folder: RunFolder, *, flush_seconds: float = 5.0
    ) -> None:
        self.tracking = tracking
        self.folder = folder
        self.flush_seconds = flush_seconds
        self.seconds = 0.0
        self._store: _Store | None = None
        self._child: _Child | None = None
        self._waiting: list[Point] = []
        self._flushed_at = time.monotonic()

    @property
    def online(self) -> bool:
        return self._child is not None

    def start(self) -> None:
        """Open the experiment, the parent and the child run, or the child that a kill left open."""
        if self.tracking.uri is None:
            return
        with self._tolerant():
            store = _connect(self.tracking)
            self._child = _open_child(store, self.folder)
            self._store = store
        self._flushed_at = time.monotonic()

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Take one line of curve.jsonl. A step that was sent before a kill is not sent again."""
        if self._child is None:
            return
        with self._tolerant():
            logged = self._child.logged
            points = _curve_points(record, _now())
            self._waiting += [point for point in points if (point[0], point[3]) not in logged]
            if time.monotonic() - self._flushed_at >= self.flush_seconds:
                self._flush()

    def fail(self, status: str = "FAILED") -> None:
        """Close the run as FAILED or KILLED; `start` opens it again."""
        if self._store is None or self._child is None:
            return
        with self._tolerant():
            self._flush()
            self._store.client.set_terminated(self._child.run_id, status)

    def finish(self) -> str | None:
        """Publish the finished folder. Returns the MLflow run id, or None where that failed."""
        begun = time.perf_counter()
        try:
            return _publish_or_warn(self.folder, self.tracking, self._store, self._child)
        finally:
            self.seconds += time.perf_counter() - begun

    def _flush(self) -> None:
        assert self._store is not None
        assert self._child is not None
        if self._waiting:
            _log_points(self._store.client, self._child.run_id, self._waiting)
            self._child.remember(self._waiting)
            self._waiting = []
        self._flushed_at = time.monotonic()

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        except Exception as error:
            # A request that failed may have arrived all the same: nothing remembered about the
            # child run holds any longer, and `finish` reads it back.
            self._store, self._child, self._waiting = None, None, []
            _log.warning(
                "Tracking is paused: %s. Training goes on, every number stays in %s, and the upload "
                "is tried again at the end.",
                _reason(error, self.tracking),
                self.folder.path,
            )
        finally:
            self.seconds += time.perf_counter() - begun


def publish(folder: RunFolder, tracking: TrackingConfig) -> str | None:
    """Make the store agree with a finished run folder; a second time changes nothing.

    Returns
    -------
    str or None
        The MLflow run id. None where `tracking.uri` is null, and where the store failed: a warning
        then says which command uploads later, and no published.json is written.
    """
    return _publish_or_warn(folder, tracking, None, None)


@dataclass(frozen=True)
class Uploads:
    """How many run folders were uploaded, failed to upload, and had been uploaded before."""

    uploaded: int
    failed: int
    already: int


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
    shown = _without_password(_address(tracking.uri))
    folders = find_runs(runs_dir, finished=True)
    pending = [folder for folder in folders if folder.published.get("tracking_uri") != shown]
    store = _reach(tracking)
    uploaded = 0
    columns = (TextColumn("uploading"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        # Oldest first, so that the runs stand in MLflow in the order in which they were made.
        for folder in progress.track(pending[::-1]):
            if _publish_or_warn(folder, tracking, store, None) is not None:
                uploaded += 1
            else:
                _reach(tracking)
    return Uploads(uploaded, len(pending) - uploaded, len(folders) - len(pending))


def ui_command(tracking: TrackingConfig) -> str:
    """The line that opens the dashboard: a command, or a server's address."""
    if tracking.uri is None:
        return "python run.py mode=leaderboard"
    if _is_remote(tracking.uri):
        return _without_password(tracking.uri)
    return f"mlflow ui --backend-store-uri {shlex.quote(_without_password(tracking.uri))}"


def preload(tracking: TrackingConfig) -> threading.Thread | None:
    """Import MLflow in a thread, to hide its seconds behind the preparation of the data."""
    if tracking.uri is None:
        return None

    thread = threading.Thread(
        target=_load_mlflow, args=[str(tracking.uri)], name="mlflow-import", daemon=False
    )
    thread.start()
    return thread


# The store ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Store:
    """An open store.

    Attributes
    ----------
    client : mlflow.MlflowClient
    uri : str
        The address without its password: the form that is written down.
    guard : callable
        A lock against other processes, for a SQLite file. A server or a database has none that all
        its clients share.
    exclusive : bool
        Whether `guard` locks.
    """

    client: Any
    uri: str
    guard: Callable[[], AbstractContextManager[Any]]
    exclusive: bool
    artifacts: str | None


def _connect(tracking: TrackingConfig) -> _Store:
    uri = _address(str(tracking.uri))
    database = _sqlite_file(uri)
    guard: Callable[[], AbstractContextManager[Any]] = nullcontext
    if database is not None:
        beside = database.with_name(database.name + ".lock")
        guard = partial(lock, beside, timeout=_LOCK_SECONDS)
    if uri.startswith(("http://", "https://")):
        _probe(uri)
    mlflow = _load_mlflow(uri)
    # The first client creates the schema, by some seventy migrations: one process at a time.
    with guard():
        client = mlflow.MlflowClient(tracking_uri=uri)
    artifacts = tracking.artifacts or (None if _is_remote(uri) else _DEFAULT_ARTIFACTS)
    return _Store(client, _without_password(uri), guard, database is not None, artifacts)


def _reach(tracking: TrackingConfig) -> _Store:
    """Connect and ask one question, so that a store out of reach is told from a bad folder."""
    try:
        store = _connect(tracking)
        store.client.search_experiments(max_results=1)
    except Exception as error:
        shown = _without_password(str(tracking.uri))
        raise PaddockError(
            f"The tracking store {shown} cannot be reached: {_reason(error, tracking)}."
        ) from error
    return store


def _load_mlflow(uri: str) -> Any:
    for name, value in _ENVIRONMENT.items():
        # A process started by another run inherits what that one set.
        if os.environ.setdefault(name, value) == value:
            _set_here.add(name)
    import mlflow

    if "MLFLOW_LOGGING_LEVEL" in _set_here:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    # One line per retry otherwise; the last failure is told in words of our own.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    if not _is_remote(uri):
        # Half of the import's time, which MLflow would spend on opening the store: under our lock.
        import mlflow.store.tracking.sqlalchemy_store
    return mlflow


def _probe(uri: str) -> None:
    """Refuse a server that does not answer, sooner than MLflow's retries would.

    Any answer will do, a refusal included: what it means is for MLflow to say.
    """
    import requests

    try:
        requests.get(uri.rstrip("/") + "/health", timeout=_PROBE_SECONDS)
    except requests.exceptions.SSLError:
        return
    except (requests.ConnectionError, requests.Timeout) as error:
        raise ConnectionError(f"no answer from {_without_password(uri)}") from error


@contextmanager
def _patient() -> Iterator[None]:
    """A longer time limit while files are sent: a server may pass them on before it answers."""
    if _TIMEOUT not in _set_here:
        yield
        return
    os.environ[_TIMEOUT] = _ARTIFACT_SECONDS
    try:
        yield
    finally:
        os.environ[_TIMEOUT] = _ENVIRONMENT[_TIMEOUT]


def _is_remote(uri: str) -> bool:
    """Whether a server stands between this process and the store, and keeps the artifacts."""
    return uri.startswith(("http://", "https://", "databricks"))


def _sqlite_file(uri: str) -> Path | None:
    if not uri.startswith("sqlite") or ":///" not in uri:
        return None
    name = uri.split(":///", 1)[1].split("?", 1)[0]
    return None if name in ("", ":memory:") else Path(name).absolute()


def _address(uri: str) -> str:
    """`uri` with a SQLite file's path made absolute: the name of one store, from any folder."""
    database = _sqlite_file(uri)
    if database is None:
        return uri
    head, rest = uri.split(":///", 1)
    query = "?" + rest.split("?", 1)[1] if "?" in rest else ""
    return f"{head}:///{database}{query}"


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{host}"))


# Publishing ---------------------------------------------------------------------------------------


@dataclass
class _Child:
    """One seed's MLflow run, and what it holds: the values by metric and step."""

    run_id: str
    experiment_id: str
    logged: dict[tuple[str, int], list[float]] = field(default_factory=dict)

    def remember(self, points: Iterable[Point]) -> None:
        for name, value, _, step in points:
            self.logged.setdefault((name, step), []).append(value)


def _publish_or_warn(
    folder: RunFolder, tracking: TrackingConfig, store: _Store | None, child: _Child | None
) -> str | None:
    if tracking.uri is None:
        return None
    try:
        return _publish(folder, store or _connect(tracking), child)
    except Exception as error:
        _log.warning(
            "The run is complete in %s but was not uploaded: %s. Upload it later with: %s",
            folder.path,
            _reason(error, tracking),
            _upload_command(folder, tracking),
        )
        return None


def _publish(folder: RunFolder, store: _Store, child: _Child | None) -> str:
    if not folder.finished:
        raise PaddockError(f"{folder.path} is not finished")
    points = _all_points(folder)
    child = child or _open_child(store, folder)
    missing = _missing(points, child.logged)
    if missing is None:
        # MLflow deletes no single value, so a run that contradicts the folder is made anew.
        # `_refresh_parent` removes the other one, once this one is complete.
        child, missing = _open_child(store, folder, fresh=True), points
    _log_points(store.client, child.run_id, missing)
    with _patient():
        _log_artifacts(store.client, child.run_id, folder.path)
    store.client.set_terminated(child.run_id, "FINISHED", _milliseconds(folder.run["finished"]))
    with store.guard():
        parent_id = _refresh_parent(store, folder, child)
    folder.write_published(_whereabouts(store, child) | {"parent_run_id": parent_id})
    return child.run_id


def _all_points(folder: RunFolder) -> list[Point]:
    """Everything numeric that MLflow shall hold for one run.

    The curve goes first. The final metrics follow one step after its last: MLflow shows the value
    at the highest step as a run's own, which for `valid/...` is the selected epoch's and not the
    last epoch's.
    """
    run, result, curve = folder.run, folder.result, folder.curve
    begun, ended = _milliseconds(run["started"]), _milliseconds(run["finished"])
    points: list[Point] = []
    elapsed = 0.0
    for record in curve:
        elapsed += record.get("seconds") or 0.0
        points += _curve_points(record, min(begun + round(1000 * elapsed), ended))
    final: dict[str, Any] = dict(result["metrics"])
    for phase, cost in result.get("phases", {}).items():
        final[f"time/{phase}_seconds"] = cost.get("seconds")
        final[f"memory/{phase}_peak_mb"] = cost.get("peak_memory_mb")
    final["best_epoch"] = result.get("best_epoch")
    final["params_trained"] = run.get("params_trained")
    last = max((record["step"] for record in curve), default=-1)
    return points + _curve_points({"metrics": final, "step": last + 1}, ended)


def _curve_points(record: Mapping[str, Any], timestamp: int) -> list[Point]:
    return [
        (name, float(value), timestamp, int(record["step"]))
        for name, value in record["metrics"].items()
        if value is not None
    ]


def _missing(
    points: Sequence[Point], logged: Mapping[tuple[str, int], list[float]]
) -> list[Point] | None:
    """The points that were not logged, or None where those that were contradict `points`.

    They do where a killed run was resumed from an earlier epoch and took another course.
    """
    expected = {(name, step): value for name, value, _, step in points}
    for key, values in logged.items():
        if key not in expected or len(values) > 1 or not _same(values[0], expected[key]):
            return None
    return [point for point in points if (point[0], point[3]) not in logged]


def _same(left: float, right: float) -> bool:
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    # SQL stores keep an infinity as the largest float.
    largest = np.finfo(float).max
    clipped = np.clip([left, right], -largest, largest)
    return math.isclose(clipped[0], clipped[1], rel_tol=1e-9)


def _log_points(client: Any, run_id: str, points: Sequence[Point]) -> None:
    from mlflow.entities import Metric

    for start in range(0, len(points), _METRICS_PER_CALL):
        chunk = points[start : start + _METRICS_PER_CALL]
        client.log_batch(run_id, metrics=[Metric(*point) for point in chunk])


def _log_params(client: Any, run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    entities = [Param(name, value) for name, value in params.items()]
    for start in range(0, len(entities), _PARAMS_PER_CALL):
        client.log_batch(run_id, params=entities[start : start + _PARAMS_PER_CALL])


def _log_artifacts(client: Any, run_id: str, path: Path) -> None:
    for name in _ARTIFACTS:
        if (path / name).is_dir():
            client.log_artifacts(run_id, str(path / name), name)
        elif (path / name).is_file():
            client.log_artifact(run_id, str(path / name))


# Experiment, parent and child ---------------------------------------------------------------------


def _open_child(store: _Store, folder: RunFolder, *, fresh: bool = False) -> _Child:
    """Find or create the child run that belongs to the folder's current attempt."""
    client, run = store.client, folder.run
    with store.guard():
        experiment_id = _experiment(store, run)
        runs = _runs_of(client, experiment_id, run["config_hash"])
        parent_id = _parent(store, experiment_id, run, runs)
        own = None if fresh else _own_child(runs, folder, run)
        params = _flat({key: value for key, value in run["config"].items() if key != "tracking"})
        if own is None:
            own = client.create_run(
                experiment_id,
                start_time=_milliseconds(run["started"]),
                tags=_child_tags(folder, run, parent_id),
                run_name=f"{run['model_key']} seed {run['seed']}",
            )
        child = _Child(own.info.run_id, experiment_id)
        # A logged parameter cannot change, and a resumed run may use another device.
        params = {key: value for key, value in params.items() if key not in own.data.params}
        _log_params(client, child.run_id, params)
        folder.write_tracking(_whereabouts(store, child) | {"parent_run_id": parent_id})
    for name in own.data.metrics:
        for metric in client.get_metric_history(child.run_id, name):
            child.logged.setdefault((name, metric.step), []).append(metric.value)
    if own.info.status != "RUNNING" and not folder.finished:
        client.update_run(child.run_id, status="RUNNING")
    return child


def _own_child(runs: Sequence[Any], folder: RunFolder, run: Mapping[str, Any]) -> Any | None:
    """The child of this folder and this attempt: a forced repetition starts at another time."""
    begun = _milliseconds(run["started"])
    known = folder.tracking.get("run_id"), folder.published.get("run_id")
    mine = [
        child
        for child in _children(runs)
        if child.info.start_time == begun
        and (child.info.run_id in known or _made_by(child, folder, run))
    ]
    # The recorded one first: an upload that was cut short may have left an older one.
    return min(mine, key=lambda child: child.info.run_id not in known, default=None)


def _experiment(store: _Store, run: Mapping[str, Any]) -> str:
    from mlflow.exceptions import MlflowException

    name = f"{run['dataset']}/{run['protocol']}"
    experiment = store.client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return store.client.create_experiment(
                name,
                artifact_location=_artifact_location(store.artifacts, name),
                # The dashboard then opens the page for training runs without asking.
                tags={"mlflow.experimentKind": "custom_model_development"},
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = store.client.get_experiment_by_name(name)
    if experiment.lifecycle_stage != "active":
        raise PaddockError(
            f"the MLflow experiment {name} is deleted; bring it back with: MLFLOW_TRACKING_URI="
            f"{store.uri} mlflow experiments restore -x {experiment.experiment_id}"
        )
    return experiment.experiment_id


def _artifact_location(root: str | None, name: str) -> str | None:
    if root is None:
        return None
    if "://" in root:
        return f"{root.rstrip('/')}/{name}"
    return (Path(root).absolute() / name).as_uri()


def _parent(store: _Store, experiment_id: str, run: Mapping[str, Any], runs: Sequence[Any]) -> str:
    """The parent run of a config_hash: the oldest, where processes without a lock made several."""
    if parents := _parents(runs):
        return parents[0].info.run_id
    tags = {
        "paddock.kind": "parent",
        "paddock.config_hash": run["config_hash"],
        "paddock.model": run["model"],
        "mlflow.source.name": "run.py",
        **_hash_tags(run),
    }
    made = store.client.create_run(experiment_id, tags=tags, run_name=run["model_key"])
    if not store.exclusive:
        oldest = _parents(_runs_of(store.client, experiment_id, run["config_hash"]))[0]
        if oldest.info.run_id != made.info.run_id:
            store.client.delete_run(made.info.run_id)
            return oldest.info.run_id
    # What is not nested says how a run is executed (seed, device, threads) and varies with it.
    shared = {key: value for key, value in run["config"].items() if isinstance(value, dict)}
    shared.pop("tracking", None)
    _log_params(store.client, made.info.run_id, _flat(shared))
    return made.info.run_id


def _refresh_parent(store: _Store, folder: RunFolder, child: _Child) -> str:
    """Mean and sample standard deviation over the finished seeds, on the parent run.

    Without a lock, two seeds may finish at once and the earlier view be written last. The runs are
    therefore looked at again, until what was written is what is there.
    """
    client, run = store.client, folder.run
    written: list[str] | None = None
    parent_id = ""
    for _ in range(5):
        runs = _runs_of(client, child.experiment_id, run["config_hash"])
        for other in _children(runs):
            if other.info.run_id != child.run_id and (
                other.info.run_id in run.get("supersedes", []) or _made_by(other, folder, run)
            ):
                client.delete_run(other.info.run_id)
                runs.remove(other)
        counted = _one_per_seed(runs)
        present = [seed_run.info.run_id for seed_run in counted]
        if present == written:
            break
        parent_id = _parent(store, child.experiment_id, run, runs)
        _adopt(client, runs, parent_id)
        parent = next((entry for entry in runs if entry.info.run_id == parent_id), None)
        _write_summary(client, parent_id, parent, counted)
        written = present
        if store.exclusive:
            break
    return parent_id


def _adopt(client: Any, runs: Sequence[Any], parent_id: str) -> None:
    """Leave one parent, with every child under it."""
    for seed_run in _children(runs):
        if seed_run.data.tags.get("mlflow.parentRunId") != parent_id:
            client.set_tag(seed_run.info.run_id, "mlflow.parentRunId", parent_id)
    for extra in _parents(runs):
        if extra.info.run_id != parent_id:
            client.delete_run(extra.info.run_id)


def _write_summary(client: Any, parent_id: str, parent: Any | None, counted: Sequence[Any]) -> None:
    from mlflow.entities import Metric, RunTag

    summary = _summary([seed_run.data.metrics for seed_run in counted])
    shown = parent.data.metrics if parent is not None else {}
    tags = parent.data.tags if parent is not None else {}
    changed = {k: v for k, v in summary.items() if k not in shown or not _same(v, shown[k])}
    if changed:
        # The highest step is the value that MLflow shows. Counting the refreshes, rather than
        # trusting timestamps, keeps that right between machines whose clocks differ.
        refresh = int(tags.get("paddock.refreshes", 0)) + 1
        seeds = ",".join(seed_run.data.tags["paddock.seed"] for seed_run in counted)
        client.log_batch(
            parent_id,
            metrics=[Metric(name, value, _now(), refresh) for name, value in changed.items()],
            tags=[RunTag("paddock.seeds", seeds), RunTag("paddock.refreshes", str(refresh))],
        )
    # Folders may be uploaded long after their runs: the parent still ends after it began.
    began = parent.info.start_time if parent is not None else _now()
    ended = max([began, *(seed_run.info.end_time for seed_run in counted)])
    client.set_terminated(parent_id, "FINISHED", ended)


def _summary(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean and standard deviation of what every seed reports, training losses left out."""
    summary: dict[str, float] = {"seeds": float(len(metrics))}
    common = set.intersection(*(set(each) for each in metrics)) if metrics else set()
    for name in sorted(common):
        if name.startswith("train/"):
            continue
        values = np.array([each[name] for each in metrics])
        summary[name] = float(values.mean())
        if len(values) > 1:
            summary[f"{name}_std"] = float(values.std(ddof=1))
    return summary


def _runs_of(client: Any, experiment_id: str, config_hash: str) -> list[Any]:
    """Parents and children of a config_hash, oldest first."""
    runs: list[Any] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment_id],
            f"tags.`paddock.config_hash` = '{config_hash}'",
            max_results=1000,
            page_token=token,
        )
        runs += page
        token = page.token
        if not token:
            return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def _parents(runs: Iterable[Any]) -> list[Any]:
    return [run for run in runs if run.data.tags.get("paddock.kind") == "parent"]


def _children(runs: Iterable[Any]) -> list[Any]:
    return [run for run in runs if run.data.tags.get("paddock.kind") == "run"]


def _one_per_seed(runs: Iterable[Any]) -> list[Any]:
    """The finished children by seed: the oldest, where two machines ran the same seed."""
    by_seed: dict[int, Any] = {}
    for child in _children(runs):
        if child.info.status == "FINISHED":
            by_seed.setdefault(int(child.data.tags["paddock.seed"]), child)
    return [by_seed[seed] for seed in sorted(by_seed)]


def _made_by(child: Any, folder: RunFolder, run: Mapping[str, Any]) -> bool:
    tags = child.data.tags
    return tags.get("paddock.folder") == _origin(folder) and tags.get("paddock.seed") == str(
        run["seed"]
    )


# What a run is described by -----------------------------------------------------------------------


def _child_tags(folder: RunFolder, run: Mapping[str, Any], parent_id: str) -> dict[str, str]:
    git = run.get("git") or {}
    tags = {
        **run.get("tags", {}),
        "mlflow.parentRunId": parent_id,
        "mlflow.source.name": "run.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": git.get("commit"),
        "paddock.kind": "run",
        "paddock.config_hash": run["config_hash"],
        "paddock.seed": run["seed"],
        "paddock.command": run["command"],
        "paddock.model": run["model"],
        "paddock.dirty": str(bool(git.get("dirty"))).lower(),
        "paddock.folder": _origin(folder),
        **_hash_tags(run),
    }
    return {key: str(value)[:_TAG_LENGTH] for key, value in tags.items() if value is not None}


def _hash_tags(run: Mapping[str, Any]) -> dict[str, str]:
    """`paddock.dataset_hash`, `paddock.split_hash`, `paddock.candidates_c20_hash` and so on."""
    return {f"paddock.{name}_hash": value for name, value in run["hashes"].items()}


def _origin(folder: RunFolder) -> str:
    return f"{socket.gethostname()}:{folder.path.absolute()}"


def _whereabouts(store: _Store, child: _Child) -> dict[str, str]:
    return {
        "tracking_uri": store.uri,
        "experiment_id": child.experiment_id,
        "run_id": child.run_id,
    }


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"model": {"lr": 0.1}} to {"model.lr": "0.1"}; lists and null in JSON."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        name = re.sub(r"[^\w./: -]", "_", f"{prefix}{key}")[:_KEY_LENGTH]
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            flat[name] = text[:_PARAM_LENGTH]
    return flat


def _upload_command(folder: RunFolder, tracking: TrackingConfig) -> str:
    default = TrackingConfig()
    words = ["python", "run.py", "mode=upload"]
    runs_dir = folder.path.parents[3] if len(folder.path.parents) > 3 else Path(Config.runs_dir)
    if str(runs_dir) != Config.runs_dir:
        words.append(_override("runs_dir", str(runs_dir)))
    if tracking.uri != default.uri:
        words.append(_override("tracking.uri", _without_password(str(tracking.uri))))
    if tracking.artifacts != default.artifacts:
        words.append(_override("tracking.artifacts", str(tracking.artifacts)))
    return " ".join(words)


def _override(key: str, value: str) -> str:
    """A Hydra override, quoted for Hydra and for the shell where either needs it."""
    if re.fullmatch(r"[\w:/.%@+-]+", value):
        return f"{key}={value}"
    return shlex.quote(f"{key}='{value}'")


def _reason(error: Exception, tracking: TrackingConfig) -> str:
    """The first line of an error, without the store's password."""
    uri = str(tracking.uri)
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.replace(uri, _without_password(uri)).rstrip(".")[:300]


def _milliseconds(moment: str) -> int:
    return round(1000 * datetime.fromisoformat(moment).timestamp())


def _now() -> int:
    return time.time_ns() // 1_000_000
