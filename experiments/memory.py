"""Memory that is free, and amounts of it as a configuration writes them."""

import re
from contextlib import suppress
from pathlib import Path

from experiments.errors import PaddockError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


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


def bytes_of(text: str, key: str) -> int:
    """The bytes that a text such as 2GB or 512MB says.

    Parameters
    ----------
    text : str
    key : str
        The configuration key that has it, for the message.

    Raises
    ------
    PaddockError
        If it says none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if size == 0:
        raise PaddockError(f"{key}: {text!r} is no amount of memory; write it as 2GB or 512MB")
    return size


def check_fits(needed: int, *, what: str, instead: str, free: int | None = None) -> None:
    """Refuse what would not fit into memory, before any of it is read.

    Parameters
    ----------
    needed : int
        Bytes.
    what : str
        What needs them, for the message.
    instead : str
        What to do, for the message.
    free : int or None
        Bytes that are free where it shall lie; None: `free_bytes`.

    Raises
    ------
    PaddockError
        If less is free.
    """
    free = free_bytes() if free is None else free
    if needed > free:
        raise PaddockError(
            f"{what} needs {needed / 1e9:,.1f} GB of memory, of which {free / 1e9:,.1f} GB are free: "
            f"{instead}"
        )
