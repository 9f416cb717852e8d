"""Optimizers by RecBole's key `learner`."""

import torch

from experiments.errors import PaddockError
from experiments.training.strategy import Task

KINDS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
}


def make_optimizer(task: Task) -> torch.optim.Optimizer:
    """The configured optimizer over the weights that learn.

    Raises
    ------
    PaddockError
        If `learner` is not offered.
    """
    learner = task.config["learner"].lower()
    if learner not in KINDS:
        raise PaddockError(
            f"model.learner={learner} is not offered by this strategy; "
            f"choose one of {', '.join(KINDS)}"
        )
    weights = [weight for weight in task.model.parameters() if weight.requires_grad]
    kind: type = KINDS[learner]
    optimizer: torch.optim.Optimizer = kind(
        weights, lr=task.config["learning_rate"], weight_decay=task.config["weight_decay"] or 0.0
    )
    return optimizer
