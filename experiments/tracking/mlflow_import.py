"""The import of MLflow: late, quiet, and with time limits that training can bear."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from experiments.tracking.address import is_remote

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


def load_mlflow(uri: str) -> Any:
    """The module mlflow, with what the store at `uri` needs."""
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
    if not is_remote(uri):
        # Half of the import's time, which MLflow would spend on opening the store: under our lock.
        import mlflow.store.tracking.sqlalchemy_store
    return mlflow


@contextmanager
def patient() -> Iterator[None]:
    """A longer time limit while files are sent: a server may pass them on before it answers."""
    if _TIMEOUT not in _set_here:
        yield
        return
    os.environ[_TIMEOUT] = _ARTIFACT_SECONDS
    try:
        yield
    finally:
        os.environ[_TIMEOUT] = _ENVIRONMENT[_TIMEOUT]
