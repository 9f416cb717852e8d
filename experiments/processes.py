"""Which of the processes of one run this is, where torchrun started several of them.

Read from the environment alone, so that a command is answered without torch. What the processes do
together once they train is in `experiments.training.ranks`.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from experiments.errors import PaddockError

_speaking: list[Any] = []
"""The stderr of a process that is quiet, for what it has to say after all."""


def size() -> int:
    """How many processes torchrun started for this command; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) if _launched() else 1


def rank() -> int:
    """The number of this process, from 0; process 0 owns the run folder and the terminal."""
    return int(os.environ.get("RANK", "0")) if _launched() else 0


def local_rank() -> int:
    """The number of this process among those on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if _launched() else 0


def refuse_several(what: str) -> None:
    """Refuse what is done by one process.

    Parameters
    ----------
    what : str
        The subject of the sentence, such as "a grid".

    Raises
    ------
    PaddockError
        If torchrun started several.
    """
    if size() > 1:
        raise PaddockError(
            f"{what} runs in one process, and torchrun started {size()}: leave torchrun out"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Print nothing within the block, in every process but the first."""
    if rank() == 0:
        yield
        return
    _speaking.append(sys.stderr)
    try:
        with (
            Path(os.devnull).open("w") as nowhere,
            redirect_stdout(nowhere),
            redirect_stderr(nowhere),
        ):
            yield
    finally:
        _speaking.pop()


def say_error(text: str) -> None:
    """Print an error to stderr, unless another process of the command did.

    Processes meet the same mistake at the same time, and torchrun ends the others when the first of them
    exits: whichever comes first says it.

    Parameters
    ----------
    text : str
        What to print.
    """
    if size() == 1 or _first_to_say():
        print(text, file=_speaking[-1] if _speaking else sys.stderr, flush=True)


def _launched() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _first_to_say() -> bool:
    """Whether no other process on this machine said an error; unsaid would be worse than twice."""
    folder = _attempt()
    if folder is None:
        return True
    try:
        (folder / "paddock-said").touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True


def _attempt() -> Path | None:
    """The folder that torchrun keeps for one start of the processes of this machine."""
    given = os.environ.get("TORCHELASTIC_ERROR_FILE")
    return None if given is None else Path(given).parent.parent
