"""One tuning study: its identity, and what its trials need."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.config.check import resolve_model
from experiments.files import hash_of
from experiments.protocol.shared_data import SharedData, shared_data
from experiments.protocol.slices import definition_hash
from experiments.runs.identity import plain, protocol_content
from experiments.training.stages import stage_configs
from experiments.tuning.algorithms import pruner
from experiments.tuning.config import TuneConfig
from experiments.tuning.space import Space
from experiments.tuning.storage import connect, create_study, exclusive
from experiments.tuning.trial_queue import Budget, TrialQueue

if TYPE_CHECKING:
    from optuna.study import Study

    from experiments.tuning.storage import Storage

FORMAT = 1
"""Raise it when trials stop being comparable to earlier ones."""


@dataclass(frozen=True, kw_only=True)
class TuningStudy:
    """One study, opened by this process.

    Attributes
    ----------
    config
        The checked configuration of the command.
    space
        The search space.
    shared
        The data set, its split, and what every trial is scored by.
    choices
        Group -> YAML file that the configuration was composed from.
    model_key
        The name of the model's YAML file; of a model of RecBole's without one, its name in small
        letters.
    name
        <dataset>/<protocol>/<model_key>-<hash[:10]>, the study's name in its storage.
    overrides
        The overrides of the command, as a worker's command repeats them.
    storage
        Optuna's storage of the study.
    optuna_study
        The study as Optuna has it.
    queue
        The trials that are left to run.
    """

    config: TuneConfig
    space: Space
    shared: SharedData
    choices: Mapping[str, str]
    model_key: str
    name: str
    overrides: tuple[str, ...]
    storage: "Storage"
    optuna_study: "Study"
    queue: TrialQueue

    @property
    def metric(self) -> str:
        """The metric that is maximized, as the epochs of a run name it."""
        return f"valid/{self.config.protocol.valid_metric}"

    @property
    def folder(self) -> Path:
        """The folder of what the workers on this machine write: logs, and the files of trials."""
        dataset, protocol, last = self.name.split("/")
        return Path(self.config.runs_dir) / dataset / protocol / "hpo" / last


def open_study(
    config: TuneConfig, *, space: Space, choices: Mapping[str, str], overrides: tuple[str, ...]
) -> TuningStudy:
    """Prepare the data, and create the study in its storage or open it there.

    Parameters
    ----------
    config
        The checked configuration.
    space
        The search space.
    choices
        Group -> YAML file that the configuration was composed from.
    overrides
        The overrides of the command.

    Raises
    ------
    PaddockError
        If the data or the storage cannot be read.
    """
    shared = shared_data(config)
    resolved = resolve_model(config.model)
    key = choices["model"] if choices["model"] != "recbole" else resolved["name"].lower()
    identity = study_hash(config, space=space, shared=shared)
    name = f"{shared.data.name}/{config.protocol.name}/{key}-{identity[:10]}"
    settings, url = config.study, config.study.storage
    storage = connect(url, heartbeat_seconds=settings.heartbeat_seconds)
    optuna_study = create_study(
        storage,
        url,
        name,
        {
            "identity": identity,
            "dataset": shared.data.name,
            "protocol": config.protocol.name,
            "model": resolved["name"],
            "model_key": key,
            "metric": config.protocol.valid_metric,
            "hashes": shared.hashes,
        },
    )
    optuna_study.pruner = pruner(settings, epochs=most_epochs(config.model))
    queue = TrialQueue(
        storage=storage,
        study=optuna_study,
        exclusive=exclusive(url),
        budget=Budget(n_trials=settings.n_trials, timeout=settings.timeout),
        defaults=space.defaults(),
    )
    return TuningStudy(
        config=config,
        space=space,
        shared=shared,
        choices=choices,
        model_key=key,
        name=name,
        overrides=overrides,
        storage=storage,
        optuna_study=optuna_study,
        queue=queue,
    )


def study_hash(config: TuneConfig, *, space: Space, shared: SharedData) -> str:
    """The hash that two commands share if their trials belong to one study.

    The budget is left out, so that a study can be given more; so are the workers and their device.

    Parameters
    ----------
    config
        The checked configuration.
    space
        The search space.
    shared
        The data set and its split.
    """
    settings = config.study
    # What precision=auto stands for depends on the device of a worker, which is left out.
    asked = {} if config.precision == "auto" else {"precision": config.precision}
    return hash_of(
        {
            **asked,
            "format": FORMAT,
            "name": settings.name,
            "model": resolve_model(config.model),
            "space": space.plain(),
            "hashes": {**shared.hashes, "slices": definition_hash(config.protocol.slices)},
            "protocol": protocol_content(plain(config)["protocol"]),
            "seed": config.seed,
            "sampler": [settings.sampler, settings.seed],
            "pruner": [settings.pruner, settings.startup_trials, settings.warmup_epochs],
        }
    )


def most_epochs(model: Mapping[str, Any]) -> int:
    """The epochs of all stages of a model together."""
    return sum(int(stage["epochs"]) for stage in stage_configs(resolve_model(model)).values())
