"""The strategy `alternating`: alternating least squares, one alternation an epoch."""

from collections.abc import Mapping

import torch

from experiments.training.strategy import Task, Tick, check_loss
from paddock.training_keys import LoopConfig


class AlternatingConfig(LoopConfig):
    """Alternating least squares."""

    name = "alternating"
    needs = "alternations"
    needed = "a model that is solved by alternating least squares"


class Alternating:
    """The users' factors are solved with the items' fixed, then the items' with the users' fixed.

    Nothing is drawn and no gradient is taken, so that there are no batches and no optimizer.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    optimizers: Mapping[str, torch.optim.Optimizer] = {}
    generators: Mapping[str, torch.Generator] = {}

    def __init__(self, task: Task) -> None:
        self._model = task.model

    def train_epoch(self, epoch: int, tick: Tick) -> float:
        """Solve both sides once and return the mean loss of a cell, weighed by confidence.

        Parameters
        ----------
        epoch : int
            Finished epochs of the stage.
        tick : Tick
            Called at the end with (1, 1).
        """
        loss = check_loss(self._model.alternate(), model=self._model, epoch=epoch)
        tick(1, 1)
        return loss
