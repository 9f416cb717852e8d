"""What the machine refuses and files that are damaged, told in one sentence instead of a traceback."""

import errno
import logging
import os
import re
import select
import sqlite3
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from experiments.errors import FailedError, PaddockError
from experiments.processes import say_error
from experiments.visible import VisibleFormatter, visible

TRACEBACK = "PADDOCK_TRACEBACK"
"""Environment variable; set to 1, errors come with their traceback."""

_PLACES = "name another place (runs_dir=, data_dir=, or a report's out=)"
_AGAIN = "run the same command again, which goes on from what is finished"

_REFUSALS = {
    errno.ENOSPC: f"no space is left there: free some and {_AGAIN}, or {_PLACES}",
    errno.EDQUOT: f"your disk quota is used up: free some and {_AGAIN}, or {_PLACES}",
    errno.EFBIG: f"the file would grow beyond the limit of this shell: see ulimit -f, and {_AGAIN}",
    errno.EROFS: f"the file system is read-only: {_PLACES}",
    errno.EACCES: f"permission denied: ask for the right to it, or {_PLACES}",
    errno.EPERM: f"permission denied: ask for the right to it, or {_PLACES}",
    errno.ENOTDIR: f"a file lies where a folder should be: move it away, or {_PLACES}",
    errno.EEXIST: f"a file lies where a folder should be: move it away, or {_PLACES}",
    errno.EISDIR: "a folder lies where a file should be: move it away, or name a file",
    errno.ENOENT: "it is not there and cannot be made: check the name",
    errno.EMFILE: f"too many files are open: raise ulimit -n, and {_AGAIN}",
    errno.ENFILE: f"too many files are open on this machine: {_AGAIN}",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.ELOOP: "its links lead in a circle: remove one of them",
    errno.EIO: f"the device failed to read or write: check the disk, and {_AGAIN}",
    errno.ESTALE: f"the network file system lost it: mount it again, and {_AGAIN}",
    errno.ENOMEM: f"no memory is left: end other processes, and {_AGAIN}",
}
"""Number of a system error -> what it means here and what to do."""

_DAMAGED = {
    "safetensors_rust.SafetensorError": "a file of weights is damaged",
    "pyarrow.lib.ArrowInvalid": "a file of columns is damaged",
    "polars.exceptions.ComputeError": "a table is damaged",
    "zipfile.BadZipFile": "an archive is damaged",
}
"""Errors of libraries, by module and class, that mean a damaged file; none of them is imported."""

_LOST = {
    "submitit.core.utils.UncompletedJobError": "a job ended without a result, killed or out of time",
    "submitit.core.utils.FailedJobError": "a job failed",
    "joblib.externals.loky.process_executor.TerminatedWorkerError": (
        "a process of the grid was killed, perhaps for lack of memory"
    ),
}
"""Errors of what runs a grid, by module and class: one of its jobs is gone."""

_MEMORY = ("builtins.MemoryError", "torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError")


def sentence(error: BaseException) -> str | None:
    """The sentence for an error that is no bug of this code; None for any other.

    Parameters
    ----------
    error : BaseException
        What a command raised.
    """
    if isinstance(error, PaddockError):
        return str(error)
    if isinstance(error, OSError):
        return _refusal(error)
    if isinstance(error, sqlite3.DatabaseError):
        return f"a SQLite file failed ({_line(error)}): {_disk_or_damage(error)}"
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return "a path holds a NUL byte: remove it from the command or the YAML file that names it"
    if isinstance(error, ValueError) and "the language model's context of" in str(error):
        return (
            f"{error}: lower model.history_items or model.title_tokens, or raise model.llm.context"
        )
    if isinstance(error, UnicodeDecodeError):
        return f"a file that should be UTF-8 text is not ({_line(error)})"
    return _of_library(error)


def fail(error: Exception) -> NoReturn:
    """Print the sentence for an error to stderr and exit with its code; a bug is raised as it is.

    Parameters
    ----------
    error : Exception
        What a command raised.
    """
    said = sentence(error)
    if said is None:
        raise error
    if os.environ.get(TRACEBACK, "0") not in ("", "0"):
        traceback.print_exception(error)
    _give_up_output()
    say_error("error: " + "\n  ".join(map(visible, said.split("\n"))))
    sys.exit(error.exit_code if isinstance(error, PaddockError) else FailedError.exit_code)


@contextmanager
def answering() -> Iterator[None]:
    """Answer in one sentence what the block raises, and what printing its output raises."""
    if logging.lastResort is not None:  # what prints warnings
        logging.lastResort.setFormatter(VisibleFormatter())
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError as error:
        if not _reader_left():
            fail(error)
        _give_up_output()
        sys.exit(FailedError.exit_code)  # no word for whom no one reads
    except Exception as error:
        fail(error)


def _give_up_output() -> None:
    """If stdout takes no more, Python does not try once more at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        _to_nowhere()
    else:
        if _reader_left():
            _to_nowhere()


def _to_nowhere() -> None:
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())


def _reader_left() -> bool:
    """Whether stdout is a pipe that nobody reads any more, as behind `| head`."""
    try:
        watched = select.poll()
        watched.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in watched.poll(0))
    except OSError:  # no file of the system's
        return False


def _of_library(error: BaseException) -> str | None:
    """The sentence for an error known by its class's name, whose library is not imported here."""
    kinds = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    if "yaml.error.YAMLError" in kinds:
        return _yaml(error)
    if any(kind in _MEMORY for kind in kinds):
        return (
            f"the memory does not suffice ({_line(error)}): take smaller batches "
            "(model.train_batch_size=), or a machine or device with more"
        )
    for kind in kinds:
        if kind in _DAMAGED:
            return f"{_DAMAGED[kind]} ({_line(error)}): delete what it names and {_AGAIN}"
        if kind in _LOST:
            return f"{_LOST[kind]} ({_line(error)}): {_AGAIN}"
    return None


def _refusal(error: OSError) -> str:
    if error.errno is None:  # of a network, in which libraries say all in their message
        return f"{type(error).__name__}: {_line(error)}"
    place = error.filename if error.filename2 is None else error.filename2
    where = "the output" if place is None else os.fsdecode(place)
    reason = _REFUSALS.get(error.errno)
    if reason is None:
        return f"{where}: {error.strerror or _line(error)} ({TRACEBACK}=1 shows from where)"
    if error.errno == errno.ENOTDIR:
        above = (str(path) for path in (Path(where), *Path(where).parents) if path.is_file())
        where = next(above, where)
    if error.errno == errno.EEXIST and Path(where).is_dir():
        reason = "a folder lies where a file should be: move it away"
    return f"{where}: {reason}"


def _disk_or_damage(error: BaseException) -> str:
    text = str(error)
    if "full" in text:
        return _REFUSALS[errno.ENOSPC]
    if "readonly" in text:
        return _REFUSALS[errno.EROFS]
    if "unable to open" in text:
        return "check its path and the rights to its folder"
    if "locked" in text:
        return f"another process holds it: wait, and {_AGAIN}"
    return "it is damaged: put a copy in its place, or move it away and a new one is made"


def _yaml(error: BaseException) -> str:
    mark = getattr(error, "problem_mark", None)
    where = "a YAML file" if mark is None else f"{mark.name}, line {mark.line + 1}"
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or _line(error)
    return f"{where}: this is not YAML ({problem}): correct it there"


def _line(error: BaseException) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.rstrip(".")[:300]


def of_system(error: Exception) -> OSError | None:
    """The system's error inside of one that a library wrapped in its own words; None for others.

    Libraries in Rust quote it as "(os error 28)", Arrow as "[errno 28]".

    Parameters
    ----------
    error : Exception
        What writing or reading a file raised.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error
    found = re.search(r"\(os error (\d+)\)|\[errno (\d+)\]", str(error), re.IGNORECASE)
    if found is None:
        return None
    number = int(found[1] or found[2])
    return OSError(number, os.strerror(number))
