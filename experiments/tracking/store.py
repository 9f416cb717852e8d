"""The tracking store that `tracking.uri` names: opening it, and its experiments."""

import logging
import os
import random
import re
import shlex
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from experiments.address import (
    TRACKING_URI,
    absolute,
    is_http,
    is_remote,
    sqlite_file,
    with_password,
)
from experiments.config.schema import TrackingConfig
from experiments.databases import of_machine, problem_of_file, reason_of
from experiments.errors import FailedError, PaddockError
from experiments.locks import lock
from experiments.passwords import without_password
from experiments.paths import IN_CHECKOUT, program

_DEFAULT_ARTIFACTS = "mlartifacts"
_LOCK_SECONDS = 60
_PROBE_SECONDS = 5
_CONTENTION = ("IntegrityError", "UniqueViolation")
"""What SQLAlchemy and the databases say of a row that is there already."""
_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before each further attempt, on average."""

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_ARTIFACT_SECONDS = "120"

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

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Store:
    """An open store.

    Attributes
    ----------
    client : mlflow.MlflowClient
    uri : str
        The address without its password: the form that is written down.
    artifacts : str or None
        Where files go; None leaves that to the server.
    lock_file : Path or None
        What processes lock that share a SQLite file. A server or a database has no lock that all
        its clients share.
    """

    client: Any
    uri: str
    artifacts: str | None
    lock_file: Path | None

    @property
    def exclusive(self) -> bool:
        """Whether `guard` keeps other processes out."""
        return self.lock_file is not None

    def guard(self) -> AbstractContextManager[Any]:
        """A block that one process at a time is in, where the store has a lock file.

        Raises
        ------
        filelock.Timeout
            Others hold the lock for 60 seconds.
        """
        return _guard(self.lock_file)

    def retried(self, do: Callable[[], Made]) -> Made:
        """The result of `do`, called again where two clients wrote the same new row at once.

        A server refuses one of them, as for a tag of the parent run that their seeds share.

        Parameters
        ----------
        do : callable
            Without arguments. Called again, it makes up for what is missing.

        Raises
        ------
        Exception
            What `do` raises for any other reason, or at the last attempt.
        """
        for wait in _WAITS:
            try:
                return do()
            except Exception as error:
                if not any(sign in str(error) for sign in _CONTENTION):
                    raise
            time.sleep(wait * random.uniform(0.5, 1.5))
        return do()


def connect(tracking: TrackingConfig) -> Store:
    """Open the store; a SQLite file is created.

    Parameters
    ----------
    tracking : TrackingConfig
        With a `uri`. A password that MLFLOW_TRACKING_URI holds for the same address is used.

    Raises
    ------
    Exception
        What SQLite, requests or MLflow raise where the store cannot be opened.
    """
    uri = absolute(with_password(str(tracking.uri)))
    database = sqlite_file(uri)
    lock_file = None if database is None else database.with_name(database.name + ".lock")
    if is_http(uri):
        _probe(uri)
    if database is not None:
        _probe_file(database)
    mlflow = _load_mlflow(uri)
    # The first client creates the schema, by some seventy migrations: one process at a time.
    with _guard(lock_file):
        if database is not None:
            reason = problem_of_file(database, table="experiments", column="experiment_id")
            if reason is not None:
                raise FailedError(reason)
        client = mlflow.MlflowClient(tracking_uri=uri)
    return Store(
        client=client,
        uri=without_password(uri),
        artifacts=tracking.artifacts or (None if is_remote(uri) else _DEFAULT_ARTIFACTS),
        lock_file=lock_file,
    )


def reach(tracking: TrackingConfig) -> Store:
    """Open the store and ask it one question: what fails later is not the store's fault.

    Raises
    ------
    PaddockError
        The store does not answer; a `FailedError` where its file is damaged or another's.
    """
    try:
        store = connect(tracking)
        store.client.search_experiments(max_results=1)
    except Exception as error:
        shown = without_password(str(tracking.uri))
        raise (FailedError if of_machine(error) else PaddockError)(
            f"The tracking store {shown} cannot be reached: {reason(error, tracking)}."
        ) from error
    return store


def reason(error: Exception, tracking: TrackingConfig) -> str:
    """The first line of an error, without the store's password."""
    real = with_password(str(tracking.uri))
    return reason_of(error).replace(real, without_password(real))


def ui_command(tracking: TrackingConfig) -> str:
    """What opens the dashboard: a command, or a server's address; without its password."""
    if tracking.uri is None:
        return " ".join([*program("run"), "mode=leaderboard"])
    shown = without_password(tracking.uri)
    if is_remote(shown):
        return shown
    if shown == TrackingConfig.uri and not os.environ.get(TRACKING_URI):
        return "make ui" if IN_CHECKOUT else " ".join(program("ui"))
    return " ".join([*program("ui"), override("tracking.uri", shown)])


def override(key: str, value: str) -> str:
    """An override of a configuration, quoted for Hydra and for the shell where either needs it.

    Parameters
    ----------
    key, value : str
        Such as "tracking.uri" and an address.
    """
    if re.fullmatch(r"[\w:/.%@+-]+", value):
        return f"{key}={value}"
    return shlex.quote(f"{key}='{value}'")


def find_or_create_experiment(store: Store, *, dataset: str, protocol: str) -> str:
    """The id of the MLflow experiment of one data set under one protocol.

    Raises
    ------
    PaddockError
        It is in MLflow's bin.
    """
    from mlflow.exceptions import MlflowException

    name = f"{dataset}/{protocol}"
    experiment = store.client.get_experiment_by_name(name)
    if experiment is None:
        try:
            created: str = store.client.create_experiment(
                name,
                artifact_location=_artifact_location(store.artifacts, name),
                # The dashboard then opens the page for training runs without asking.
                tags={"mlflow.experimentKind": "custom_model_development"},
            )
            return created
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = store.client.get_experiment_by_name(name)
    if experiment.lifecycle_stage != "active":
        raise PaddockError(
            f"the MLflow experiment {name} is deleted; bring it back with: MLFLOW_TRACKING_URI="
            f"{store.uri} mlflow experiments restore -x {experiment.experiment_id}"
        )
    found: str = experiment.experiment_id
    return found


@contextmanager
def artifact_timeout() -> Iterator[None]:
    """A longer time limit while files are sent: a server may pass them on before it answers.

    MLFLOW_HTTP_REQUEST_TIMEOUT is left alone where the user set it.
    """
    if _TIMEOUT not in _set_here:
        yield
        return
    os.environ[_TIMEOUT] = _ARTIFACT_SECONDS
    try:
        yield
    finally:
        os.environ[_TIMEOUT] = _ENVIRONMENT[_TIMEOUT]


def _artifact_location(root: str | None, name: str) -> str | None:
    if root is None:
        return None
    if "://" in root:
        return f"{root.rstrip('/')}/{name}"
    return (Path(root).absolute() / name).as_uri()


def _load_mlflow(uri: str) -> Any:
    """The module mlflow: imported late, quiet, and with time limits that training can bear."""
    for name, value in _ENVIRONMENT.items():
        # A process started by another run inherits what that one set.
        if os.environ.setdefault(name, value) == value:
            _set_here.add(name)
    import mlflow

    if "MLFLOW_LOGGING_LEVEL" in _set_here:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    # One line per retry otherwise; the last failure becomes one sentence of Paddock's.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    if not is_remote(uri):
        # Half of the import's time, which MLflow would spend on opening the store: under our lock.
        import mlflow.store.tracking.sqlalchemy_store
    return mlflow


def _guard(lock_file: Path | None) -> AbstractContextManager[Any]:
    return nullcontext() if lock_file is None else lock(lock_file, timeout=_LOCK_SECONDS)


def _probe_file(database: Path) -> None:
    """Refuse a file that cannot be opened as a database, which MLflow would try for 100 seconds."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database, timeout=_PROBE_SECONDS)) as connection:
        connection.execute("PRAGMA schema_version")


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
        raise ConnectionError(f"no answer from {without_password(uri)}") from error
