"""What a person sees while a file is downloaded."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class DownloadBar:
    """A bar on the terminal, on stderr; a line at the start where there is no terminal."""

    def __init__(self, name: str, *, shown: bool) -> None:
        self._console = Console(stderr=True)
        self._name = name
        self._told = False
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not shown or not self._console.is_terminal,
        )
        self._task = self._progress.add_task(f"Downloading {name}", total=None)

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
        """Say how much is there already and how much there will be."""
        self._progress.update(self._task, completed=done, total=total)
        if not self._console.is_terminal and not self._told:
            self._told = True
            size = "" if total is None else f" ({total / 1e6:.1f} MB)"
            self._console.print(f"Downloading {self._name}{size}", highlight=False)

    def advance(self, done: int) -> None:
        self._progress.update(self._task, completed=done)
