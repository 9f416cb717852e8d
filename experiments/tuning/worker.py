"""A worker: takes trials until the study needs none."""

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
from experiments.training.device import device_of
from experiments.training.memory import keep_freed_memory
from experiments.tuning.algorithms import sampler
from experiments.tuning.heartbeat import heartbeat
from experiments.tuning.ledger import EXHAUSTED, Claim, Verdict
from experiments.tuning.objective import Objective
from experiments.tuning.study import Desk
from experiments.tuning.trials import INTERRUPTED, REASON

LAUNCHER = "PADDOCK_LAUNCHER"
"""Environment variable with the process that started this worker and shows what it does."""

WAIT_SECONDS = 0.5
_LONGEST_REASON = 300


def work(desk: Desk, *, published: Callable[[int], None] = lambda number: None) -> Verdict:
    """Work on trials until there is none to take.

    Parameters
    ----------
    published
        Called with the number of every trial that has ended.

    Returns
    -------
    Verdict
        Why there is none.
    """
    config = desk.config
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    objective = Objective(desk=desk, device=device_of(config.device), watch=_heed_launcher)
    # What is imported stays: collecting after a trial need not look at it again.
    gc.collect()
    gc.freeze()
    with threadpool_limits(config.threads), _terminable():
        while True:
            _heed_launcher()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # experimental parts of Optuna
                taken = desk.ledger.claim()
                if isinstance(taken, Claim):
                    published(_run(desk, taken, objective))
            if taken is Verdict.wait:
                time.sleep(WAIT_SECONDS)
            elif isinstance(taken, Verdict):
                return taken


def _run(desk: Desk, claim: Claim, objective: Objective) -> int:
    """Train a trial and store how it ended; its number is returned."""
    # A seed of each draw's own: workers draw different values, and a study that was stopped draws
    # what it would have drawn.
    settings = desk.config.study
    seed = int(hash_of([settings.seed, claim.ordinal])[:8], 16)
    desk.study.sampler = sampler(settings.sampler, seed=seed)
    with heartbeat(desk.storage, claim.trial_id):
        trial = Trial(desk.study, claim.trial_id)
        _train(desk, trial, objective)
    return trial.number


def _train(desk: Desk, trial: Trial, objective: Objective) -> None:
    try:
        _end(desk, trial, TrialState.COMPLETE, objective(trial))
    except TrialPruned:
        _end(desk, trial, TrialState.PRUNED)
    except UpdateFinishedTrialError:
        return  # it was taken for dead, and another worker has it
    except StorageInternalError:
        raise  # no failure of the trial; whoever finds it tries it again
    except (KeyboardInterrupt, SystemExit):
        with suppress(UpdateFinishedTrialError):
            trial.set_user_attr(INTERRUPTED, True)
        _end(desk, trial, TrialState.FAIL)
        raise
    except Exception as error:
        with suppress(UpdateFinishedTrialError):
            trial.set_user_attr(REASON, told(error))
        _end(desk, trial, TrialState.FAIL)
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _end(desk: Desk, trial: Trial, state: TrialState, value: float | None = None) -> None:
    try:
        desk.study.tell(trial, value, state=state)
    except UpdateFinishedTrialError:
        return
    except ValueError as error:
        if "Cannot tell" not in str(error):
            raise
    except RuntimeError as error:
        # How the exhaustive sampler says that nothing is left, after the trial is stored.
        if "Study.stop" not in str(error):
            raise
        desk.study.set_user_attr(EXHAUSTED, True)


def told(error: Exception) -> str:
    """An error as the reason of a failed trial: its kind and its first line."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    kind = "" if type(error).__name__ == "PaddockError" else f"{type(error).__name__}: "
    return f"{kind}{line}"[:_LONGEST_REASON]


def _heed_launcher() -> None:
    """End with the process that started this one."""
    launcher = os.environ.get(LAUNCHER)
    if launcher is not None and os.getppid() != int(launcher):
        raise KeyboardInterrupt


@contextmanager
def _terminable() -> Iterator[None]:
    """Let a scheduler's SIGTERM do what Ctrl-C does: hand the trial back."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
