"""The stage orchestrator: a model's stages one after another, each from the one before.

A model without `stages` has one stage, named train. Each finished stage leaves its kept weights in
the run folder, so that a killed run starts again within the stage it was in.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from recbole.model.abstract_recommender import AbstractRecommender

from experiments.bridge.config import recbole_config
from experiments.bridge.dataset import TrainingRows, recbole_dataset
from experiments.config.model_keys import PADDOCK_KEYS
from experiments.data.prepared import Prepared
from experiments.files import hash_of
from experiments.protocol.split import Split
from experiments.training import reuse
from experiments.training.loop import Hooks as LoopHooks
from experiments.training.loop import Loop, Metrics, Schedule, StageProgress
from experiments.training.state import load_model_state, model_state, seed_everything
from experiments.training.strategies.registry import reads_prefixes, strategy
from experiments.training.strategy import Task

BACKBONE = "backbone"
"""Key of a model whose frozen recommender is trained first, and the name of that stage."""

PARTS = "parts"
"""Key of a config under which a model finds its frozen networks."""


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
    """A trained model: its kept weights are loaded.

    `weights` is the hash of all that made them, where they may serve another run as its backbone.
    `reused` is the seconds that stages took which were not trained now but found, by their name.
    """

    model: AbstractRecommender
    dataset: TrainingRows
    progress: StageProgress
    weights: str | None = None
    reused: Mapping[str, float] = field(default_factory=dict)


def stage_configs(model: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The configuration of every stage: the model's keys, overridden by the stage's own."""
    common = {key: value for key, value in model.items() if key != "stages"}
    stages = model.get("stages") or {"train": {}}
    return {name: {**common, **(own or {})} for name, own in stages.items()}


def build(
    values: dict[str, Any],
    *,
    data: Prepared,
    split: Split,
    seed: int,
    device: Any,
    folder: Path,
    parts: Any = None,
) -> tuple[AbstractRecommender, TrainingRows, Any]:
    """A fresh model of one stage with its RecBole dataset and config.

    A model with a `backbone` gets it untrained, unless its frozen `parts` are given; loading the
    model's weights gets the backbone's.
    """
    from recbole.utils import get_model

    hyperparameters = {key: value for key, value in values.items() if key not in PADDOCK_KEYS}
    if parts is None and BACKBONE in values:
        parts = frozen_parts(values, data=data, split=split, device=device, folder=folder)
    seed_everything(seed)
    config = recbole_config(
        values["name"], hyperparameters, seed=seed, device=device, folder=str(folder)
    )
    if parts is not None:
        config[PARTS] = parts
    prefixes = reads_prefixes(values["strategy"])
    dataset = recbole_dataset(config, data=data, split=split, prefixes=prefixes)
    model = get_model(values["name"])(config, dataset).to(device)
    return model, dataset, config


def frozen_parts(
    values: dict[str, Any], *, data: Prepared, split: Split, device: Any, folder: Path
) -> Any:
    """What a model with a backbone is made from."""
    from experiments.language.parts import parts_of

    own = backbone_values(values)
    # Its weights are always another's: the seed that makes them is of no account.
    backbone, _, _ = build(own, data=data, split=split, seed=0, device=device, folder=folder)
    load = partial(reuse.load_product, backbone, data)
    return parts_of(
        values, data=data, split=split, backbone=backbone, load_backbone=load, device=device
    )


def backbone_values(values: dict[str, Any]) -> dict[str, Any]:
    """The resolved configuration of a model's backbone."""
    from experiments.config.check import resolve_model

    return resolve_model(values[BACKBONE])


def train(
    model_values: dict[str, Any],
    *,
    data: Prepared,
    split: Split,
    seed: int,
    device: Any,
    precision: torch.dtype = torch.float32,
    folder: Path,
    identity: str,
    metric: str,
    checkpoint_seconds: float,
    hooks: Hooks,
    selection: str = "",
    runs_dir: Path | None = None,
) -> Trained:
    """Train all stages and return the model of the last.

    A model's backbone is its stage before the first. It, and stages that learn nothing of what a
    later stage adds, are shared by all runs that would train the same (`experiments.training.reuse`).

    Parameters
    ----------
    precision
        Of the training steps, where a strategy has a choice.
    identity
        Names the run; a checkpoint of another identity is not continued.
    metric
        The valid metric that selects epochs.
    selection
        The hash of what the metric is computed on, for what other runs share.
    runs_dir
        Where a finished run of the backbone may be.
    """
    stages = stage_configs(model_values)
    _remove_halves(folder)
    previous: tuple[Any, Any] | None = None
    first_step = 0
    trained: Trained | None = None
    backbone: str | None = None
    reused: dict[str, float] = {}
    share = partial(
        reuse.product_of,
        data=data,
        split=split,
        seed=seed,
        device=device,
        precision=precision,
        selection=hash_of([metric, selection]),
    )
    if BACKBONE in model_values:
        stages = {BACKBONE: backbone_values(model_values), **stages}
    for number, (name, values) in enumerate(stages.items()):
        model, dataset, config = build(
            values, data=data, split=split, seed=seed, device=device, folder=folder
        )
        if previous is not None:
            _carry_over(model, *previous)
        if backbone is not None:
            model.use_backbone(backbone)
        product = reuse.Product(
            path=folder / f"stage-{number}-{name}.safetensors",
            identity=hash_of([identity, seed, number, name]),
        )
        if name == BACKBONE or values["strategy"] in reuse.UNREAD:
            product = share(values, before=backbone)
        with product.held():
            progress = product.load(model)
            if progress is None and name == BACKBONE and runs_dir is not None:
                progress = product.take(model, runs_dir=runs_dir, dataset=data.name)
            if progress is not None and product.shared:
                reused[name] = progress.seconds
            if progress is None:
                hooks.on_stage(name, values["epochs"])
                loop = Loop(
                    model=model,
                    strategy=strategy(
                        values["strategy"],
                        Task(
                            model=model,
                            config=config,
                            dataset=dataset,
                            split=split,
                            seed=seed,
                            precision=precision,
                        ),
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
                    identity=product.identity,
                    first_step=first_step,
                    checkpoint_seconds=checkpoint_seconds,
                )
                progress = loop.run()
                product.save(model, progress)
        first_step = progress.step
        if name == BACKBONE:
            backbone = product.identity
            continue
        previous = model_state(model)
        alone = share(values, before=None).identity if len(stages) == 1 else None
        trained = Trained(
            model=model, dataset=dataset, progress=progress, weights=alone, reused=reused
        )
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


def _carry_over(model: AbstractRecommender, tensors: dict[str, Any], plain: Any) -> None:
    """Start a stage from the weights of the one before; its own counters stay fresh."""
    fresh = model_state(model)[1]
    load_model_state(model, tensors, {**plain, "numbers": fresh["numbers"]})
