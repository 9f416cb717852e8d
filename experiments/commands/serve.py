"""mode=serve: finished runs behind an HTTP service."""

import gc
import ipaddress
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.config.schema import Config
from experiments.errors import PaddockError

if TYPE_CHECKING:
    from fastapi import FastAPI

TOKEN = "PADDOCK_TOKEN"
"""Environment variable of the token that requests must bring."""

_SERVED = "PADDOCK_SERVED"
"""Environment variable in which worker processes find what they serve."""


def serve(config: Config, *, model_key: str | None) -> None:
    """Serve until Ctrl-C.

    Parameters
    ----------
    config : Config
        `serve`, `run_id`, `runs_dir`, data set and protocol count.
    model_key : str or None
        The model whose best run is served where no run is named; None: of all models.

    Raises
    ------
    PaddockError
        If a run is unknown, the address is in use, or others than this machine could ask without a token.
    """
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from experiments.data.sources.find import dataset_name
    from experiments.serving.finished import asked_run, find_run

    asked = config.serve
    token = os.environ.get(TOKEN)
    if not _is_loopback(asked.host) and not token:
        raise PaddockError(
            f"serve.host={asked.host} lets other machines ask: set the environment variable {TOKEN} to a "
            "token, which requests bring as Authorization: Bearer TOKEN"
        )
    if asked.runs:
        folders = {
            side: find_run(str(run), runs_dir=config.runs_dir) for side, run in asked.runs.items()
        }
    else:
        alone = asked_run(config, dataset=dataset_name(config.dataset), model=model_key)
        folders = {"run" if config.run_id else alone.run["model_key"]: alone}
    listening = _listening(asked.host, asked.port)
    for side, folder in folders.items():
        print(f"{side}: {folder.path}", flush=True)
    os.environ[_SERVED] = json.dumps(
        {
            "folders": {side: str(folder.path) for side, folder in folders.items()},
            "data_dir": str(Path(config.data_dir).absolute()),
            "feedback": asked.feedback,
            "threads": config.threads,
            "index_above": asked.index_above,
            "text_encoder": asked.text_encoder,
        }
    )
    print(f"http://{asked.host}:{asked.port}/docs describes what can be asked", flush=True)
    made = uvicorn.Config(
        "experiments.commands.serve:app",
        factory=True,
        host=asked.host,
        port=asked.port,
        workers=asked.workers,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=5,
        limit_concurrency=128,
    )
    server = uvicorn.Server(made)
    with listening, suppress(KeyboardInterrupt):
        if asked.workers == 1:
            server.run(sockets=[listening])
        else:
            Multiprocess(made, sockets=[listening]).run()


def _listening(host: str, port: int) -> socket.socket:
    """A socket at an address.

    asyncio sends small packets at once only through a socket that says that it is one of TCP; uvicorn's own for
    several workers does not, which costs an answer 40 ms.
    """
    try:
        kind = {"type": socket.SOCK_STREAM, "proto": socket.IPPROTO_TCP}
        family, of_type, protocol, _, address = socket.getaddrinfo(host, port, **kind)[0]
        made = socket.socket(family, of_type, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        raise PaddockError(
            f"serve.host={host} serve.port={port}: {error.strerror}; choose another one"
        ) from error
    made.set_inheritable(True)
    return made


def app() -> "FastAPI":
    """The service of a worker process, as the environment describes it."""
    from experiments.serving.feedback import FeedbackStore
    from experiments.serving.recommender import Recommender
    from experiments.serving.service import create_app

    served: dict[str, Any] = json.loads(os.environ[_SERVED])
    recommenders = {
        side: Recommender.load(
            folder,
            data_dir=served["data_dir"],
            threads=int(served["threads"]),
            index_above=served["index_above"],
            text_encoder=served["text_encoder"],
        ).warm()
        for side, folder in served["folders"].items()
    }
    url = served["feedback"]
    made = create_app(
        recommenders,
        feedback=FeedbackStore(url) if url else None,
        token=os.environ.get(TOKEN),
    )
    # Python looks for cycles among all objects now and then, and libraries made a million of them: requests
    # would wait for it a fifth of a second.
    gc.collect()
    gc.freeze()
    return made


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
