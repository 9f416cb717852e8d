"""The strategy `distil`: a language model's vectors of users learn the next item and a recommender's states.

B users of a batch, K negatives.
"""

from collections.abc import Iterable

from recbole.data.interaction import Interaction
from torch import Tensor

from experiments.training.strategies.targets import TargetDescent
from experiments.training.strategy import Task
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


class Distil(TargetDescent):
    """Batches of users with a target and negatives in random order.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._negatives = int(task.config["negatives"])
        self._most = int(task.config["epoch_samples"]) or None

    def _pass(self) -> tuple[int, Iterable[Tensor]]:
        users, places = (each[: self._most] for each in self._targets.drawn())
        negatives = self._targets.negatives(users, self._negatives)
        columns = [each.split(self._batch_size) for each in (users, places, negatives)]
        batches = zip(*columns, strict=True)
        return len(columns[0]), (self._batch_loss(*batch) for batch in batches)

    def _batch_loss(self, users_B: Tensor, places_B: Tensor, negatives_BK: Tensor) -> Tensor:
        batch = self._targets.batch(users_B, places_B)
        batch.update(Interaction({self._model.NEG_ITEM_ID: negatives_BK}))
        loss: Tensor = self._model.calculate_loss(batch.to(self._device))
        return loss
