"""tune.py in a process forked from one that has imported everything, and what its storage says."""

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from tests import fork_server

ROOT = Path(__file__).parents[2]
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

SMALL = [
    "model=bpr",
    "dataset=tiny",
    "model.epochs=4",
    "model.embedding_size=16",
    "~search.embedding_size",
    "study.sampler=random",
    "study.pruner=none",
    "study.final_seeds=0",
    "study.heartbeat_seconds=1",
    "device=cpu",
    "progress=false",
]
"""A study whose trials take tenths of a second and whose draws depend on nothing but their order."""


class Tuner:
    """tune.py with everything that it writes under one folder."""

    def __init__(self, folder: Path, *, data_dir: Path) -> None:
        self.folder = folder
        self.data_dir = data_dir
        self.storage = f"sqlite:///{folder}/runs/studies.db"
        self.output = folder / "output"

    @property
    def places(self) -> list[str]:
        return [
            f"runs_dir={self.folder}/runs",
            f"data_dir={self.data_dir}",
            f"study.tuned_dir={self.folder}/conf/tuned",
        ]

    def overrides(self, *overrides: str) -> list[str]:
        tracking = (
            [] if any(each.startswith("tracking") for each in overrides) else ["tracking=off"]
        )
        storage = [
            each.partition("=")[2] for each in overrides if each.startswith("study.storage=")
        ]
        if storage:
            self.storage = storage[-1].replace("postgresql://", "postgresql+psycopg://")
        return [*overrides, *tracking, *self.places]

    def start(self, *overrides: str, dies_at: str = "", slow: float = 0.0) -> Any:
        """Begin the command; see `command` for `dies_at` and `slow`."""
        asked = (self.overrides(*overrides), self.output, dies_at, slow)
        return fork_server.call(command, *asked)

    def __call__(self, *overrides: str, code: int = 0, **options: Any) -> str:
        """Run the command to its end; its output is returned."""
        before = len(self.said)
        process = self.start(*overrides, **options)
        process.wait()
        assert process.returncode == code, self.said[before:]
        return self.said[before:]

    @property
    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    @property
    def study(self) -> optuna.Study:
        (found,) = optuna.get_all_study_names(self.storage)
        return optuna.load_study(study_name=found, storage=self.storage)

    def known(self) -> bool:
        """Whether the storage holds the study."""
        try:
            return bool(optuna.get_all_study_names(self.storage))
        except SQLAlchemyError:
            return False  # its tables are being made

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.study.trials

    @property
    def folders(self) -> list[Path]:
        return sorted((self.folder / "runs").glob("*/*/hpo/*"))

    def ended(self) -> int:
        """The trials that have ended, asked of SQLite itself and often."""
        file = Path(self.storage.removeprefix("sqlite:///"))
        if not file.exists():
            return 0
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as database:
                asked = "SELECT COUNT(*) FROM trials WHERE state NOT IN ('RUNNING', 'WAITING')"
                return int(database.execute(asked).fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # its tables are being made

    def kill(self, process: Any, *, ended: int) -> None:
        """SIGKILL once so many trials have ended."""
        while self.ended() < ended:
            assert process.poll() is None, self.said
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL


def command(argv: list[str], output: Path, dies_at: str, slow: float) -> None:
    """tune.py in this process.

    Parameters
    ----------
    dies_at
        "METHOD:N": SIGKILL before the N-th call of that method of Optuna's storage; "METHOD:N:after"
        behind it.
    slow
        Seconds that an epoch's report takes longer, so that a watcher can kill where it wants to.
    """
    os.chdir(ROOT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["tune.py", *argv]
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    if dies_at:
        name, number, *after = dies_at.split(":")
        _die(name, int(number), after=bool(after))
    if slow:
        _delay(slow)
    from experiments.tuning.cli import main

    main()


def _die(name: str, number: int, *, after: bool) -> None:
    wanted: Callable[..., Any] = getattr(_CachedStorage, name)
    left = number

    def call_or_die(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = wanted(*args, **kwargs)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(_CachedStorage, name, call_or_die)


def _delay(seconds: float) -> None:
    report = optuna.Trial.report

    def report_slowly(self: optuna.Trial, value: float, step: int) -> None:
        report(self, value, step)
        time.sleep(seconds)

    optuna.Trial.report = report_slowly  # type: ignore[method-assign]


def counted(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The finished trials, those left out that were cut off with their worker."""
    return [
        trial
        for trial in trials
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        or (trial.state is TrialState.FAIL and "reason" in trial.user_attrs)
    ]


def draws(trials: list[FrozenTrial]) -> list[list[FrozenTrial]]:
    """The counted trials of each draw, in the order of the draws: a repeated one is its first."""
    by_number = {trial.number: trial for trial in trials}

    def first(trial: FrozenTrial) -> int:
        while "retry_of" in trial.user_attrs:
            trial = by_number[trial.user_attrs["retry_of"]]
        return trial.number

    finished = counted(trials)
    return [
        [trial for trial in finished if first(trial) == number]
        for number in sorted({first(trial) for trial in trials})
    ]


def outcome(trials: list[FrozenTrial]) -> list[tuple[Any, ...]]:
    """What each draw came to; each counts once."""
    found = []
    for trials_of_draw in draws(trials):
        (trial,) = trials_of_draw
        found.append((trial.params, trial.state, trial.value, trial.intermediate_values))
    return found
