"""The strategy `ratings`: models that predict ratings, trained on (user, item, rating).

R rows of a batch.
"""

import torch
from recbole.data.interaction import Interaction

from experiments.training.optimizers import Steps
from experiments.training.strategy import Task, Tick, descend
from paddock import key
from paddock.training_keys import StepConfig


class RatingsConfig(StepConfig):
    """Rated interactions."""

    name = "ratings"
    needs = "ratings"
    needed = "a model that predicts ratings"
    reads_ratings = True

    train_batch_size: int = key(2048, "Ratings of a batch.", least=1)


class Ratings:
    """Shuffled batches of `train_batch_size` rated interactions.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    def __init__(self, task: Task) -> None:
        self._model = task.model
        self._device = task.config["device"]
        self._batch_size = int(task.config["train_batch_size"])
        self._rated = task.dataset.inter_feat
        generator = torch.Generator()
        generator.manual_seed(task.seed)
        self.generators = {"ratings": generator}
        self._steps = Steps(task)
        self.optimizers = {"optimizer": self._steps.optimizer}

    def train_epoch(self, epoch: int, tick: Tick) -> float:
        """Pass over the training data once and return the mean loss of a batch.

        Parameters
        ----------
        epoch : int
            Finished epochs of the stage.
        tick : Tick
            Called after every batch with (batches done, batches in all).
        """
        self._model.train()
        order = torch.randperm(len(self._rated), generator=self.generators["ratings"])
        batches = order.split(self._batch_size)
        losses = (self._batch_loss(self._rated[rows_R]) for rows_R in batches)
        return descend(losses, self._steps, epoch=epoch, batches=len(batches), tick=tick)

    def _batch_loss(self, batch: Interaction) -> torch.Tensor:
        loss: torch.Tensor = self._model.calculate_loss(batch.to(self._device))
        return loss
