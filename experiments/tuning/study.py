"""One study: what it is called by, and what all that work on it share."""

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
from experiments.tuning.ledger import Budget, Ledger
from experiments.tuning.space import Space
from experiments.tuning.storage import connect, exclusive, open_study

if TYPE_CHECKING:
    from optuna.study import Study

    from experiments.tuning.storage import Storage

FORMAT = 1
"""Raise it when trials stop being comparable to earlier ones."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Everything that the work on one study needs.

    Attributes
    ----------
    name
        <dataset>/<protocol>/<model>-<hash[:10]>, the study's name in its storage.
    choices
        Group -> YAML file that the configuration was composed from.
    words
        The overrides that the command gave, as a worker's command repeats them.
    """

    config: TuneConfig
    space: Space
    shared: SharedData
    choices: Mapping[str, str]
    model_key: str
    name: str
    words: tuple[str, ...]
    storage: "Storage"
    study: "Study"
    ledger: Ledger

    @property
    def metric(self) -> str:
        return f"valid/{self.config.protocol.valid_metric}"

    @property
    def folder(self) -> Path:
        """What the workers on this machine write: logs, and the scratch of trials."""
        dataset, protocol, last = self.name.split("/")
        return Path(self.config.runs_dir) / dataset / protocol / "hpo" / last


def open_desk(
    config: TuneConfig, *, space: Space, choices: Mapping[str, str], words: tuple[str, ...]
) -> Desk:
    """Prepare the data once, and open the study or go on with it."""
    shared = shared_data(config)
    resolved = resolve_model(config.model)
    key = choices["model"] if choices["model"] != "recbole" else resolved["name"].lower()
    identity = study_hash(config, space=space, shared=shared)
    name = f"{shared.data.name}/{config.protocol.name}/{key}-{identity[:10]}"
    settings, url = config.study, config.study.storage
    storage = connect(url, heartbeat_seconds=settings.heartbeat_seconds)
    study = open_study(
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
    study.pruner = pruner(settings, epochs=most_epochs(config.model))
    ledger = Ledger(
        storage=storage,
        study=study,
        exclusive=exclusive(url),
        budget=Budget(n_trials=settings.n_trials, timeout=settings.timeout),
        defaults=space.defaults(),
    )
    return Desk(
        config=config,
        space=space,
        shared=shared,
        choices=choices,
        model_key=key,
        name=name,
        words=words,
        storage=storage,
        study=study,
        ledger=ledger,
    )


def study_hash(config: TuneConfig, *, space: Space, shared: SharedData) -> str:
    """The hash of everything that makes the trials of two commands one study.

    The budget is left out, so that a study can be given more; so are the workers and their place.
    """
    settings = config.study
    # As a run's device, what auto stands for is the worker's place; a precision asked for is not.
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
    """The epochs of all stages of a model."""
    return sum(int(stage["epochs"]) for stage in stage_configs(resolve_model(model)).values())
