"""What a row cost: parameters, seconds, memory, and the trials that tuned it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.runs.configuration import Configuration
from reports.read import Run
from reports.rivals import is_toy
from reports.studies import Study

UNEQUAL = 0.5
"""A budget below this share of the largest is flagged."""

_TIMED = re.compile(r"study\.timeout=(?!null)")
"""What the command of a study that seconds limited says."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Means over seeds; None where it was not measured.

    Attributes
    ----------
    parameters : float or None
        That are trained.
    memory_mb : float or None
        The peak while training.
    """

    parameters: float | None
    train_seconds: float | None
    memory_mb: float | None
    ms_per_user: float | None


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many trials of which study chose the hyper-parameters; 0 are those of the YAML.

    Attributes
    ----------
    trials : int
        Of the study, as it was read.
    study : str
        Its name; "" where there is none.
    seconds, epochs : float or None
        That all its trials took together; None where that is not known.
    timed : bool
        Whether seconds limited it.
    tunable : bool
        Whether there is anything to tune: popularity has no hyper-parameters.
    """

    trials: int
    study: str = ""
    seconds: float | None = None
    epochs: float | None = None
    timed: bool = False
    tunable: bool = True


def cost_of(configuration: Configuration[Run]) -> Cost:
    """What a configuration cost, as its runs measured it."""

    def mean(metric: str) -> float | None:
        values = configuration.values(metric)
        return float(np.mean(values)) if values else None

    return Cost(
        parameters=mean("params_trained"),
        train_seconds=mean("time/train_seconds"),
        memory_mb=mean("memory/train_peak_mb"),
        ms_per_user=mean("scoring_ms_per_user"),
    )


def budget_of(configuration: Configuration[Run], studies: Sequence[Study]) -> Budget:
    """The budget of the study that the runs are tagged with, or that their configuration names.

    Parameters
    ----------
    configuration : Configuration
    studies : sequence of Study
        Those that the store holds; of another store's, the configuration says how many trials it had.
    """
    runs, tunable = configuration.runs, not is_toy(configuration)
    tagged = {
        name
        for run in runs
        if (name := run.tags.get("paddock.study") or run.params.get("tuned.study"))
    }
    for study in studies:
        if study.name in tagged:
            return Budget(
                trials=study.trials,
                study=study.name,
                seconds=study.seconds,
                epochs=study.epochs,
                timed=study.timed,
                tunable=tunable,
            )
    # The study may be in another store, and the configuration still says how many trials it had.
    known = [int(text) for run in runs if (text := run.params.get("tuned.n_trials", "")).isdigit()]
    seconds = [float(told) for run in runs if (told := run.params.get("tuned.seconds"))]
    return Budget(
        trials=max(known, default=0),
        study=min(tagged, default=""),
        seconds=max(seconds, default=None),
        timed=any(_TIMED.search(run.params.get("tuned.command", "")) for run in runs),
        tunable=tunable,
    )


def budget_flags(budgets: Mapping[str, Budget]) -> dict[str, tuple[str, ...]]:
    """A flag for every row whose budget is far below the largest, in trials or in what limited it.

    Parameters
    ----------
    budgets : mapping
        By row, at least one.
    """
    largest = max(each.trials for each in budgets.values())
    flags = {
        label: [f"unequal budget: {each.trials} of {largest} trials"]
        if each.tunable and each.trials < UNEQUAL * largest
        else []
        for label, each in budgets.items()
    }
    if timed(budgets):
        seconds = amounts(budgets, "seconds")
        longest = max(seconds.values())
        for label, had in seconds.items():
            if had <= UNEQUAL * longest:
                flags[label].append(f"unequal budget: {had:,.0f} of {longest:,.0f} s of trials")
    return {label: tuple(told) for label, told in flags.items()}


def timed(budgets: Mapping[str, Budget]) -> bool:
    """Whether seconds limited a study, and are known of several."""
    return any(each.timed for each in budgets.values()) and len(amounts(budgets, "seconds")) > 1


def amounts(budgets: Mapping[str, Budget], unit: str) -> dict[str, float]:
    """How much of a unit the studies of the rows had, where that is known.

    Parameters
    ----------
    budgets : mapping
        By row.
    unit : str
        "seconds" or "epochs".
    """
    return {
        label: amount
        for label, each in budgets.items()
        if each.tunable and (amount := getattr(each, unit)) is not None
    }
