"""Workers that end with the process that started them, also if that was killed."""

import multiprocessing
import os
import signal
import time
from threading import Lock, Thread

POLL_SECONDS = 0.5
GRACE_SECONDS = 20.0
"""How long a worker may take to end by itself: to hand back a trial, for example."""

_watched: set[int] = set()
_watching = Lock()


def end_with_creator() -> None:
    """Let this process end with the one that made it through `multiprocessing`, if one did."""
    creator = multiprocessing.parent_process()
    if creator is not None:
        # A fork server stands between the two, and ends with the creator.
        end_with(os.getppid())


def end_with(parent: int) -> None:
    """Let this process end soon after its parent; asked again, it does nothing more.

    It gets SIGTERM, and SIGKILL if it is still there `GRACE_SECONDS` later.

    Parameters
    ----------
    parent : int
        The number of the process that started this one.
    """
    with _watching:
        if parent in _watched:
            return
        _watched.add(parent)
    Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    # A process whose parent is gone is given another one; Linux alone could tell it by a signal, and
    # that one comes when the parent's thread ends, too.
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
