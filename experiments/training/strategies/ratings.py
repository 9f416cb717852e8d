"""The strategy `ratings`: models that predict ratings, trained on (user, item, rating).

R rows of a batch.
"""

from collections.abc import Iterable

import torch
from recbole.data.interaction import Interaction

from experiments.training.descent import SeededDescent
from experiments.training.strategy import Task
from paddock import key
from paddock.training_keys import StepConfig


class RatingsConfig(StepConfig):
    """Rated interactions."""

    name = "ratings"
    needs = "ratings"
    needed = "a model that predicts ratings"
    reads_ratings = True

    train_batch_size: int = key(2048, "Ratings of a batch.", least=1)


class Ratings(SeededDescent):
    """Shuffled batches of `train_batch_size` rated interactions.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task, generator="ratings")
        self._batch_size = int(task.config["train_batch_size"])
        self._rated = task.dataset.inter_feat

    def _pass(self) -> tuple[int, Iterable[torch.Tensor]]:
        order = torch.randperm(len(self._rated), generator=self._generator)
        batches = order.split(self._batch_size)
        return len(batches), (self._batch_loss(self._rated[rows_R]) for rows_R in batches)

    def _batch_loss(self, batch: Interaction) -> torch.Tensor:
        loss: torch.Tensor = self._model.calculate_loss(batch.to(self._device))
        return loss
