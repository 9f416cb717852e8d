"""What a benchmark of a model starts from."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from recbole.model.abstract_recommender import AbstractRecommender

from experiments.arena import Arena, arena
from experiments.bridge.dataset import TrainingRows
from experiments.compose import compose, typed
from experiments.config import Config
from experiments.training.stages import build, stage_configs
from experiments.validate import resolve_model


class Setup(NamedTuple):
    """An untrained model with everything it was made from."""

    config: Config
    shared: Arena
    model: AbstractRecommender
    dataset: TrainingRows
    recbole: Any


def untrained(overrides: list[str], folder: Path) -> Setup:
    """The model that these overrides name, on the CPU, with seed 1."""
    config = typed(compose(overrides))
    shared = arena(config)
    values = stage_configs(resolve_model(config.model))["train"]
    model, dataset, recbole = build(
        values,
        data=shared.data,
        split=shared.split,
        seed=1,
        device=torch.device("cpu"),
        folder=folder,
    )
    return Setup(config, shared, model, dataset, recbole)
