"""Memory: how much is free, and how the C library hands it back to the system."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

from experiments.errors import PaddockError

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
KEEP_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Let glibc keep what training frees instead of returning it at every step.

    Each step allocates and frees the same large tensors (logits, their gradient). By default glibc
    maps and unmaps each of them, and the kernel zeroes every page again. On ml-100k that was a
    quarter of a SASRec epoch with torch's own cross-entropy, and a twentieth with
    `experiments.training.losses.full_softmax`, which keeps one buffer. Elsewhere than on glibc this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, KEEP_BYTES)
    mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)


def check_memory(needed: int, *, what: str) -> None:
    """Refuse what would not fit into memory, which the system would kill midway.

    Parameters
    ----------
    needed : int
        Bytes.
    what : str
        What needs them, for the message.

    Raises
    ------
    PaddockError
        If less is free, on the machine or in the container.
    """
    free = free_bytes()
    if needed > free:
        raise PaddockError(
            f"{what} needs {needed / 1e9:,.1f} GB of memory, of which {free / 1e9:,.1f} GB are free: "
            "take another model, leave rare items out (dataset.min_item_interactions), or a larger machine"
        )


def free_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that a process can still have, on the machine and in its container.

    Parameters
    ----------
    cgroup : Path
        Where the container's limits stand, if there are any (Linux, version 2 of control groups).
    """
    import psutil

    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # "max" is no limit
        limit = int((cgroup / "memory.max").read_text())
        free = min(free, limit - int((cgroup / "memory.current").read_text()))
    return free
