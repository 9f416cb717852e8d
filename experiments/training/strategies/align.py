"""The strategy `align`: A-LLMRec's stage 1, item and text embeddings are mapped into a joint space."""

from collections.abc import Iterable

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from experiments.training import ranks
from experiments.training.strategies.targets import TargetDescent
from paddock import choices, key, log_uniform
from paddock.training_keys import EpochConfig


class AlignConfig(EpochConfig):
    """One positive and one negative item a user, for the joint space of items and texts."""

    name = "align"
    needs = "alignment"
    needed = "a model with a joint space of items and texts"
    several_processes = True

    train_batch_size: int = key(2048, "Users of a batch.", least=1, search=choices(16, 32, 64, 128))
    learning_rate: float = key(1e-3, "Adam's step size.", above=0, search=log_uniform(1e-5, 1e-2))
    weight_decay: float = key(0.0, "Adam's L2 penalty.", least=0)
    clip_grad_norm: dict | None = key(None, "Arguments of torch's clip_grad_norm_; null: none.")
    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read.", least=1)


class Align(TargetDescent):
    """Batches of one (user state, positive, negative) a user, the last training item by default.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    def _pass(self) -> tuple[int, Iterable[Tensor]]:
        users, places = self._targets.drawn()
        negatives = self._targets.negatives(users, 1)[:, 0]
        columns = [each.split(self._batch_size) for each in (users, places, negatives)]
        batches = zip(*columns, strict=True)
        return len(columns[0]), (self._batch_loss(*batch) for batch in batches)

    def _batch_loss(self, users_B: Tensor, places_B: Tensor, negatives_B: Tensor) -> Tensor:
        part = ranks.part(len(users_B))
        batch = self._targets.batch(users_B[part.rows], places_B[part.rows])
        batch.update(Interaction({self._model.NEG_ITEM_ID: negatives_B[part.rows]}))
        loss: Tensor = self._model.calculate_loss(batch.to(self._device))
        return part.weighed(loss, torch.ones_like(users_B))
