"""The strategy `pairs`: pairwise models, trained on (user, item, negative) without RecBole's loader.

The model, its loss and what a batch holds are RecBole's; only the way to the batch differs. RecBole
copies every batch through an Interaction of Python lists and rejects positives in a Python loop
(interaction.py:163, sampler.py:156); here a batch is an index into tensors.

R rows of a batch, K negatives of a row.
"""

from collections.abc import Iterable

import torch
from recbole.data.interaction import Interaction
from recbole.utils import InputType

from experiments.errors import PaddockError
from experiments.training.descent import SeededDescent
from experiments.training.negatives import NegativeSampler
from experiments.training.strategy import Task
from paddock import key
from paddock.training_keys import NEGATIVE_SAMPLING, StepConfig


class PairsConfig(StepConfig):
    """Triples of a user, an item and a negative item."""

    name = "pairs"
    needs = "pairs"
    needed = "a model that learns from (user, item, negative)"

    train_batch_size: int = key(2048, "Pairs of a batch, negatives counted.", least=1)
    train_neg_sample_args: dict = key(
        NEGATIVE_SAMPLING, "RecBole's negative sampling: distribution, sample_num, alpha."
    )


class Pairs(SeededDescent):
    """Shuffled batches of `train_batch_size` pairs; `train_neg_sample_args` as in RecBole.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    def __init__(self, task: Task) -> None:
        if task.config["MODEL_INPUT_TYPE"] != InputType.PAIRWISE:
            raise PaddockError(
                f"model.strategy=pairs needs a pairwise model; {type(task.model).__name__} is none: "
                "use model.strategy=recbole"
            )
        super().__init__(task, generator="pairs")
        arguments = task.config["train_neg_sample_args"]
        self._k = int(arguments["sample_num"])
        self._rows = max(1, int(task.config["train_batch_size"]) // self._k)
        split = task.split
        self._users = torch.from_numpy(split.train_users).long()
        self._items = torch.from_numpy(split.train_items).long()
        self._sampler = NegativeSampler(
            split.train_users,
            split.train_items,
            n_users=split.n_users,
            n_items=split.n_items,
            distribution=arguments["distribution"],
            alpha=arguments["alpha"],
        )

    def _pass(self) -> tuple[int, Iterable[torch.Tensor]]:
        generator = self._generator
        order = torch.randperm(len(self._users), generator=generator)
        users, items = self._users[order], self._items[order]
        negatives = self._sampler.draw(users, self._k, generator=generator)
        batches = -(-len(order) // self._rows)
        columns = zip(*(each.split(self._rows) for each in (users, items, negatives)), strict=True)
        return batches, (self._batch_loss(self._batch(*batch)) for batch in columns)

    def _batch_loss(self, batch: Interaction) -> torch.Tensor:
        parts = self._model.calculate_loss(batch)
        loss: torch.Tensor = torch.stack(parts).sum() if isinstance(parts, tuple) else parts
        return loss

    def _batch(
        self, users: torch.Tensor, items: torch.Tensor, negatives: torch.Tensor
    ) -> Interaction:
        """As RecBole lays it out: all rows with their first negative, then with their second."""
        model = self._model
        return Interaction(
            {
                model.USER_ID: users.repeat(self._k).to(self._device),
                model.ITEM_ID: items.repeat(self._k).to(self._device),
                model.NEG_ITEM_ID: negatives.T.flatten().to(self._device),
            }
        )
