"""Training strategies: what one pass over the training data is.

A model's YAML names its strategy. A strategy owns the optimizers and the random generators of its
batches; the loop around it owns epochs, validation, early stopping and checkpoints.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from recbole.config import Config
from recbole.model.abstract_recommender import AbstractRecommender

from experiments.bridge.dataset import TrainingRows
from experiments.errors import PaddockError
from experiments.protocol.split import Split

Tick = Callable[[int, int], None]
"""Called with (batches done, batches in all) while an epoch runs."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a strategy trains: the model, its configuration, and the training part."""

    model: AbstractRecommender
    config: Config
    dataset: TrainingRows
    split: Split
    seed: int
    precision: torch.dtype = torch.float32


class Strategy(Protocol):
    """One way of passing over the training data."""

    optimizers: Mapping[str, torch.optim.Optimizer]
    generators: Mapping[str, torch.Generator]

    def train_epoch(self, epoch: int, tick: Tick) -> float:
        """Pass over the training data once and return the mean loss of a batch."""
        ...


class Stepper(Protocol):
    """What takes a step down the gradient of a batch's loss."""

    def step(self, loss: torch.Tensor, *, epoch: int, done: int, batches: int) -> float:
        """Take the step and return the loss; `done` of the epoch's batches came before."""
        ...


def descend(
    losses: Iterable[torch.Tensor], steps: Stepper, *, epoch: int, batches: int, tick: Tick
) -> float:
    """One step for each batch's loss, computed when its turn comes; the mean loss of a batch."""
    total = 0.0
    for done, loss in enumerate(losses):
        total += steps.step(loss, epoch=epoch, done=done, batches=batches)
        tick(done + 1, batches)
    return total / max(1, batches)


def check_loss(loss: float, *, model: AbstractRecommender, epoch: int) -> float:
    """The loss, if it is a number.

    Raises
    ------
    PaddockError
        If training diverged.
    """
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise PaddockError(
            f"the training loss of {type(model).__name__} is {loss} in epoch {epoch + 1}; "
            "lower model.learning_rate or set model.clip_grad_norm"
        )
    return loss
