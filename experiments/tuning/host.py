"""Which process works on a trial, and whether it is still there."""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil


def this_worker() -> dict[str, Any]:
    """This process, as other processes on this machine can look it up."""
    process = psutil.Process()
    return {"host": _host(), "pid": process.pid, "started": round(process.create_time(), 2)}


def is_gone(worker: dict[str, Any]) -> bool:
    """Whether the process is known to have ended; one on another machine never is."""
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
