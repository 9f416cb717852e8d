"""The strategy `sgd`: a model that takes a step for every pair by itself, a pass an epoch."""

from collections.abc import Mapping

import torch

from experiments.training.strategy import Task, Tick, check_loss
from paddock.training_keys import LoopConfig


class SgdConfig(LoopConfig):
    """Stochastic gradient descent pair by pair, in the model's own loops."""

    name = "sgd"
    needs = "passes"
    needed = "a model with a training pass of its own"


class Sgd:
    """Each pass draws by a seed of its own, so that a checkpoint holds no generator.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    optimizers: Mapping[str, torch.optim.Optimizer] = {}
    generators: Mapping[str, torch.Generator] = {}

    def __init__(self, task: Task) -> None:
        self._model = task.model
        self._seed = task.seed

    def train_epoch(self, epoch: int, tick: Tick) -> float:
        """Take a pass and return the share of its pairs that were in the wrong order.

        Parameters
        ----------
        epoch : int
            Finished epochs of the stage.
        tick : Tick
            Called at the end with (1, 1).
        """
        drawn = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
        seed = int(torch.randint(2**31 - 1, (), generator=drawn))
        loss = check_loss(self._model.train_pass(seed), model=self._model, epoch=epoch)
        tick(1, 1)
        return loss
