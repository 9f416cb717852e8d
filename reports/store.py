"""Opening the tracking store, and asking it for many runs at once."""

import gc
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from experiments.address import with_password
from experiments.databases import of_machine, problem_of_file, reason_of
from experiments.passwords import without_password
from reports.errors import ReportError, StoreError
from reports.options import nearest

_PAGE = 1000
_THREADS = 8
_PROBE_SECONDS = 10

# What the user set wins. MLflow's own defaults retry for minutes and draw a bar for every file.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

Given = TypeVar("Given")
Made = TypeVar("Made")


def connect(uri: str) -> Any:
    """An MLflow client of the store at `uri`.

    Parameters
    ----------
    uri : str
        A password that MLFLOW_TRACKING_URI holds for the same address is used.

    Raises
    ------
    ReportError
        There is no store.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    uri, shown = with_password(uri), without_password(uri)
    if uri.startswith("sqlite:///"):
        file = Path(uri.removeprefix("sqlite:///").partition("?")[0])
        # MLflow would create it.
        if not file.is_file():
            raise ReportError(
                f"tracking.uri={shown}: there is no file {file}; name the store that the runs are in"
            )
        reason = problem_of_file(file, table="experiments", column="experiment_id")
        if reason is not None:
            raise StoreError(f"tracking.uri={shown} cannot be read: {reason}")
    elif uri.startswith(("http://", "https://")):
        _probe(uri)
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except Exception as error:
        line = reason_of(error).replace(uri, shown)
        kind = StoreError if of_machine(error) else ReportError
        raise kind(f"tracking.uri={shown} cannot be read: {line}") from error
    return client


def experiment_id(client: Any, name: str) -> str:
    """The id of an experiment.

    Raises
    ------
    ReportError
        There is none of this name.
    """
    found = find_experiment(client, name)
    if found is not None:
        return found
    known = [each.name for each in client.search_experiments() if each.name != "Default"]
    hint = nearest(name, known) if known else "it holds none"
    raise ReportError(f"the store has no experiment {name}; {hint}")


def find_experiment(client: Any, name: str) -> str | None:
    """The id of an experiment of this name; None where there is none, or a deleted one."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage != "active":
        return None
    return str(experiment.experiment_id)


def search(client: Any, experiment: str, query: str) -> Iterator[Any]:
    """All runs of an experiment that a query finds, page by page.

    Parameters
    ----------
    client : mlflow.MlflowClient
    experiment : str
        The experiment's id.
    query : str
        In MLflow's language; "" finds all.
    """
    token = None
    while True:
        # A page makes half a million objects that all stay: looking for garbage among them again
        # and again takes two thirds of the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            page = client.search_runs([experiment], query, max_results=_PAGE, page_token=token)
        finally:
            if collecting:
                gc.enable()
        yield from page
        token = page.token
        if not token:
            return


def in_parallel(do: Callable[[Given], Made], these: Sequence[Given]) -> list[Made]:
    """`do` of each, in their order; asking a store is mostly waiting.

    Parameters
    ----------
    do : callable
        From one of `these` to a result; several run at once.
    these : sequence
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(do, these))


def _probe(uri: str) -> None:
    """Refuse a server that does not answer, sooner than MLflow's retries would."""
    import requests

    try:
        requests.get(uri.rstrip("/") + "/health", timeout=_PROBE_SECONDS)
    except requests.exceptions.SSLError:
        return
    except (requests.ConnectionError, requests.Timeout) as error:
        shown = without_password(uri)
        raise ReportError(f"tracking.uri={shown}: no answer; is the server running?") from error
