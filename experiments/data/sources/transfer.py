"""A file while it is downloaded: `.NAME.part`, the notes beside it, and the bar that tells of it."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from experiments import files
from experiments.errors import PaddockError
from experiments.terminal import make_console
from experiments.visible import visible

CHUNK = 1 << 18
"""Bytes that are read at a time."""


class AgainError(Exception):
    """The transfer ended early; another try may go on."""


class DownloadBar:
    """A bar on the terminal, on stderr; a line at the start where there is no terminal."""

    def __init__(self, name: str, *, shown: bool) -> None:
        self._console = make_console(stderr=True)
        self._name = visible(name)
        self._announced = False
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not shown or not self._console.is_terminal,
        )
        self._task = self._progress.add_task(f"Downloading {self._name}", total=None)

    def __enter__(self) -> "DownloadBar":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, done: int, total: int | None) -> None:
        """Say how many bytes are there already and how many there will be."""
        self._progress.update(self._task, completed=done, total=total)
        if not self._console.is_terminal and not self._announced:
            self._announced = True
            size = "" if total is None else f" ({total / 1e6:.1f} MB)"
            self._console.print(f"Downloading {self._name}{size}", highlight=False)

    def advance(self, done: int) -> None:
        """Say how many bytes are there."""
        self._progress.update(self._task, completed=done)


def facts_of(part: Path) -> Path:
    """The notes beside a part: where it is from, and what tells whether the file is still the same."""
    return part.with_name(f"{part.name}.json")


def begin_anew(url: str, part: Path, validator: str | None) -> None:
    """Drop what was loaded, and note what the next bytes are of.

    Parameters
    ----------
    url : str
        Without a password.
    part : Path
    validator : str or None
        What the server calls this version of the file.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    files.write_json(facts_of(part), {"url": url, "validator": validator})


def resume(part: Path) -> tuple[int, str | None]:
    """The byte to go on from, and what the server called the version of the file; (0, None): anew."""
    if not part.is_file() or not facts_of(part).is_file():
        return 0, None
    try:
        validator = files.read_json(facts_of(part))["validator"]
    except (PaddockError, KeyError, TypeError):
        return 0, None  # a damaged note: the part may be of any file
    start = part.stat().st_size
    # A weak tag may stand for files of different bytes, which If-Range refuses.
    if not validator or validator.startswith("W/") or start == 0:
        return 0, None
    return start, validator


def keep(
    part: Path, start: int, total: int | None, chunks: Iterator[bytes], bar: DownloadBar
) -> None:
    """Append what comes to the part.

    Parameters
    ----------
    part : Path
    start : int
        Bytes that are there already.
    total : int or None
        Bytes of the whole file, where it is known.
    chunks : iterator of bytes
    bar : DownloadBar

    Raises
    ------
    AgainError
        If it ends before `total`.
    """
    bar.begin(start, total)
    done = start
    with files.naming(part), part.open("ab" if start else "wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
            done += len(chunk)
            bar.advance(done)
    if total is not None and done < total:
        raise AgainError(f"the connection ended after {done} of {total} bytes")
