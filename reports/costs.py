"""What a row cost: parameters, seconds, memory, and the trials that tuned it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.runs.compare import Configuration
from reports.read import Run
from reports.rivals import is_toy
from reports.studies import Study

_UNEQUAL = 0.5
"""A budget below this share of the largest is flagged."""


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
    tunable : bool
        Whether there is anything to tune: popularity has no hyper-parameters.
    """

    trials: int
    study: str = ""
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
            return Budget(trials=study.trials, study=study.name, tunable=tunable)
    # The study may be in another store, and the configuration still says how many trials it had.
    known = [int(text) for run in runs if (text := run.params.get("tuned.n_trials", "")).isdigit()]
    return Budget(trials=max(known, default=0), study=min(tagged, default=""), tunable=tunable)


def budget_flags(budgets: Mapping[str, Budget]) -> dict[str, tuple[str, ...]]:
    """A flag for every row whose budget is far below the largest.

    Parameters
    ----------
    budgets : mapping
        By row, at least one.
    """
    largest = max(each.trials for each in budgets.values())
    return {
        label: (f"unequal budget: {each.trials} of {largest} trials",)
        if each.tunable and each.trials < _UNEQUAL * largest
        else ()
        for label, each in budgets.items()
    }
