"""MLflow's pages: the address of a leaderboard, and the server that shows a store."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments.errors import PaddockError
from experiments.tracking.dashboard import PARENTS, VIEWS, key_of
from experiments.tracking.store import Store

HOST = "127.0.0.1"
_PATIENCE = 300
"""Seconds that the server may take to start: it imports half a gigabyte of packages."""

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Several processes that wait for work that no page of Paddock's gives them.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def leaderboard_page(store: Store, address: str, *, experiment: str | None = None) -> str | None:
    """The address of a leaderboard.

    Parameters
    ----------
    store : Store
    address : str
        Of the server that shows it.
    experiment : str, optional
        <dataset>/<protocol>; by default that of the newest configuration.

    Returns
    -------
    str or None
        None where no run was tracked yet.

    Raises
    ------
    PaddockError
        There is no such experiment in the store.
    """
    found = _newest(store.client) if experiment is None else _named(store.client, experiment)
    if found is None:
        return None
    runs = f"{address.rstrip('/')}/#/experiments/{found}/runs"
    return f"{runs}?viewStateShareKey={key_of(VIEWS[0])}&workflowType=machine_learning"


def _newest(client: Any) -> str | None:
    ids = [each.experiment_id for each in client.search_experiments(max_results=1000)]
    order = ["attributes.start_time DESC"]
    newest = client.search_runs(ids, PARENTS, order_by=order, max_results=1) if ids else []
    return newest[0].info.experiment_id if newest else None


def _named(client: Any, experiment: str) -> str:
    found = client.get_experiment_by_name(experiment)
    if found is None:
        names = sorted(each.name for each in client.search_experiments(max_results=1000))
        raise PaddockError(
            f"the store has no experiment {experiment}; there are: {', '.join(names)}"
        )
    return str(found.experiment_id)


def free_port(wanted: int) -> int:
    """The port, or another one where a program listens on it.

    Parameters
    ----------
    wanted : int
        0 takes any.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError:
            return free_port(0)
        return int(probe.getsockname()[1])


@contextmanager
def served(uri: str, *, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """MLflow's server on a store, with one worker; it ends with the block.

    Parameters
    ----------
    uri : str
        Of a file or a database.
    port : int
        On 127.0.0.1.

    Raises
    ------
    PaddockError
        It does not start; the error holds the end of what it said.
    """
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--host", HOST, "--port", str(port), "--backend-store-uri", uri]
    with TemporaryDirectory() as folder:
        said = Path(folder) / "server.log"
        with said.open("wb") as log:
            process = subprocess.Popen(
                command,
                env=os.environ | _QUIET,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the block, which ends the server with its workers.
                start_new_session=True,
            )
        try:
            _wait(process, f"http://{HOST}:{port}/health", said)
            yield process
        finally:
            _end(process)


def _wait(process: "subprocess.Popen[bytes]", address: str, said: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
    raise PaddockError("MLflow's server did not start:\n" + "\n".join(lines))


def _end(process: "subprocess.Popen[bytes]") -> None:
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue
        return
