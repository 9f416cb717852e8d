"""One tuning study: its identity, and what its trials need."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.config.experiment import Experiment
from experiments.config.metric_names import long_title
from experiments.files import hash_of
from experiments.protocol.shared_data import SharedData, shared_data
from experiments.protocol.slices import definition_hash
from experiments.runs.identity import component_sources, plain, protocol_content
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
    experiment
        The model as it is, and the files that the configuration was composed from.
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
    experiment: Experiment
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
    config: TuneConfig, *, space: Space, experiment: Experiment, overrides: tuple[str, ...]
) -> TuningStudy:
    """Prepare the data, and create the study in its storage or open it there.

    Parameters
    ----------
    config
        The checked configuration.
    space
        The search space.
    experiment
        The configuration's model, resolved.
    overrides
        The overrides of the command.

    Raises
    ------
    PaddockError
        If the data or the storage cannot be read.
    """
    shared = shared_data(config)
    identity = study_hash(config, space=space, shared=shared, experiment=experiment)
    key = experiment.model_key
    name = f"{shared.data.name}/{config.protocol.name}/{key}-{identity[:10]}"
    objective = f"valid {long_title(config.protocol.valid_metric)}"
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
            "model": experiment.model.name,
            "model_key": key,
            "metric": config.protocol.valid_metric,
            "objective": objective,
            "intermediate values": f"{objective} after an epoch, by epochs over all stages",
            "hashes": shared.hashes,
        },
        objective=objective,
    )
    optuna_study.pruner = pruner(settings, epochs=experiment.model.epochs)
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
        experiment=experiment,
        name=name,
        overrides=overrides,
        storage=storage,
        optuna_study=optuna_study,
        queue=queue,
    )


def study_hash(
    config: TuneConfig, *, space: Space, shared: SharedData, experiment: Experiment
) -> str:
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
    experiment
        The model as it is.
    """
    settings = config.study
    # What precision=auto stands for depends on the device of a worker, which is left out.
    asked = {} if config.precision == "auto" else {"precision": config.precision}
    return hash_of(
        {
            **asked,
            "format": FORMAT,
            "name": settings.name,
            "model": experiment.model.values,
            "sources": component_sources(experiment),
            "space": space.plain(),
            "hashes": {**shared.hashes, "slices": definition_hash(config.protocol.slices)},
            "protocol": protocol_content(plain(config)["protocol"], test=False),
            "seed": config.seed,
            "sampler": [settings.sampler, settings.seed],
            "pruner": [settings.pruner, settings.startup_trials, settings.warmup_epochs],
        }
    )
