"""A worker: takes the trials of a study one after another, until there is none left to take."""

import gc
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from optuna import TrialPruned
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import Trial, TrialState
from threadpoolctl import threadpool_limits

from experiments.files import hash_of
from experiments.orphans import end_with
from experiments.passwords import hidden
from experiments.training.device import device_of
from experiments.training.memory import keep_freed_memory
from experiments.tuning.algorithms import sampler
from experiments.tuning.heartbeat import heartbeat
from experiments.tuning.objective import Objective
from experiments.tuning.study import TuningStudy
from experiments.tuning.trial_queue import EXHAUSTED, QueueState, TakenTrial
from experiments.tuning.trials import INTERRUPTED, REASON

LAUNCHER = "PADDOCK_LAUNCHER"
"""Environment variable with the number of the process that started this worker.

That process shows what the worker does, and the worker ends with it.
"""

WAIT_SECONDS = 0.5
"""Between two looks at the queue while all trials that are left are running."""

_LONGEST_REASON = 300


def work(
    study: TuningStudy, *, on_trial_end: Callable[[int], None] = lambda number: None
) -> QueueState:
    """Work on trials until there is none left to take.

    Parameters
    ----------
    study
        The study, whose queue other workers may share.
    on_trial_end
        Called with the number of every trial that this worker has ended.

    Returns
    -------
    QueueState
        Why there is none: `finished` or `failing`.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C or SIGTERM, or if the process that started this worker is gone. The trial is
        handed back to the queue before.
    """
    config = study.config
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    objective = Objective(study=study, device=device_of(config.device))
    _keep_imported()
    trained = False
    with threadpool_limits(config.threads), _terminable() as stopped:
        if launcher := os.environ.get(LAUNCHER):
            end_with(int(launcher))
        while True:
            if stopped():
                raise KeyboardInterrupt
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # experimental parts of Optuna
                taken = study.queue.take()
                if isinstance(taken, TakenTrial):
                    on_trial_end(_run(study, taken, objective))
                    if not trained:
                        _keep_imported()  # the first trial imports RecBole
                        trained = True
            if taken is QueueState.all_running:
                time.sleep(WAIT_SECONDS)
            elif isinstance(taken, QueueState):
                return taken


def _keep_imported() -> None:
    """Let collecting after a trial not look again at what is imported, which stays."""
    gc.collect()
    gc.freeze()


def _run(study: TuningStudy, taken: TakenTrial, objective: Objective) -> int:
    """Train a trial and store how it ended; its number is returned."""
    # A seed of each draw's own: workers draw different values, and a study that was stopped draws
    # what it would have drawn.
    settings = study.config.study
    seed = int(hash_of([settings.seed, taken.draw])[:8], 16)
    study.optuna_study.sampler = sampler(settings.sampler, seed=seed)
    with heartbeat(study.storage, taken.trial_id):
        trial = Trial(study.optuna_study, taken.trial_id)
        _train(study, trial, objective)
    return trial.number


def _train(study: TuningStudy, trial: Trial, objective: Objective) -> None:
    try:
        _end(study, trial, TrialState.COMPLETE, objective(trial))
    except TrialPruned:
        _end(study, trial, TrialState.PRUNED)
    except UpdateFinishedTrialError:
        return  # it was taken for dead, and is repeated
    except StorageInternalError:
        raise  # no failure of the trial: it is repeated as one whose worker died
    except (KeyboardInterrupt, SystemExit):
        with suppress(UpdateFinishedTrialError):
            trial.set_user_attr(INTERRUPTED, True)
        _end(study, trial, TrialState.FAIL)
        raise
    except Exception as error:
        with suppress(UpdateFinishedTrialError):
            trial.set_user_attr(REASON, error_line(error))
        _end(study, trial, TrialState.FAIL)
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _end(study: TuningStudy, trial: Trial, state: TrialState, value: float | None = None) -> None:
    """Store how a trial ended, unless it was taken for dead meanwhile."""
    try:
        study.optuna_study.tell(trial, value, state=state)
    except UpdateFinishedTrialError:
        return
    except ValueError as error:
        if "Cannot tell" not in str(error):
            raise
    except RuntimeError as error:
        # How the exhaustive sampler says that nothing is left, after the trial is stored.
        if "Study.stop" not in str(error):
            raise
        study.optuna_study.set_user_attr(EXHAUSTED, True)


def error_line(error: Exception) -> str:
    """The first line of an error, behind its type where it is none of Paddock's, shortened."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    kind = "" if type(error).__name__ == "PaddockError" else f"{type(error).__name__}: "
    return hidden(f"{kind}{line}")[:_LONGEST_REASON]


@contextmanager
def _terminable() -> Iterator[Callable[[], bool]]:
    """Let a scheduler's SIGTERM do what Ctrl-C does: hand the trial back.

    Yields whether one of them came. Python drops an exception that is raised while garbage is collected, as
    is done behind every trial: an interruption that comes then is seen before the next one.
    """
    came = False

    def stop(number: int, frame: Any) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
