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
    """A model to train, with its configuration and the training data.

    Attributes
    ----------
    model : AbstractRecommender
        The model.
    config : Config
        RecBole's Config of the stage.
    dataset : TrainingRows
        The RecBole dataset that the model was made with.
    split : Split
        The parts of the data set.
    seed : int
        Of the strategy's random numbers.
    precision : torch.dtype
        Precision of the training steps, for strategies with mixed precision.
    """

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
        """Pass over the training data once and return the mean loss of a batch.

        Parameters
        ----------
        epoch : int
            Finished epochs of the stage.
        tick : Tick
            Called after every batch with (batches done, batches in all).
        """
        ...


class Stepper(Protocol):
    """What takes a step down the gradient of a batch's loss."""

    def step(self, loss: torch.Tensor, *, epoch: int, done: int, batches: int) -> float:
        """Take one step on a batch's loss and return the loss.

        Parameters
        ----------
        loss : Tensor
            The batch's loss, a scalar.
        epoch : int
            Finished epochs of the stage.
        done : int
            Finished batches of the epoch.
        batches : int
            All batches of the epoch.
        """
        ...


def descend(
    losses: Iterable[torch.Tensor], steps: Stepper, *, epoch: int, batches: int, tick: Tick
) -> float:
    """Take one step for each batch's loss, and return the mean loss of a batch.

    Parameters
    ----------
    losses : iterable of Tensor
        The losses of the batches, computed lazily: each after the step of the one before.
    steps : Stepper
        Takes the steps.
    epoch : int
        Finished epochs of the stage.
    batches : int
        Number of batches.
    tick : Tick
        Called after every batch with (batches done, batches in all).
    """
    total = 0.0
    for done, loss in enumerate(losses):
        total += steps.step(loss, epoch=epoch, done=done, batches=batches)
        tick(done + 1, batches)
    return total / max(1, batches)


def check_loss(loss: float, *, model: AbstractRecommender, epoch: int) -> float:
    """The loss, if it is finite.

    Parameters
    ----------
    loss : float
        The loss of a batch.
    model : AbstractRecommender
        The model that is trained, for the message.
    epoch : int
        Finished epochs of the stage.

    Raises
    ------
    PaddockError
        If the loss is infinite or not a number.
    """
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise PaddockError(
            f"the training loss of {type(model).__name__} is {loss} in epoch {epoch + 1}; "
            "lower model.learning_rate or set model.clip_grad_norm"
        )
    return loss
