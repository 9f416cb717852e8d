"""Whether the worker of a trial still lives: its heartbeats in the storage, and its process.

Optuna's own heartbeat thread ends for good at the first error of the storage, which makes a living
worker look dead, and belongs to Study.optimize, whose way of taking trials is not exact (see
`trial_queue`).
"""

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import psutil

from experiments.passwords import hidden

if TYPE_CHECKING:
    from experiments.tuning.storage import Storage

_log = logging.getLogger(__name__)


@contextmanager
def heartbeat(storage: "Storage", trial_id: int) -> Iterator[None]:
    """Report a trial alive at the storage's interval while the block runs.

    Parameters
    ----------
    storage
        Opened with a heartbeat interval, in seconds.
    trial_id
        The storage's id of the trial, which is not its number in the study.
    """
    seconds = storage.get_heartbeat_interval()
    assert seconds is not None
    done = Event()

    def beat() -> None:
        while not done.wait(seconds):
            try:
                storage.record_heartbeat(trial_id)
            except Exception as error:
                # The next one may come through; after enough silences another worker takes over.
                _log.warning(
                    "A heartbeat was not stored: %s", hidden(str(error)).partition("\n")[0]
                )

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def this_worker() -> dict[str, Any]:
    """This process, as other processes on this machine can look it up.

    Returns
    -------
    dict
        `host`, `pid`, and `started`, the seconds since the epoch at which the process began: a
        process number alone may be another process's by the time that it is looked up.
    """
    process = psutil.Process()
    return {"host": _host(), "pid": process.pid, "started": round(process.create_time(), 2)}


def is_gone(worker: Mapping[str, Any]) -> bool:
    """Whether a worker's process is known to have ended.

    Parameters
    ----------
    worker
        What `this_worker` gave in that process. One on another machine is never known to have
        ended; its missing heartbeats tell.
    """
    if worker.get("host") != _host():
        return False
    try:
        process = psutil.Process(int(worker["pid"]))
        ended = process.status() == psutil.STATUS_ZOMBIE
        return ended or abs(process.create_time() - worker["started"]) > 1.0
    except psutil.NoSuchProcess:
        return True


def _host() -> str:
    """The machine, its boot, and the space of process numbers: containers may share a name."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    with suppress(OSError):
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))  # noqa: PTH116
    return "/".join(parts)
