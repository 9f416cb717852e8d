"""Servers of a finished run as processes of their own, and requests to them at a rate and without pause."""

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np

from benchmarks.process import ROOT, one_thread

CONNECTIONS = 8

Ask = Callable[[int], dict[str, Any]]
"""Number of a request -> its JSON."""


@dataclass(frozen=True)
class Server:
    """Where a server is asked.

    Attributes
    ----------
    address : str
    path : str
        Of requests for recommendations.
    of : callable
        Makes the server's JSON of a request of Paddock's service.
    """

    address: str
    path: str
    of: Callable[[dict[str, Any]], dict[str, Any]]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds.

    Parameters
    ----------
    seconds : sequence of float
        Of requests.
    """
    found = np.percentile(np.asarray(seconds) * 1e3, (50, 95, 99))
    return dict(
        zip(("p50_ms", "p95_ms", "p99_ms"), (round(float(x), 2) for x in found), strict=True)
    )


@contextmanager
def paddock_server(folder: Path, *, workers: int) -> Iterator[Server]:
    """`mode=serve` over a run, in processes of its own."""
    port = _free_port()
    words = (
        "mode=serve",
        "tracking=off",
        f"run_id={folder}",
        f"serve.port={port}",
        f"serve.workers={workers}",
        "serve.feedback=null",
        "serve.text_encoder=null",
    )
    with _process([sys.executable, "run.py", *words], one_thread(), port, ready="/healthz") as at:
        yield Server(at, "/recommend", lambda asked: asked)


@contextmanager
def mlflow_server(run_id: str, *, uri: str, workers: int) -> Iterator[Server]:
    """`mlflow models serve` over the same run."""
    port = _free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "models", "serve", "-m", f"runs:/{run_id}/model"),
        *("--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", str(workers)),
    ]
    environment = one_thread() | {
        "MLFLOW_TRACKING_URI": uri,
        "PYTHONPATH": str(ROOT),
        # It calls uvicorn by its name.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with _process(command, environment, port, ready="/ping") as at:
        yield Server(at, "/invocations", _as_row)


def _as_row(asked: dict[str, Any]) -> dict[str, Any]:
    row = {name: value for name, value in asked.items() if name != "k"}
    return {"dataframe_records": [row], "params": {"k": asked["k"]}}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _process(
    command: Sequence[str], environment: Mapping[str, str], port: int, *, ready: str
) -> Iterator[str]:
    """The address of a server that answers, with all processes that it starts."""
    address = f"http://127.0.0.1:{port}"
    with TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        try:
            _wait(f"{address}{ready}", process, said)
            yield address
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def _wait(
    url: str, process: subprocess.Popen[bytes], said: IO[bytes], seconds: float = 240.0
) -> None:
    import httpx

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            said.seek(0)
            words = said.read()[-3000:].decode(errors="replace")
            raise RuntimeError(f"the server ended with {process.returncode}:\n{words}")
        with suppress(httpx.TransportError):
            if httpx.get(url).status_code == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the server did not answer in {seconds:.0f} s")


def measured(server: Server, ask: Ask, *, rate: float, seconds: float) -> dict[str, Any]:
    """Percentiles at a rate, and requests a second without pause; a few requests warm up.

    Parameters
    ----------
    server : Server
    ask : callable
    rate : float
        Requests a second.
    seconds : float
        Of each of the two.
    """

    def of(number: int) -> dict[str, Any]:
        return server.of(ask(number))

    # A full collection of this process's own garbage would be counted as a fifth of a second of the server's.
    gc.collect()
    gc.freeze()
    asyncio.run(_at_rate(server, of, rate=20, seconds=3))
    taken = asyncio.run(_at_rate(server, of, rate=rate, seconds=seconds))
    most = asyncio.run(_without_pause(server, of, seconds=seconds))
    return {
        "rate": rate,
        "requests": len(taken),
        **percentiles(taken),
        "requests_a_second": round(most, 1),
    }


async def _at_rate(server: Server, ask: Ask, *, rate: float, seconds: float) -> list[float]:
    """Seconds of requests that are sent when they are due, from that moment to their answer."""
    import httpx

    async with httpx.AsyncClient(base_url=server.address, timeout=120) as client:
        begin = time.perf_counter()

        async def one(number: int) -> float:
            due = begin + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            (await client.post(server.path, json=ask(number))).raise_for_status()
            return time.perf_counter() - due

        return list(await asyncio.gather(*(one(number) for number in range(int(rate * seconds)))))


async def _without_pause(server: Server, ask: Ask, *, seconds: float) -> float:
    """Requests a second of connections that ask again as soon as they are answered."""
    import httpx

    end = time.perf_counter() + seconds
    count = 0

    async def connection(number: int) -> None:
        nonlocal count
        async with httpx.AsyncClient(base_url=server.address, timeout=120) as client:
            while time.perf_counter() < end:
                (await client.post(server.path, json=ask(number))).raise_for_status()
                number += CONNECTIONS
                count += 1

    await asyncio.gather(*(connection(number) for number in range(CONNECTIONS)))
    return count / seconds
