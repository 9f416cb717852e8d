"""What strategies that take a gradient step for each batch have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from recbole.model.abstract_recommender import AbstractRecommender

from experiments.training.optimizers import Steps
from experiments.training.strategy import Stepper, Task, Tick, descend


class Descent(ABC):
    """One step for the loss of each batch.

    Attributes
    ----------
    generators : mapping of str to torch.Generator
        What draws the batches, by the name under which checkpoints keep it.
    optimizers : mapping of str to Optimizer
        Whose states checkpoints keep.
    """

    generators: Mapping[str, torch.Generator]
    optimizers: Mapping[str, torch.optim.Optimizer]
    _model: AbstractRecommender
    _steps: Stepper

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


class SeededDescent(Descent):
    """Steps of the model's optimizer; one generator, seeded by the task, draws the batches.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    generator : str
        The generator's name in checkpoints.
    """

    def __init__(self, task: Task, *, generator: str) -> None:
        self._model = task.model
        self._device = task.config["device"]
        self._precision = task.precision
        self._generator = torch.Generator().manual_seed(task.seed)
        self.generators = {generator: self._generator}
        steps = Steps(task)
        self._steps = steps
        self.optimizers = {"optimizer": steps.optimizer}
