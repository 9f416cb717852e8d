"""The schema of tune.py: that of a run, with the study and its search space."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from experiments.config.schema import Config


@dataclass
class StudyConfig:
    """One study: its budget, its algorithms, its place, its workers.

    Attributes
    ----------
    name
        Sets studies apart that are equal otherwise.
    n_trials, timeout
        The budget of the whole study, however often it is stopped: finished trials, and seconds in
        which a trial was running. Null is no limit.
    sampler, seed
        Which values are tried: tpe, gp, random, or grid (every combination once).
    pruner, startup_trials, warmup_epochs
        Which trials end early: median, halving, hyperband or none. The median prunes nothing before
        so many trials have finished, nor before so many epochs of a trial; the first rung of the
        others is that epoch.
    storage
        sqlite:///FILE on one machine, postgresql://USER@HOST/NAME on many.
    heartbeat_seconds
        A worker reports its trial alive this often; six silences count as its death.
    workers, launcher, slurm
        How many processes, started by whom: local, slurm, or submitit (as slurm, on this machine).
        `slurm` holds submitit's parameters, such as slurm_partition.
    worker
        This process only runs trials; another one trains the winner.
    final_seeds
        The winner is trained with so many seeds, from `seed` upwards.
    tuned_dir
        Where the winner is written.
    """

    name: str | None = None
    n_trials: int | None = 30
    timeout: float | None = None
    sampler: str = "tpe"
    seed: int = 1
    pruner: str = "median"
    startup_trials: int = 5
    warmup_epochs: int = 5
    storage: str = "sqlite:///${runs_dir}/studies.db"
    heartbeat_seconds: int = 10
    workers: int = 1
    launcher: str = "local"
    slurm: dict[str, Any] = field(default_factory=dict)
    worker: bool = False
    final_seeds: int = 5
    tuned_dir: str = "conf/tuned"


@dataclass
class TuneConfig(Config):
    """Everything that one command of tune.py says."""

    search: dict[str, Any] = field(default_factory=dict)
    study: StudyConfig = field(default_factory=StudyConfig)


ConfigStore.instance().store(name="tune_schema", node=TuneConfig)
