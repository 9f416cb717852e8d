"""Optuna's samplers and pruners, by the names that a command gives them."""

import warnings
from typing import TYPE_CHECKING

from experiments.address import problem
from experiments.config.values import at_least, nearest
from experiments.errors import PaddockError
from experiments.tuning.config import StudyConfig

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

SAMPLERS = ("tpe", "gp", "random", "grid")
PRUNERS = ("median", "halving", "hyperband", "none")
LAUNCHERS = ("local", "slurm", "submitit")
REDUCTION = 3
"""Eta of halving and hyperband: of so many trials one goes on (Li et al., JMLR 2018, section 2.6, takes
3 or 4)."""


def sampler(name: str, *, seed: int) -> "BaseSampler":
    """The sampler of a name.

    TPE models the parameters together (`group`: those of each branch of a conditional space), and
    takes trials that run elsewhere for bad ones, so that workers do not all try the same place.

    Parameters
    ----------
    name
        One of SAMPLERS.
    seed
        The seed of its draws.
    """
    from optuna import samplers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental arguments
        if name == "tpe":
            return samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
        if name == "gp":
            return samplers.GPSampler(seed=seed)
        if name == "random":
            return samplers.RandomSampler(seed=seed)
        assert name == "grid", name
        return samplers.BruteForceSampler(seed=seed)


def pruner(study: StudyConfig, *, epochs: int) -> "BasePruner":
    """The pruner that the study names.

    Parameters
    ----------
    study
        Its settings.
    epochs
        The most epochs of a trial, all stages together.
    """
    from optuna import pruners

    if study.pruner == "median":
        return pruners.MedianPruner(
            n_startup_trials=study.startup_trials, n_warmup_steps=study.warmup_epochs
        )
    if study.pruner == "halving":
        # Asynchronous: a trial is compared at its rung with those that were there before it, and goes
        # on or ends at once. None waits in between, so that none is trained again.
        return pruners.SuccessiveHalvingPruner(
            min_resource=max(1, study.warmup_epochs), reduction_factor=REDUCTION
        )
    if study.pruner == "hyperband":
        return pruners.HyperbandPruner(
            min_resource=max(1, study.warmup_epochs),
            max_resource=max(epochs, study.warmup_epochs, 1),
            reduction_factor=REDUCTION,
        )
    assert study.pruner == "none", study.pruner
    return pruners.NopPruner()


def check_study(study: StudyConfig) -> None:
    """Refuse a study that could not work.

    Parameters
    ----------
    study
        Its settings.

    Raises
    ------
    PaddockError
        Naming the key, its value, and what would do.
    """
    for key, known in (("sampler", SAMPLERS), ("pruner", PRUNERS), ("launcher", LAUNCHERS)):
        value = getattr(study, key)
        if value not in known:
            raise PaddockError(f"study.{key}={value} is unknown: {nearest(value, known)}")
    if study.n_trials is None and study.timeout is None:
        raise PaddockError("study.n_trials=null needs study.timeout=SECONDS: give one of the two")
    if study.n_trials is not None:
        at_least("study.n_trials", study.n_trials, 1)
    if study.timeout is not None and not study.timeout > 0:
        raise PaddockError(f"study.timeout={study.timeout} must be above 0")
    for key, least in (
        ("workers", 1),
        ("heartbeat_seconds", 1),
        ("final_seeds", 0),
        ("startup_trials", 0),
        ("warmup_epochs", 0),
        ("seed", 0),
    ):
        at_least(f"study.{key}", getattr(study, key), least)
    if reason := problem(study.storage, ("sqlite", "postgresql")):
        raise PaddockError(
            f"study.storage={study.storage}: {reason}; write sqlite:///FILE or "
            "postgresql://USER@HOST/NAME"
        )
    scheme = study.storage.partition(":")[0]
    if study.launcher == "slurm" and scheme == "sqlite":
        raise PaddockError(
            "study.launcher=slurm needs study.storage=postgresql://...: a SQLite file's locks do "
            "not hold between machines"
        )
