"""The progress of a study: a live table on a terminal, and a line for each trial that ends."""

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState
from rich.console import Console
from rich.live import Live
from rich.table import Table

from experiments.tuning.trial_queue import Budget, TrialQueue
from experiments.tuning.trials import STOPPED_BY, best, counts, reason, seconds_used

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

POLL_SECONDS = 1.0
ROWS = 12
"""How many trials the table shows: those that run, and the latest."""


class View:
    """Shows the progress of a study, read from its storage, whichever workers run its trials.

    Parameters
    ----------
    queue
        The trials of the study, and their budget.
    label
        What each line begins with.
    log
        The file that every line goes to as well.
    console
        The table is shown on a terminal only; lines are shown everywhere.
    """

    def __init__(self, queue: TrialQueue, *, label: str, log: Path, console: Console) -> None:
        self._queue = queue
        self.label = label
        self._log = log
        self._console = console
        self._done = Event()
        self._announced = {trial.number for trial in queue.trials if trial.state.is_finished()}
        self._live: Live | None = None
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "View":
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._console.is_terminal:
            self._live = Live(console=self._console, transient=True, auto_refresh=False)
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        if self._live is not None:
            self._live.stop()
        if not isinstance(error, Exception):
            self._look()

    def say(self, line: str) -> None:
        """Print a line and append it to the log file, there with the time."""
        with self._log.open("a", encoding="utf-8") as stream:
            stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _watch(self) -> None:
        while not self._done.wait(POLL_SECONDS):
            try:
                self._look()
            except Exception:
                continue  # the storage is busy or away: those who work on it will say so

    def _look(self) -> None:
        trials = self._queue.trials
        for trial in sorted(trials, key=lambda each: each.datetime_complete or datetime.max):
            if trial.state.is_finished() and trial.number not in self._announced:
                self._announced.add(trial.number)
                self.say(f"{self.label}: {line(trial, trials, self._queue.budget)}")
        if self._live is not None:
            self._live.update(table(trials, self._queue.budget, title=self.label), refresh=True)


def line(trial: "FrozenTrial", trials: Sequence["FrozenTrial"], budget: Budget) -> str:
    """How a trial ended, the best trial so far, and how much of the budget is used.

    Parameters
    ----------
    trial
        A finished trial.
    trials
        All trials of the study.
    budget
        What the study may use.
    """
    parts = [f"trial {trial.number} {outcome(trial)}"]
    if (winner := best(trials)) is not None:
        parts.append(f"best {winner.value:.4f} (trial {winner.number})")
    return "; ".join([*parts, budget_text(trials, budget)])


def outcome(trial: "FrozenTrial") -> str:
    """How a finished trial ended, as text."""
    seconds = f" in {trial.duration.total_seconds():.1f} s" if trial.duration else ""
    if trial.state is TrialState.COMPLETE:
        return f"complete{seconds}, {trial.value:.4f}"
    if trial.state is TrialState.PRUNED:
        early = "out of time" if trial.user_attrs.get(STOPPED_BY) == "timeout" else "pruned"
        return f"{early} at epoch {trial.last_step}{seconds}"
    if (why := reason(trial)) is not None:
        return f"failed: {why}"
    return "cut off, to be tried again"


def budget_text(trials: Sequence["FrozenTrial"], budget: Budget) -> str:
    """How much of the budget is used, and about how long the rest takes, as text.

    Parameters
    ----------
    trials
        All trials of the study.
    budget
        What the study may use.
    """
    now = datetime.now()
    finished, used = sum(map(counts, trials)), seconds_used(trials, now=now)
    parts, left = [], []
    if budget.n_trials is not None:
        parts.append(f"{finished}/{budget.n_trials} trials")
        if finished:
            left.append(used / finished * max(0, budget.n_trials - finished))
    if budget.timeout is not None:
        parts.append(f"{used:.0f}/{budget.timeout:.0f} s")
        left.append(max(0.0, budget.timeout - used))
    if left:
        parts.append(f"about {duration(min(left))} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as text, in the unit that suits them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def table(trials: Sequence["FrozenTrial"], budget: Budget, *, title: str) -> Table:
    """A table of the best trial, the latest finished ones and the running ones.

    Parameters
    ----------
    trials
        All trials of the study.
    budget
        What the study may use.
    title
        What stands above the table, before how much of the budget is used.
    """
    shown = Table(title=f"{title}: {budget_text(trials, budget)}", title_justify="left")
    winner = best(trials)
    for column in ("trial", "state", "epoch", "value", "seconds", "parameters"):
        right = column in ("trial", "epoch", "value", "seconds")
        shown.add_column(
            column, justify="right" if right else "left", no_wrap=column != "parameters"
        )
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    others = [trial for trial in trials if trial.state.is_finished() and trial is not winner]
    latest = others[-max(1, ROWS - len(running)) :]
    for trial in [*([winner] if winner else []), *latest, *running]:
        shown.add_row(*_cells(trial), style="bold" if trial is winner else None)
    return shown


def _cells(trial: "FrozenTrial") -> list[str]:
    step = trial.last_step
    value: Any = trial.value
    if value is None and step is not None:
        value = trial.intermediate_values[step]
    began, ended = trial.datetime_start, trial.datetime_complete or datetime.now()
    return [
        str(trial.number),
        trial.state.name.lower(),
        "" if step is None else str(step),
        "" if value is None else f"{value:.4f}",
        "" if began is None else f"{(ended - began).total_seconds():.0f}",
        params_text(trial.params),
    ]


def params_text(params: dict[str, Any]) -> str:
    """Parameters as text, floats shortened to four digits."""
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in params.items()
    )
