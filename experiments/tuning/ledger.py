"""Who works on which trial: exactly as many finished trials as were asked for, whoever dies when.

A worker takes a trial while it holds the lock that all workers on the database share. Under it,
finished and running trials together never exceed the budget, so that none is one too many; a dead
worker's trial stops counting, so that none is lost. All that a kill can leave behind is recognised
by the next worker under the lock:

- a running trial without a worker's name: its creator died within the lock;
- a running trial whose process is gone, or whose heartbeats are missing: its worker died;
- a failed trial without a reason that no trial repeats: whoever found it dead died too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import TrialState

from experiments.tuning.host import is_gone, this_worker
from experiments.tuning.storage import Exclusive
from experiments.tuning.trials import (
    DEATHS,
    DEFAULTS,
    DRAWN,
    INTERRUPTED,
    RETRY_OF,
    WORKER,
    counts,
    equal_failures,
    ordinal,
    orphans,
    spent,
)

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from experiments.tuning.storage import Storage

QUEUED = "fixed_params"
"""Where Optuna keeps the values that a trial was queued with."""

EXHAUSTED = "exhausted"
"""Attribute of a study whose sampler has tried every combination."""


class Verdict(Enum):
    """Why a worker gets no trial."""

    wait = "all trials that are left are being worked on"
    done = "the budget is spent"
    stop = "the same failure over and over"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a study may use in all, null being no limit."""

    n_trials: int | None
    timeout: float | None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A trial that this worker has, and which of the study's draws it is."""

    trial_id: int
    ordinal: int


class Ledger:
    """The trials of one study, and who works on them.

    Parameters
    ----------
    exclusive
        The lock of the database.
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

    @property
    def trials(self) -> list["FrozenTrial"]:
        return self.study.get_trials(deepcopy=False)

    def verdict(self, trials: Sequence["FrozenTrial"]) -> Verdict | None:
        """Why no trial shall begin, or None."""
        if equal_failures(trials, since=self.began) is not None:
            return Verdict.stop
        finished = sum(map(counts, trials))
        running = sum(trial.state is TrialState.RUNNING for trial in trials)
        waiting = sum(trial.state is TrialState.WAITING for trial in trials)
        n_trials = self.budget.n_trials
        if (n_trials is not None and finished >= n_trials) or self.over_time(trials):
            return Verdict.done
        if n_trials is not None and finished + running >= n_trials:
            return Verdict.wait
        if EXHAUSTED in self.study.user_attrs and not waiting:
            return Verdict.wait if running else Verdict.done
        return None

    def over_time(self, trials: Sequence["FrozenTrial"]) -> bool:
        """Whether the seconds are spent; every study gets its first trial."""
        limit = self.budget.timeout
        if limit is None or not any(map(counts, trials)):
            return False
        return spent(trials, now=datetime.now()) >= limit

    def claim(self) -> "Claim | Verdict":
        """Take a trial to work on, or say why there is none."""
        with self._exclusive():
            self._find_dead()
            trials = self.trials
            self._queue(trials)
            trials = self.trials
            if (verdict := self.verdict(trials)) is not None:
                return verdict
            return self._take(trials)

    def _take(self, trials: Sequence["FrozenTrial"]) -> "Claim":
        waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
        # Optuna's own way of doing so, Study.ask, samples meanwhile, which others would wait for.
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        if waiting:
            trial_id = self.storage.get_trial_id_from_study_id_trial_number(
                study_id, waiting[0].number
            )
            taken = self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
            assert taken, "a trial was taken without the lock"
        else:
            trial_id = self.storage.create_new_trial(study_id)
        self.storage.record_heartbeat(trial_id)
        self.storage.set_trial_user_attr(trial_id, WORKER, self._worker)
        place = ordinal(waiting[0], trials) if waiting else ordinal(None, trials)
        return Claim(trial_id=trial_id, ordinal=place)

    def _find_dead(self) -> None:
        fail_stale_trials(self.study)
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            worker = trial.user_attrs.get(WORKER)
            if worker is None or is_gone(worker):
                self._bury(trial.number)

    def _bury(self, number: int) -> None:
        study_id = self.storage.get_study_id_from_name(self.study.study_name)
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, number)
        try:
            self.storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return  # it ended between the look and the deed

    def _queue(self, trials: Sequence["FrozenTrial"]) -> None:
        """Queue the first trial of a study, and what dead workers left."""
        if not trials:
            self.study.enqueue_trial(self._defaults, user_attrs={DEFAULTS: True})
        for dead in orphans(trials):
            deaths = int(dead.user_attrs.get(DEATHS, 0)) + (INTERRUPTED not in dead.user_attrs)
            attributes = {RETRY_OF: dead.number, DEATHS: deaths}
            # Half a draw is drawn again, from its own seed.
            values = dead.params if DRAWN in dead.user_attrs else dead.system_attrs.get(QUEUED, {})
            if DEFAULTS in dead.user_attrs:
                attributes[DEFAULTS] = True
                values = self._defaults
            self.study.enqueue_trial(values, user_attrs=attributes)
