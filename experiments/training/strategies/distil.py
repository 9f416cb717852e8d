"""The strategy `distil`: a language model's vectors of users learn the next item and a recommender's states.

B users of a batch, K negatives.
"""

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from experiments.training.state import seed_everything
from experiments.training.strategies.targets import AdamSteps, Targets
from experiments.training.strategy import Task, Tick, descend
from paddock import choices, key, log_uniform
from paddock.training_keys import EpochConfig


class DistilConfig(EpochConfig):
    """One target a user and sampled negatives, which all users of a batch share with its targets."""

    name = "distil"
    needs = "distillation"
    needed = "a language model that reads users and items"

    train_batch_size: int = key(20, "Users of a batch.", least=1)
    negatives: int = key(
        3, "Sampled negatives of a user, in the batch's ranking.", least=1, search=choices(1, 3, 10)
    )
    learning_rate: float = key(1e-4, "Adam's step size.", above=0, search=log_uniform(1e-5, 1e-2))
    weight_decay: float = key(0.0, "Adam's L2 penalty.", least=0)
    clip_grad_norm: dict | None = key(None, "Arguments of torch's clip_grad_norm_; null: none.")
    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read.", least=1)


class Distil:
    """Batches of users with a target and negatives in random order.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    def __init__(self, task: Task) -> None:
        # How many numbers were drawn before depends on networks that do not learn.
        seed_everything(task.seed)
        self._model = task.model
        self._device = task.config["device"]
        self._batch_size = int(task.config["train_batch_size"])
        self._negatives = int(task.config["negatives"])
        self._most = int(task.config["epoch_samples"]) or None
        self._targets = Targets(task, positions=task.config["positions"])
        self._steps = AdamSteps(task)
        self.generators = self._targets.generators
        self.optimizers = self._steps.optimizers

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
        users, places = (each[: self._most] for each in self._targets.drawn())
        negatives = self._targets.negatives(users, self._negatives)
        columns = [each.split(self._batch_size) for each in (users, places, negatives)]
        losses = (self._batch_loss(*batch) for batch in zip(*columns, strict=True))
        return descend(losses, self._steps, epoch=epoch, batches=len(columns[0]), tick=tick)

    def _batch_loss(self, users_B: Tensor, places_B: Tensor, negatives_BK: Tensor) -> torch.Tensor:
        batch = self._targets.batch(users_B, places_B)
        batch.update(Interaction({self._model.NEG_ITEM_ID: negatives_BK}))
        loss: Tensor = self._model.calculate_loss(batch.to(self._device))
        return loss
