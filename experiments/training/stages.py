"""The stage orchestrator: a model's stages one after another, each from the one before.

A model without `stages` has one stage, named train. Each finished stage leaves its kept weights in
the run folder, so that a killed run starts again within the stage it was in.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from recbole.model.abstract_recommender import AbstractRecommender

from experiments.bridge.config import recbole_config
from experiments.bridge.dataset import TrainingRows, recbole_dataset
from experiments.data.prepared import Prepared
from experiments.files import hash_of
from experiments.hyperparameters import PADDOCK_KEYS
from experiments.split import Split
from experiments.training import checkpoint
from experiments.training.loop import Hooks as LoopHooks
from experiments.training.loop import Loop, Metrics, Schedule, Standing
from experiments.training.state import load_model_state, model_state, seed_everything
from experiments.training.strategy import Task, reads_prefixes, strategy


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """As the loop's hooks, with the stage told.

    Attributes
    ----------
    validate
        Takes (model, dataset) and gives the valid metrics.
    on_stage
        Takes (stage name, most epochs) when a stage begins.
    """

    validate: Callable[[AbstractRecommender, TrainingRows], Metrics]
    on_stage: Callable[[str, int], None]
    on_epoch: Callable[[dict[str, Any]], None]
    rewind: Callable[[int], None]
    tick: Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model: its kept weights are loaded."""

    model: AbstractRecommender
    dataset: TrainingRows
    standing: Standing


def stage_configs(model: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The configuration of every stage: the model's keys, overridden by the stage's own."""
    common = {key: value for key, value in model.items() if key != "stages"}
    stages = model.get("stages") or {"train": {}}
    return {name: {**common, **(own or {})} for name, own in stages.items()}


def build(
    values: dict[str, Any], *, data: Prepared, split: Split, seed: int, device: Any, folder: Path
) -> tuple[AbstractRecommender, TrainingRows, Any]:
    """A fresh model of one stage with its RecBole dataset and config."""
    from recbole.utils import get_model

    hyperparameters = {key: value for key, value in values.items() if key not in PADDOCK_KEYS}
    seed_everything(seed)
    config = recbole_config(
        values["name"], hyperparameters, seed=seed, device=device, folder=str(folder)
    )
    prefixes = reads_prefixes(values["strategy"])
    dataset = recbole_dataset(config, data=data, split=split, prefixes=prefixes)
    model = get_model(values["name"])(config, dataset).to(device)
    return model, dataset, config


def train(
    model_values: dict[str, Any],
    *,
    data: Prepared,
    split: Split,
    seed: int,
    device: Any,
    folder: Path,
    identity: str,
    metric: str,
    checkpoint_seconds: float,
    hooks: Hooks,
) -> Trained:
    """Train all stages and return the model of the last.

    Parameters
    ----------
    identity
        Names the run; a checkpoint of another identity is not continued.
    metric
        The valid metric that selects epochs.
    """
    stages = stage_configs(model_values)
    _remove_halves(folder)
    previous: tuple[Any, Any] | None = None
    first_step = 0
    trained: Trained | None = None
    for number, (name, values) in enumerate(stages.items()):
        model, dataset, config = build(
            values, data=data, split=split, seed=seed, device=device, folder=folder
        )
        if previous is not None:
            _carry_over(model, *previous)
        stage_identity = hash_of([identity, seed, number, name])
        result_path = folder / f"stage-{number}-{name}.safetensors"
        standing = _finished(result_path, stage_identity, model)
        if standing is None:
            hooks.on_stage(name, values["epochs"])
            loop = Loop(
                model=model,
                strategy=strategy(
                    values["strategy"],
                    Task(model=model, config=config, dataset=dataset, split=split, seed=seed),
                ),
                schedule=Schedule(
                    epochs=values["epochs"],
                    patience=values["stopping_step"],
                    eval_step=values["eval_step"],
                    keep=values["keep"],
                ),
                metric=metric,
                hooks=LoopHooks(
                    validate=partial(_validated, hooks=hooks, dataset=dataset),
                    on_epoch=partial(_named, hooks=hooks, stage=name),
                    rewind=hooks.rewind,
                    tick=hooks.tick,
                ),
                path=folder / "checkpoint.safetensors",
                identity=stage_identity,
                first_step=first_step,
                checkpoint_seconds=checkpoint_seconds,
            )
            standing = loop.run()
            notes = {"identity": stage_identity, "standing": vars(standing)}
            checkpoint.save(result_path, {"model": model_state(model)}, notes=notes)
        previous = model_state(model)
        first_step = standing.step
        trained = Trained(model=model, dataset=dataset, standing=standing)
    assert trained is not None
    return trained


def _validated(model: AbstractRecommender, *, hooks: Hooks, dataset: TrainingRows) -> Metrics:
    return hooks.validate(model, dataset)


def _named(record: dict[str, Any], *, hooks: Hooks, stage: str) -> None:
    hooks.on_epoch({"stage": stage, **record})


def _remove_halves(folder: Path) -> None:
    """Remove what a killed process was writing; half a checkpoint may be large."""
    for left in folder.glob(".*.tmp"):
        shutil.rmtree(left)


def _finished(path: Path, identity: str, model: AbstractRecommender) -> Standing | None:
    """Load a finished stage's weights into the model, if `path` holds that stage."""
    if not path.exists():
        return None
    sections, notes = checkpoint.load(path)
    if notes["identity"] != identity:
        return None
    load_model_state(model, *sections["model"])
    return Standing(**notes["standing"])


def _carry_over(model: AbstractRecommender, tensors: dict[str, Any], plain: Any) -> None:
    """Start a stage from the weights of the one before; its own counters stay fresh."""
    fresh = model_state(model)[1]
    load_model_state(model, tensors, {**plain, "numbers": fresh["numbers"]})
