"""Locks between processes, which tell those who wait who holds them."""

import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from experiments.passwords import hidden
from experiments.visible import visible

PATIENCE_SECONDS = 2.0
"""How long a process waits for a lock before it says so."""


@contextmanager
def lock(path: Path, *, timeout: float = -1) -> Iterator[None]:
    """Hold a lock between processes, which the system frees when its holder dies.

    Who waits for longer than `PATIENCE_SECONDS` says on stderr for whom.

    Parameters
    ----------
    path : Path
        The lock file; its folder is made if needed.
    timeout : float
        Seconds to wait for the lock; -1 waits without end.

    Raises
    ------
    filelock.Timeout
        If another process holds it for so long.
    OSError
        If there can be no file at `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab"):
        pass  # where no file can be made, filelock would wait for ever
    held = FileLock(path)
    patient = PATIENCE_SECONDS if timeout < 0 else min(timeout, PATIENCE_SECONDS)
    try:
        held.acquire(timeout=patient)
    except Timeout:
        if patient == timeout:
            raise
        print(
            visible(f"waiting for {holder(path)}, which holds {path}"), file=sys.stderr, flush=True
        )
        held.acquire(timeout=timeout if timeout < 0 else timeout - patient)
    record = _record(path)
    try:
        _write(record)
        yield
    finally:
        # While the lock is held: what is removed later may be the next holder's.
        with suppress(OSError):
            record.unlink(missing_ok=True)
        held.release()


def holder(path: Path) -> str:
    """Who holds a lock, as far as is known: process, command, host and since when.

    Parameters
    ----------
    path : Path
        The lock file, which is held.
    """
    try:
        noted = json.loads(_record(path).read_text(encoding="utf-8"))
        if _may_hold(noted):
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(noted["since"]))
            return f"process {noted['pid']} on {noted['host']} ({noted['command']}, since {since})"
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return "another process"


def _may_hold(noted: dict[str, Any]) -> bool:
    """Whether the noted process can be the holder: a killed one leaves its note to the next."""
    if noted["host"] != socket.gethostname():
        return True
    import psutil

    try:
        return bool(psutil.Process(noted["pid"]).create_time() <= noted["since"])
    except psutil.Error:
        return False


def _record(path: Path) -> Path:
    # Not in the lock file: everyone who tries to take the lock empties that.
    return path.with_name(f"{path.name}.holder")


def _write(record: Path) -> None:
    command = shlex.join(map(hidden, [Path(sys.argv[0]).name, *sys.argv[1:]]))
    noted = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": command,
        "since": time.time(),
    }
    # The lock holds without the note, as on a full disk.
    with suppress(OSError):
        record.write_text(json.dumps(noted), encoding="utf-8")
