"""What strategies that take a gradient step for each batch have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch

from experiments.training.optimizers import Steps
from experiments.training.strategy import Task, Tick, descend


class Descent(ABC):
    """One step of the model's optimizer for the loss of each batch.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    generator : str
        The name under which checkpoints keep the state of the generator that draws the batches.
    """

    generators: Mapping[str, torch.Generator]
    optimizers: Mapping[str, torch.optim.Optimizer]

    def __init__(self, task: Task, *, generator: str) -> None:
        self._model = task.model
        self._device = task.config["device"]
        self._precision = task.precision
        self._generator = torch.Generator().manual_seed(task.seed)
        self.generators = {generator: self._generator}
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
        batches, losses = self._pass()
        return descend(losses, self._steps, epoch=epoch, batches=batches, tick=tick)

    @abstractmethod
    def _pass(self) -> tuple[int, Iterable[torch.Tensor]]:
        """The number of batches of a pass, and their losses, each computed when it is asked for."""
