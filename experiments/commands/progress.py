"""What a person sees while a run trains."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from experiments.visible import visible
from paddock import Callback, RunInfo

LINE_SECONDS = 15.0


class RunProgress(Callback):
    """One bar for the epochs of a stage, with the metric in it, and one for the epoch's batches.

    Where there is no terminal, or where several runs share it, a line is printed now and then.

    Parameters
    ----------
    label : str
        Name of the run, such as "sasrec seed 1".
    metric : str
        Name of the metric that is shown, such as "valid/full/ndcg_at_10".
    bars : bool
        Whether to draw bars where the console is a terminal.
    console : Console
        Where to print.
    """

    def __init__(self, *, label: str, metric: str, bars: bool, console: Console) -> None:
        self._label = visible(label)
        self._metric = metric
        self._console = console
        self._bars = bars and console.is_terminal
        self._stage = ""
        self._epochs = 0
        self._printed = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=not self._bars,
            transient=True,
        )
        self._epoch_task: TaskID | None = None
        self._batch_task: TaskID | None = None

    def on_start(self, run: RunInfo) -> None:
        """Show the bars."""
        self._progress.start()

    def on_end(self, result: Mapping[str, Any] | None, error: BaseException | None) -> None:
        """Remove the bars."""
        self._progress.stop()

    def on_stage(self, stage: str, epochs: int) -> None:
        """Begin the bar of a stage."""
        self._stage = stage
        self._epochs = epochs
        for task in (self._epoch_task, self._batch_task):
            if task is not None:
                self._progress.remove_task(task)
        description = self._label if stage == "train" else f"{self._label} {stage}"
        self._epoch_task = self._progress.add_task(description, total=epochs, note="")
        self._batch_task = self._progress.add_task("  batches", total=None, note="")

    def on_batch(self, done: int, total: int) -> None:
        """Move the bar of the batches."""
        if self._bars and self._batch_task is not None:
            self._progress.update(self._batch_task, completed=done, total=total)

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """Move the bar of the epochs, with the last and the best value of the metric."""
        value = record["metrics"].get(self._metric)
        note = f"loss {record['metrics']['train/loss']:.4f}"
        if value is not None:
            note += f"  {self._metric} {value:.4f}  best {record['best']:.4f}"
        if self._bars and self._epoch_task is not None:
            self._progress.update(self._epoch_task, completed=record["epoch"], note=note)
        elif time.monotonic() - self._printed >= LINE_SECONDS:
            self._printed = time.monotonic()
            self._console.print(
                f"{self._label} {self._stage} epoch {record['epoch']}/{self._epochs}  {note}",
                highlight=False,
            )
