"""Memory: how much is free, and how the C library hands it back to the system."""

import ctypes
import sys

from experiments.errors import PaddockError
from experiments.memory import free_bytes

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
