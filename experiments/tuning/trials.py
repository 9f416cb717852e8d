"""Facts about the trials of a study: which count, which shall be tried again, the seconds used.

Everything here is computed from the trials in the storage, so that all workers agree.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# User attributes of a trial.
DEFAULTS = "defaults"  # it stands for the model's own values
WORKER = "worker"  # who works on it
REASON = "reason"  # why it failed by itself
INTERRUPTED = "interrupted"  # its worker was stopped, and said so
RETRY_OF = "retry_of"  # the number of the dead trial that it repeats
DEATHS = "deaths"  # how many workers its values have cost
STOPPED_BY = "stopped_by"  # "pruner" or "timeout"
DRAWN = "drawn"  # its values are complete
EPOCHS = "epochs"  # how many epochs it trained, those of a backbone left out

MOST_DEATHS = 3
"""Values whose trials have ended with the death of so many workers are a failure, not tried again.

They may not fit into the memory.
"""

EQUAL_FAILURES = 5
"""So many equal failures in a row stop a study."""

DEAD = "its worker died"


def counts(trial: "FrozenTrial") -> bool:
    """Whether a trial is finished and counts in the budget of the study.

    A failed trial without a reason was cut off with its worker; the trial that repeats it counts in
    its place.
    """
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        return True
    return trial.state is TrialState.FAIL and reason(trial) is not None


def reason(trial: "FrozenTrial") -> str | None:
    """Why a trial failed.

    Parameters
    ----------
    trial
        A failed one.

    Returns
    -------
    str or None
        None if it was cut off with its worker and shall be tried again.
    """
    if REASON in trial.user_attrs:
        return str(trial.user_attrs[REASON])
    if INTERRUPTED in trial.user_attrs:
        return None
    deaths = int(trial.user_attrs.get(DEATHS, 0)) + 1
    return f"{DEAD}, {deaths} times" if deaths >= MOST_DEATHS else None


def unrepeated(trials: Sequence["FrozenTrial"]) -> list["FrozenTrial"]:
    """The trials that were cut off and that no other trial repeats yet.

    Parameters
    ----------
    trials
        All trials of the study.
    """
    repeated = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    return [
        trial
        for trial in trials
        if trial.state is TrialState.FAIL and reason(trial) is None and trial.number not in repeated
    ]


def draw_index(trial: "FrozenTrial | None", trials: Sequence["FrozenTrial"]) -> int:
    """Which draw of the study's sampler a trial is, counted from 0.

    Parameters
    ----------
    trial
        A trial that repeats another is the same draw as that one; None is the next draw.
    trials
        All trials of the study.
    """
    if trial is None:
        return sum(RETRY_OF not in other.user_attrs for other in trials)
    by_number = {other.number: other for other in trials}
    while (earlier := trial.user_attrs.get(RETRY_OF)) is not None:
        trial = by_number[earlier]
    return sum(RETRY_OF not in other.user_attrs and other.number < trial.number for other in trials)


def seconds_used(trials: Iterable["FrozenTrial"], *, now: datetime) -> float:
    """The seconds in which at least one trial ran.

    Parameters
    ----------
    trials
        All trials of the study; those that were cut off with their worker are left out.
    now
        The end, so far, of those that are running.
    """
    spans = sorted(
        (trial.datetime_start, trial.datetime_complete or now)
        for trial in trials
        if trial.datetime_start is not None and (counts(trial) or trial.state is TrialState.RUNNING)
    )
    total, until = 0.0, datetime.min
    for start, end in spans:
        total += max(0.0, (end - max(start, until)).total_seconds())
        until = max(until, end)
    return total


def equal_failures(trials: Iterable["FrozenTrial"], *, since: datetime) -> str | None:
    """The reason of the latest failures, if EQUAL_FAILURES trials in a row failed by the same one.

    Parameters
    ----------
    since
        Earlier failures are ignored: whoever starts the study again may have removed their cause.

    Returns
    -------
    str or None
        None if one of the latest trials did not fail, or failed by another reason.
    """
    ended = sorted(
        (trial for trial in trials if counts(trial) and (trial.datetime_complete or since) > since),
        key=lambda trial: trial.datetime_complete or since,
    )
    latest = ended[-EQUAL_FAILURES:]
    reasons = [reason(trial) if trial.state is TrialState.FAIL else None for trial in latest]
    if len(latest) < EQUAL_FAILURES or None in reasons:
        return None
    # Epochs, sizes and addresses differ between failures that are one.
    kinds = {re.sub(r"0x[0-9a-f]+|[0-9.]+", "#", str(each)) for each in reasons}
    return reasons[-1] if len(kinds) == 1 else None


def best(trials: Iterable["FrozenTrial"]) -> "FrozenTrial | None":
    """The complete trial with the highest value, the earlier one of equal ones, or None."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)
