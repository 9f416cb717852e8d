"""The strategy `solved`: one pass, in which the model finds its weights by itself."""

from collections.abc import Mapping

import numpy as np
import torch

from experiments.errors import PaddockError
from experiments.training.strategy import Task, Tick
from paddock.training_keys import LoopConfig


class SolvedConfig(LoopConfig):
    """A solution in closed form from the ordered histories."""

    name = "solved"
    needs = "solution"
    needed = "a model that solves for its weights"


class Solved:
    """The model's `solve` gets the training interactions, those of a user together and in order.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    optimizers: Mapping[str, torch.optim.Optimizer] = {}
    generators: Mapping[str, torch.Generator] = {}

    def __init__(self, task: Task) -> None:
        self._model = task.model
        self._split = task.split

    def train_epoch(self, epoch: int, tick: Tick) -> float:
        """Solve, and return 0: there is no loss.

        Parameters
        ----------
        epoch : int
            Finished epochs of the stage.
        tick : Tick
            Called at the end with (1, 1).

        Raises
        ------
        PaddockError
            If the equations have no solution.
        """
        try:
            self._model.solve(self._split.train_users, self._split.train_items)
        except np.linalg.LinAlgError as error:
            raise PaddockError(
                f"{type(self._model).__name__} has no solution: {error}; raise model.reg_weight"
            ) from error
        tick(1, 1)
        return 0.0
