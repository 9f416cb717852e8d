"""The trial queue under a worker that dies at any call of the storage: every draw ends once.

A worker's death is an exception that nothing handles: like a kill, it leaves in the storage what
had been committed, and frees the lock. The process that the trial names has ended by then.
"""

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from experiments.tuning import trial_queue
from experiments.tuning.heartbeat import this_worker
from experiments.tuning.storage import connect, create_study, exclusive
from experiments.tuning.trial_queue import Budget, QueueState, TakenTrial, TrialQueue
from experiments.tuning.trials import (
    DEATHS,
    DRAWN,
    INTERRUPTED,
    MOST_DEATHS,
    REASON,
    counts,
    unrepeated,
)

from .tuner import outcome

N_TRIALS = 4
DEFAULTS = {"x": 0.5, "y": 0.5}
WRITES = [
    "create_new_trial",
    "record_heartbeat",
    "set_trial_intermediate_value",
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_user_attr",
]
"""The methods of the storage that change it while trials run."""


class Death(BaseException):
    """Ends a worker as a kill would."""


class Worker:
    """One worker on the study of a SQLite file, whose trials need no model."""

    def __init__(self, file: Path, *, dies_behind: int | None = None) -> None:
        url = f"sqlite:///{file}"
        self.storage = connect(url, heartbeat_seconds=60)
        self.study = create_study(self.storage, url, "study", {})
        self.queue = TrialQueue(
            storage=self.storage,
            study=self.study,
            exclusive=exclusive(url),
            budget=Budget(n_trials=N_TRIALS, timeout=None),
            defaults=DEFAULTS,
        )
        self.writes = 0
        self._dies_behind = dies_behind
        for name in WRITES:
            setattr(self.storage, name, self._counted(getattr(self.storage, name)))

    def _counted(self, method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            self.writes += 1
            if self.writes == self._dies_behind:
                raise Death
            return result

        return call

    def work(self) -> QueueState:
        while isinstance(taken := self.queue.take(), TakenTrial):
            # Its draws depend on the trials before, so that an order that differs is seen.
            self.study.sampler = optuna.samplers.TPESampler(
                seed=taken.draw, n_startup_trials=2, multivariate=True, constant_liar=True
            )
            trial = Trial(self.study, taken.trial_id)
            x, y = (trial.suggest_float(name, 0.0, 1.0) for name in ("x", "y"))
            trial.set_user_attr(DRAWN, True)
            trial.report(x, 1)
            self.study.tell(trial, x - y * y)
        return taken


@pytest.fixture(autouse=True)
def _no_experimental_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the tables of Optuna and no study."""
    file = tmp_path_factory.mktemp("empty") / "studies.db"
    storage = connect(f"sqlite:///{file}", heartbeat_seconds=60)
    storage._backend.engine.dispose()
    return file


@pytest.fixture(scope="module")
def ended_worker() -> dict[str, Any]:
    """What a process that has ended wrote to its trial."""
    program = (
        "import json; from experiments.tuning.heartbeat import this_worker;"
        "print(json.dumps(this_worker()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return dict(json.loads(done.stdout))


@pytest.fixture
def file(empty: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty, tmp_path))


@pytest.fixture
def undisturbed(empty: Path, tmp_path: Path) -> tuple[int, list[Any]]:
    """The number of writes, and what each draw came to."""
    file = Path(shutil.copy(empty, tmp_path / "undisturbed.db"))
    worker = Worker(file)
    assert worker.work() is QueueState.finished
    return worker.writes, outcome(worker.queue.trials)


def die(file: Path, worker: dict[str, Any], *, behind: int) -> None:
    """Work as a process that ends behind its n-th write, and has ended from then on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_queue, "this_worker", lambda: worker)
        with pytest.raises(Death):
            Worker(file, dies_behind=behind).work()


REPORT = 16
"""The write behind which the second trial has its values and not yet its end."""


def test_death_behind_every_write(
    empty: Path, tmp_path: Path, undisturbed: tuple[int, list[Any]], ended_worker: dict[str, Any]
) -> None:
    writes, expected = undisturbed
    assert writes == 9 + 8 * (N_TRIALS - 1)
    # Those of the trials in between are as the second one's.
    for behind in [*range(1, REPORT + 2), writes]:
        file = Path(shutil.copy(empty, tmp_path / f"{behind}.db"))
        die(file, ended_worker, behind=behind)
        worker = Worker(file)
        assert worker.work() is QueueState.finished, behind
        assert outcome(worker.queue.trials) == expected, behind


@pytest.mark.parametrize("second", range(1, 6))
def test_second_death_while_the_first_is_dealt_with(
    file: Path, undisturbed: tuple[int, list[Any]], ended_worker: dict[str, Any], second: int
) -> None:
    """Whoever lets a dead worker's trial fail, queues it again and takes it may die as well."""
    die(file, ended_worker, behind=REPORT)
    die(file, ended_worker, behind=second)
    worker = Worker(file)
    assert worker.work() is QueueState.finished
    assert outcome(worker.queue.trials) == undisturbed[1]


def test_values_that_cost_three_workers(file: Path, ended_worker: dict[str, Any]) -> None:
    die(file, ended_worker, behind=REPORT)
    for _ in range(2):
        # Its fail, its queueing and its taking are five writes, its values and report four.
        die(file, ended_worker, behind=9)
    worker = Worker(file)
    assert worker.work() is QueueState.finished
    dead = [trial for trial in worker.queue.trials if trial.state is TrialState.FAIL]
    assert len(dead) == 3
    assert len({tuple(trial.params.values()) for trial in dead}) == 1
    complete = [trial for trial in worker.queue.trials if trial.state is TrialState.COMPLETE]
    assert len(complete) == N_TRIALS - 1


def test_living_worker_keeps_its_trial(file: Path) -> None:
    first, second = Worker(file), Worker(file)
    taken = [worker.queue.take() for worker in (first, second)]
    assert [each.draw for each in taken if isinstance(each, TakenTrial)] == [0, 1]
    assert [trial.state for trial in second.queue.trials] == [TrialState.RUNNING] * 2
    assert second.queue.trials[0].user_attrs["worker"] == this_worker()


BEGIN = datetime.now() - timedelta(hours=1)


def trials(*states: str) -> list[FrozenTrial]:
    """Trials of ten seconds each, one after another."""
    made = []
    for number, state in enumerate(states):
        attributes = {"failed": {REASON: "nan"}, "interrupted": {INTERRUPTED: True}}.get(state, {})
        name = {"failed": "FAIL", "interrupted": "FAIL"}.get(state, state.upper())
        trial = create_trial(
            state=TrialState[name],
            value=1.0 if state == "complete" else None,
            user_attrs=attributes,
        )
        trial.number = number
        trial.datetime_start = BEGIN + timedelta(seconds=10 * number)
        if trial.state.is_finished():
            trial.datetime_complete = trial.datetime_start + timedelta(seconds=10)
        made.append(trial)
    return made


@pytest.mark.parametrize(
    ("n_trials", "timeout", "states", "expected"),
    [
        (3, None, ["complete", "pruned"], QueueState.open),
        (3, None, ["complete", "pruned", "failed"], QueueState.finished),
        (3, None, ["complete", "pruned", "interrupted"], QueueState.open),
        (3, None, ["complete", "pruned", "fail"], QueueState.open),
        (3, None, ["complete", "pruned", "running"], QueueState.all_running),
        (None, 25.0, ["complete", "pruned"], QueueState.open),
        (None, 20.0, ["complete", "pruned"], QueueState.finished),
        (None, 20.0, ["complete", "interrupted"], QueueState.open),
        (None, 1.0, ["running"], QueueState.open),
        (None, 1e9, ["complete"], QueueState.open),
        (3, 1.0, ["complete"], QueueState.finished),
    ],
)
def test_state_of_the_queue(
    file: Path,
    n_trials: int | None,
    timeout: float | None,
    states: list[str],
    expected: QueueState,
) -> None:
    queue = Worker(file).queue
    queue.budget = Budget(n_trials=n_trials, timeout=timeout)
    assert queue.state(trials(*states)) is expected


def test_state_after_equal_failures(file: Path) -> None:
    queue = Worker(file).queue
    queue.budget = Budget(n_trials=100, timeout=None)
    queue.began = BEGIN
    assert queue.state(trials(*["failed"] * 4)) is QueueState.open
    assert queue.state(trials(*["failed"] * 5)) is QueueState.failing
    assert queue.state(trials(*["failed"] * 5, "complete")) is QueueState.open


def test_state_of_an_exhausted_grid(file: Path) -> None:
    worker = Worker(file)
    worker.study.set_user_attr(trial_queue.EXHAUSTED, True)
    queue = worker.queue
    assert queue.state(trials("complete")) is QueueState.finished
    assert queue.state(trials("complete", "running")) is QueueState.all_running
    # A trial that was cut off is queued again.
    assert queue.state(trials("complete", "waiting")) is QueueState.open


@pytest.mark.parametrize(
    ("attributes", "is_counted"),
    [
        ({DEATHS: MOST_DEATHS - 1}, True),
        ({DEATHS: MOST_DEATHS - 2}, False),
        # Stopping its worker is no fault of the values, however many workers they have cost.
        ({DEATHS: MOST_DEATHS - 1, INTERRUPTED: True}, False),
    ],
)
def test_failed_trials_that_count(attributes: dict[str, Any], is_counted: bool) -> None:
    trial = create_trial(state=TrialState.FAIL, user_attrs=attributes)
    assert counts(trial) is is_counted
    assert unrepeated([trial]) == ([] if is_counted else [trial])
