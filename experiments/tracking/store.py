"""Opening the store that `tracking.uri` names."""

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from experiments.config.schema import TrackingConfig
from experiments.errors import PaddockError
from experiments.files import lock
from experiments.tracking.address import (
    absolute,
    is_http,
    is_remote,
    sqlite_file,
    without_password,
)
from experiments.tracking.mlflow_import import load_mlflow

_DEFAULT_ARTIFACTS = "mlartifacts"
_LOCK_SECONDS = 60
_PROBE_SECONDS = 5
_CONTENTION = ("IntegrityError", "UniqueViolation")
"""What SQLAlchemy and the databases say of a row that is there already."""
_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds before each further attempt, on average."""

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
        return _guard(self.lock_file)

    def settled(self, do: Callable[[], Made]) -> Made:
        """What `do` gives, which may be done again and then makes up for what is missing.

        Where two clients write the same new row at once, such as a tag of the parent run that their
        seeds share, a server refuses one of them.
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
    """Open the store at `tracking.uri`, which is not None; a SQLite file is created."""
    uri = absolute(str(tracking.uri))
    database = sqlite_file(uri)
    lock_file = None if database is None else database.with_name(database.name + ".lock")
    if is_http(uri):
        _probe(uri)
    if database is not None:
        _probe_file(database)
    mlflow = load_mlflow(uri)
    # The first client creates the schema, by some seventy migrations: one process at a time.
    with _guard(lock_file):
        client = mlflow.MlflowClient(tracking_uri=uri)
    return Store(
        client=client,
        uri=without_password(uri),
        artifacts=tracking.artifacts or (None if is_remote(uri) else _DEFAULT_ARTIFACTS),
        lock_file=lock_file,
    )


def reach(tracking: TrackingConfig) -> Store:
    """Connect and ask one question, so that a store out of reach is told from a bad folder.

    Raises
    ------
    PaddockError
        The store does not answer.
    """
    try:
        store = connect(tracking)
        store.client.search_experiments(max_results=1)
    except Exception as error:
        shown = without_password(str(tracking.uri))
        raise PaddockError(
            f"The tracking store {shown} cannot be reached: {reason(error, tracking)}."
        ) from error
    return store


def reason(error: Exception, tracking: TrackingConfig) -> str:
    """The first line of an error, without the store's password."""
    uri = str(tracking.uri)
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.replace(uri, without_password(uri)).rstrip(".")[:300]


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
