"""One training target a user with the history before it, for models that learn from few targets.

U users with two training items or more, B of a batch, L longest history, K negatives.
"""

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from experiments.errors import PaddockError
from experiments.training import ranks
from experiments.training.descent import Descent
from experiments.training.negatives import NegativeSampler
from experiments.training.optimizers import rate_at
from experiments.training.state import seed_everything
from experiments.training.strategy import Task, check_loss

BETAS = (0.9, 0.98)
"""Of Adam, as in SASRec's and A-LLMRec's code."""

MOST_TRIES = 100


class Targets:
    """Draws users with a target, the history before it and negatives.

    A user with a single training item has no history before it and is left out; the
    authors' code trains on a padding item instead.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    positions : str
        "random": a random position of the history is the target. Otherwise the last one is.

    Raises
    ------
    PaddockError
        If no user has two training interactions.
    """

    def __init__(self, task: Task, *, positions: str) -> None:
        self._model = task.model
        self._device = task.config["device"]
        self._longest = int(task.config["MAX_ITEM_LIST_LENGTH"])
        self._history = task.split.training()
        lengths = self._history.lengths
        self._users_U = np.flatnonzero(lengths >= 2)
        self._lengths_U = lengths[self._users_U]
        self._random = positions == "random"
        if len(self._users_U) == 0:
            raise PaddockError(
                f"no user has two training interactions, so that {type(task.model).__name__} has "
                "no history to learn from"
            )
        self._sampler = NegativeSampler(
            task.split.train_users,
            task.split.train_items,
            n_users=task.split.n_users,
            n_items=task.split.n_items,
        )
        self._generator = torch.Generator()
        self._generator.manual_seed(task.seed)
        self.generators = {"targets": self._generator}

    def drawn(self) -> tuple[Tensor, Tensor]:
        """All users in random order, and the place of each one's target in the history."""
        order = torch.randperm(len(self._users_U), generator=self._generator)
        lengths = torch.from_numpy(self._lengths_U)[order]
        places = lengths - 1
        if self._random:
            share = torch.rand(len(order), generator=self._generator, dtype=torch.float64)
            places = 1 + (share * (lengths - 1)).long()
        return torch.from_numpy(self._users_U)[order], places

    def batch(self, users_B: Tensor, places_B: Tensor) -> Interaction:
        """Users, histories and targets as a batch in RecBole's fields, on the CPU.

        Parameters
        ----------
        users_B : Tensor
            User ids, shape (B,), int64.
        places_B : Tensor
            Position of each user's target in the training history, shape (B,), int64.
        """
        starts_B = torch.from_numpy(self._history.indptr)[users_B]
        items = torch.from_numpy(self._history.items).long()
        lengths_B = places_B.clamp(max=self._longest)
        offsets_L = torch.arange(self._longest)
        inside_BL = offsets_L < lengths_B[:, None]
        source_BL = (starts_B + places_B - lengths_B)[:, None] + offsets_L
        histories_BL = items[torch.where(inside_BL, source_BL, 0)] * inside_BL
        model = self._model
        return Interaction(
            {
                model.USER_ID: users_B,
                model.ITEM_SEQ: histories_BL,
                model.ITEM_SEQ_LEN: lengths_B,
                model.POS_ITEM_ID: items[starts_B + places_B],
            }
        )

    def negatives(self, users_B: Tensor, k: int) -> Tensor:
        """Draw K items for each user that the user did not train on.

        The items of a user differ, if there are enough.

        Parameters
        ----------
        users_B : Tensor
            User ids, shape (B,), int64.
        k : int
            Items of a user.

        Returns
        -------
        Tensor
            Item ids, int64, shape (B, K).
        """
        drawn_BK = self._sampler.draw(users_B, k, generator=self._generator)
        for _ in range(MOST_TRIES):
            ordered_BK, places_BK = drawn_BK.sort(dim=1, stable=True)
            again_BK = torch.zeros_like(drawn_BK, dtype=torch.bool)
            repeats = ordered_BK[:, 1:] == ordered_BK[:, :-1]
            again_BK.scatter_(1, places_BK[:, 1:], repeats)
            if not again_BK.any():
                break
            rows = again_BK.nonzero(as_tuple=True)[0]
            fresh = self._sampler.draw(users_B[rows], 1, generator=self._generator)
            drawn_BK[again_BK] = fresh[:, 0]
        return drawn_BK

    def shuffled(self, items_BC: Tensor) -> Tensor:
        """The items with each row in a random order of its own.

        Parameters
        ----------
        items_BC : Tensor
            Item ids, shape (B, C).
        """
        keys_BC = torch.rand(items_BC.shape, generator=self._generator)
        return items_BC.gather(1, keys_BC.argsort(dim=1))

    def turns(self, batches: int) -> list[int]:
        """The numbers of the batches in random order.

        Parameters
        ----------
        batches : int
            Number of batches.
        """
        return torch.randperm(batches, generator=self._generator).tolist()


class AdamSteps:
    """Adam over the trainable weights, with the gradients of several batches added up for a step.

    The learning rate follows `learning_rate_schedule`, where the strategy has it, as
    `experiments.training.optimizers.Steps` does. Where nothing learns (random projections, no soft token), a step does nothing.

    Parameters
    ----------
    task : Task
        The model and its configuration.
    accumulate : int
        Batches of a step.
    """

    def __init__(self, task: Task, *, accumulate: int = 1) -> None:
        self._weights = [each for each in task.model.parameters() if each.requires_grad]
        self._accumulate = accumulate
        self._clip = task.config["clip_grad_norm"]
        self._model = task.model
        self._rate = task.config["learning_rate"]
        self._schedule = task.config["learning_rate_schedule"] or "constant"
        self._epochs = task.config["epochs"]
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        if self._weights:
            self.optimizers["optimizer"] = torch.optim.Adam(
                self._weights,
                lr=task.config["learning_rate"],
                betas=BETAS,
                weight_decay=task.config["weight_decay"] or 0.0,
            )

    def step(self, loss: Tensor, *, epoch: int, done: int, batches: int) -> float:
        """Add a loss's gradient, step at the end of a group of batches, and return the loss.

        Parameters
        ----------
        loss : Tensor
            The batch's loss, a scalar; of several processes, this one's part of it.
        epoch : int
            Finished epochs of the stage.
        done : int
            Finished batches of the epoch.
        batches : int
            All batches of the epoch.

        Raises
        ------
        PaddockError
            If the loss is infinite or not a number.
        """
        value = check_loss(ranks.total(loss), model=self._model, epoch=epoch)
        if not loss.requires_grad:
            return value
        (optimizer,) = self.optimizers.values()
        first = done % self._accumulate == 0
        last = (done + 1) % self._accumulate == 0 or done + 1 == batches
        if first:
            optimizer.zero_grad()
            share = (epoch + done / batches) / self._epochs
            for weights in optimizer.param_groups:
                weights["lr"] = self._rate * rate_at(share, schedule=self._schedule)
        group = min(self._accumulate, batches - done // self._accumulate * self._accumulate)
        (loss / group).backward()
        if last:
            ranks.add_gradients(self._weights)
            if self._clip:
                torch.nn.utils.clip_grad_norm_(self._weights, **self._clip)
            optimizer.step()
        return value


class TargetDescent(Descent):
    """Steps of Adam over batches of `Targets`.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    accumulate : int
        Batches of a step.
    """

    def __init__(self, task: Task, *, accumulate: int = 1) -> None:
        # How many numbers were drawn before depends on networks that this stage does not read.
        seed_everything(task.seed)
        self._model = task.model
        self._device = task.config["device"]
        self._batch_size = int(task.config["train_batch_size"])
        self._targets = Targets(task, positions=task.config["positions"])
        self.generators = self._targets.generators
        steps = AdamSteps(task, accumulate=accumulate)
        self._steps = steps
        self.optimizers = steps.optimizers
