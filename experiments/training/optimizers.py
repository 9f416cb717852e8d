"""Optimizers by RecBole's key `learner`, the learning rate's schedule, and the step of a batch."""

import math

import torch

from experiments.errors import PaddockError
from experiments.training import ranks
from experiments.training.strategy import Task, check_loss

KINDS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
}

FUSED = ("adam", "adamw", "sgd", "adagrad")
"""Those that torch updates in one pass over the weights: Adam takes a tenth of its time for it."""


def make_optimizer(task: Task) -> torch.optim.Optimizer:
    """The configured optimizer over the model's trainable weights.

    Parameters
    ----------
    task : Task
        Its model and the keys `learner`, `learning_rate` and `weight_decay` count.

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
    options = {"fused": True} if learner in FUSED else {}
    optimizer: torch.optim.Optimizer = kind(
        weights,
        lr=task.config["learning_rate"],
        weight_decay=task.config["weight_decay"] or 0.0,
        **options,
    )
    return optimizer


class Steps:
    """Steps down the gradient of a batch's loss.

    The learning rate follows `learning_rate_schedule` from batch to batch: "constant" keeps it,
    "cosine" (Loshchilov and Hutter, ICLR 2017, eq. 5, without restarts) lowers it to zero over all
    `epochs`. It depends on the epoch and the batch alone, so that a checkpoint need not hold it.

    Parameters
    ----------
    task : Task
        The model and its configuration.
    """

    def __init__(self, task: Task) -> None:
        self.optimizer = make_optimizer(task)
        self._model = task.model
        self._rate = task.config["learning_rate"]
        self._schedule = task.config["learning_rate_schedule"]
        self._epochs = task.config["epochs"]
        self._clip = task.config["clip_grad_norm"]

    def step(self, loss: torch.Tensor, *, epoch: int, done: int, batches: int) -> float:
        """Take one optimizer step on a batch's loss and return the loss.

        Parameters
        ----------
        loss : Tensor
            The batch's loss, a scalar; of several processes, this one's part of it.
        epoch : int
            Finished epochs of the stage.
        done : int
            Finished batches of the epoch.
        batches : int
            All batches of the epoch.

        Raises
        ------
        PaddockError
            If training diverged.
        """
        value = check_loss(ranks.total(loss), model=self._model, epoch=epoch)
        share = (epoch + done / batches) / self._epochs
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate * rate_at(share, schedule=self._schedule)
        self.optimizer.zero_grad()
        loss.backward()
        ranks.add_gradients(self._model.parameters())
        if self._clip:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), **self._clip)
        self.optimizer.step()
        return value


def rate_at(share: float, *, schedule: str) -> float:
    """The learning rate at a point of training, as a share of its start.

    Parameters
    ----------
    share : float
        The share of all epochs that is done, from 0 to 1.
    schedule : str
        "constant" or "cosine" (Loshchilov and Hutter, ICLR 2017, eq. 5, without restarts).
    """
    return 1.0 if schedule == "constant" else (1.0 + math.cos(math.pi * share)) / 2
