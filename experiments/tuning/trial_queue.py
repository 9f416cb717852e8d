"""Who works on which trial: exactly as many finished trials as were asked for, whoever dies when.

A worker takes a trial while it holds the lock that all workers on the database share. Under it,
finished and running trials together never exceed the budget, so that none is one too many; a dead
worker's trial stops counting, so that none is lost. All that a kill can leave behind is recognised
by the next worker under the lock:

- a running trial without a worker's name: its creator died within the lock;
- a running trial whose process is gone, or whose heartbeats are missing: its worker died;
- a failed trial without a reason that no trial repeats: whoever found it dead died too.

Optuna's own queue (a study whose whole budget is enqueued, Study.optimize, fail_stale_trials and
RetryHeartbeatStaleTrialCallback) does not keep the count exact. A trial whose worker dies before
its first heartbeat runs for ever; a trial whose finder dies between failing it and queueing it
again is lost; and a worker that finds the queue emptied by another makes a trial beyond the
budget. It also repeats a trial behind all that are enqueued, so that TPE draws other values than
in a study that was not stopped.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import TrialState

from experiments.tuning.heartbeat import is_gone, this_worker
from experiments.tuning.storage import Exclusive
from experiments.tuning.trials import (
    DEATHS,
    DEFAULTS,
    DRAWN,
    INTERRUPTED,
    RETRY_OF,
    WORKER,
    counts,
    draw_index,
    equal_failures,
    seconds_used,
    unrepeated,
)

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from experiments.tuning.storage import Storage

QUEUED = "fixed_params"
"""The system attribute in which Optuna keeps the values that a trial was queued with."""

EXHAUSTED = "exhausted"
"""User attribute of a study whose sampler has tried every combination."""


class QueueState(Enum):
    """Whether a worker can take a trial, and why not."""

    open = "a trial can be taken"
    all_running = "the trials that are left of the budget are running"
    finished = "the budget is used"
    failing = "the last trials all failed by the same reason"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What all trials of a study may use together.

    Attributes
    ----------
    n_trials
        Finished trials; None is no limit.
    timeout
        Seconds in which at least one trial runs; None is no limit.
    """

    n_trials: int | None
    timeout: float | None


@dataclass(frozen=True, kw_only=True)
class TakenTrial:
    """A trial that this worker has taken.

    Attributes
    ----------
    trial_id
        Its id in the storage, which is not its number in the study.
    draw
        Which draw of the study's sampler it is, counted from 0; a repeated trial keeps its draw.
    """

    trial_id: int
    draw: int


class TrialQueue:
    """The trials of one study that are left to run, shared by all of its workers.

    Parameters
    ----------
    storage
        The very object that the study works with, which caches its trials.
    study
        The study of Optuna.
    exclusive
        The lock of the database.
    budget
        What the study may use; it is no part of the study, and another worker's may be higher.
    defaults
        The values of the first trial: the model's own.
    """

    def __init__(
        self,
        *,
        storage: "Storage",
        study: "Study",
        exclusive: Exclusive,
        budget: Budget,
        defaults: dict[str, Any],
    ) -> None:
        self.storage = storage
        self.study = study
        self.budget = budget
        self.began = datetime.now()
        self._exclusive = exclusive
        self._defaults = defaults
        self._worker = this_worker()
        self._study_id = storage.get_study_id_from_name(study.study_name)

    @property
    def trials(self) -> list["FrozenTrial"]:
        """All trials of the study, in the order of their numbers; not to be changed."""
        return self.study.get_trials(deepcopy=False)

    def state(self, trials: Sequence["FrozenTrial"]) -> QueueState:
        """Whether another trial may begin.

        Parameters
        ----------
        trials
            All trials of the study.
        """
        if equal_failures(trials, since=self.began) is not None:
            return QueueState.failing
        finished = sum(map(counts, trials))
        running = sum(trial.state is TrialState.RUNNING for trial in trials)
        waiting = sum(trial.state is TrialState.WAITING for trial in trials)
        n_trials = self.budget.n_trials
        if (n_trials is not None and finished >= n_trials) or self.over_time(trials):
            return QueueState.finished
        if n_trials is not None and finished + running >= n_trials:
            return QueueState.all_running
        if EXHAUSTED in self.study.user_attrs and not waiting:
            return QueueState.all_running if running else QueueState.finished
        return QueueState.open

    def over_time(self, trials: Sequence["FrozenTrial"]) -> bool:
        """Whether the seconds of the budget are used; every study may finish its first trial.

        Parameters
        ----------
        trials
            All trials of the study.
        """
        limit = self.budget.timeout
        if limit is None or not any(map(counts, trials)):
            return False
        return seconds_used(trials, now=datetime.now()) >= limit

    def take(self) -> TakenTrial | QueueState:
        """Take a trial to work on, or say why there is none.

        Returns
        -------
        TakenTrial or QueueState
            The trial, which is running in this process's name; or the state, which is not open.
        """
        with self._exclusive():
            self._fail_dead()
            self._enqueue(self.trials)
            trials = self.trials
            state = self.state(trials)
            return self._begin(trials) if state is QueueState.open else state

    def _begin(self, trials: Sequence["FrozenTrial"]) -> TakenTrial:
        """Set a waiting trial running, or make one."""
        waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
        # Study.ask samples at once, and all other workers would wait for that at the lock.
        if waiting:
            trial_id = self._trial_id(waiting[0])
            taken = self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
            assert taken, "a trial was taken without the lock"
        else:
            trial_id = self.storage.create_new_trial(self._study_id)
        self.storage.record_heartbeat(trial_id)
        self.storage.set_trial_user_attr(trial_id, WORKER, self._worker)
        draw = draw_index(waiting[0] if waiting else None, trials)
        return TakenTrial(trial_id=trial_id, draw=draw)

    def _fail_dead(self) -> None:
        """Let the trials fail whose workers have died."""
        fail_stale_trials(self.study)
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            worker = trial.user_attrs.get(WORKER)
            if worker is None or is_gone(worker):
                # One that its worker has just ended is no longer running: that is fine.
                with suppress(UpdateFinishedTrialError):
                    self.storage.set_trial_state_values(self._trial_id(trial), TrialState.FAIL)

    def _enqueue(self, trials: Sequence["FrozenTrial"]) -> None:
        """Queue the first trial of a study, and again those that were cut off."""
        if not trials:
            self.study.enqueue_trial(self._defaults, user_attrs={DEFAULTS: True})
        for dead in unrepeated(trials):
            deaths = int(dead.user_attrs.get(DEATHS, 0)) + (INTERRUPTED not in dead.user_attrs)
            attributes = {RETRY_OF: dead.number, DEATHS: deaths}
            # Values of which some are missing are drawn again, from the same seed.
            values = dead.params if DRAWN in dead.user_attrs else dead.system_attrs.get(QUEUED, {})
            if DEFAULTS in dead.user_attrs:
                attributes[DEFAULTS] = True
                values = self._defaults
            self.study.enqueue_trial(values, user_attrs=attributes)

    def _trial_id(self, trial: "FrozenTrial") -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)
