"""The strategy `half_pairs`: every epoch trains on half of the interactions, drawn anew."""

import torch
from recbole.data.interaction import Interaction

from experiments.training.negatives import NegativeSampler
from experiments.training.optimizers import Steps
from experiments.training.strategy import Task, Tick, descend
from paddock import key
from paddock.training_keys import StepConfig


class HalfPairsConfig(StepConfig):
    """A share of the interactions, each with one negative item."""

    name = "half_pairs"
    needs = "pairs"
    needed = "a model that learns from (user, item, negative)"

    share: float = key(0.5, "Share of the interactions in an epoch.", above=0, most=1)


class HalfPairs:
    """Batches of a drawn share of the training interactions."""

    def __init__(self, task: Task) -> None:
        self._model, self._share = task.model, task.config["share"]
        self._size = int(task.config["train_batch_size"])
        split = task.split
        self._users = torch.from_numpy(split.train_users).long()
        self._items = torch.from_numpy(split.train_items).long()
        self._sampler = NegativeSampler(
            split.train_users, split.train_items, n_users=split.n_users, n_items=split.n_items
        )
        generator = torch.Generator()
        generator.manual_seed(task.seed)
        self.generators = {"half_pairs": generator}
        self._steps = Steps(task)
        self.optimizers = {"optimizer": self._steps.optimizer}

    def train_epoch(self, epoch: int, tick: Tick) -> float:
        """Train on the drawn share; the mean loss of a batch."""
        self._model.train()
        generator = self.generators["half_pairs"]
        kept = torch.randperm(len(self._users), generator=generator)
        kept = kept[: max(1, int(self._share * len(kept)))]
        batches = kept.split(self._size)
        losses = (self._loss(rows, generator) for rows in batches)
        return descend(losses, self._steps, epoch=epoch, batches=len(batches), tick=tick)

    def _loss(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        model, users = self._model, self._users[rows]
        negatives = self._sampler.draw(users, 1, generator=generator)[:, 0]
        batch = {
            model.USER_ID: users,
            model.ITEM_ID: self._items[rows],
            model.NEG_ITEM_ID: negatives,
        }
        loss: torch.Tensor = model.calculate_loss(Interaction(batch))
        return loss
