"""How the C library hands memory back to the system."""

import ctypes
import sys

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
