"""The strategy `rows`: autoencoders of a user's items, trained on users without RecBole's loader.

A batch holds users alone; the model and its loss look up their items. RecBole's loader makes
a Python list of every batch's users (user_dataloader.py), and trains on the padding as on a user.

U users with a training interaction, B batch of them.
"""

from collections.abc import Iterable

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AutoEncoderMixin
from recbole.trainer import Trainer
from recbole.utils import get_trainer

from experiments.components.registry import models as declared_models
from experiments.errors import PaddockError
from experiments.training import ranks
from experiments.training.descent import SeededDescent
from experiments.training.precision import mixed
from experiments.training.strategy import Task, Tick
from paddock import key
from paddock.layers import onednn_products
from paddock.training_keys import StepConfig


class RowsConfig(StepConfig):
    """Rows of all items of a user."""

    name = "rows"
    needs = "rows"
    needed = "an autoencoder of the users' items"
    mixed_precision = True
    several_processes = True

    train_batch_size: int = key(2048, "Users of a batch.", least=1)


class Rows(SeededDescent):
    """Shuffled batches of at most `train_batch_size` users, which differ by at most one in size.

    Batch norm, with which RaCT's critic begins, cannot train on a batch of a single user.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    def __init__(self, task: Task) -> None:
        _check(task)
        super().__init__(task, generator="rows")
        self._batch_size = int(task.config["train_batch_size"])
        self._users_U = torch.from_numpy(np.unique(task.split.train_users).astype(np.int64))

    def train_epoch(self, epoch: int, tick: Tick) -> float:
        """As `Descent`; nearly all the work is the product with all items, of one shape or two."""
        with onednn_products():
            return super().train_epoch(epoch, tick)

    def _pass(self) -> tuple[int, Iterable[torch.Tensor]]:
        batches = self._batches()
        return len(batches), map(self._batch_loss, batches)

    def _batch_loss(self, users_B: torch.Tensor) -> torch.Tensor:
        part = ranks.part(len(users_B))
        batch = Interaction({self._model.USER_ID: users_B[part.rows].to(self._device)})
        with mixed(batch[self._model.USER_ID].device, self._precision):
            loss: torch.Tensor = self._model.calculate_loss(batch)
        return part.weighed(loss, torch.ones_like(users_B))

    def _batches(self) -> tuple[torch.Tensor, ...]:
        order_U = torch.randperm(len(self._users_U), generator=self._generator)
        return self._users_U[order_U].tensor_split(-(-len(order_U) // self._batch_size))


USERS_AVERAGED = ("MacridVAE", "MultiDAE", "MultiVAE")
"""Models whose loss is a mean over the users of a batch, which do not affect each other."""


def _check(task: Task) -> None:
    name = type(task.model).__name__
    if ranks.size() > 1 and name not in USERS_AVERAGED:
        raise PaddockError(
            f"{name} computes a batch as a whole and trains in one process; of the models of "
            f"model.strategy=rows {', '.join(USERS_AVERAGED)} train in several: leave torchrun out"
        )
    declared = declared_models().get(name)
    offered = declared is not None and "rows" in declared.declaration.offers
    if not offered and not isinstance(task.model, AutoEncoderMixin):
        raise PaddockError(
            f"model.strategy=rows needs an autoencoder of the users' items; {name} is none: "
            "use model.strategy=recbole"
        )
    trainer = get_trainer(task.config["MODEL_TYPE"], task.config["model"])
    if trainer._train_epoch is not Trainer._train_epoch:
        raise PaddockError(
            f"model.strategy=rows cannot train {name}, which has an epoch of its own: "
            "use model.strategy=recbole"
        )
