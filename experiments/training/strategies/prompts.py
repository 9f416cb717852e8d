"""The strategy `llm`: A-LLMRec's stage 2, the language model learns to read the soft tokens.

B rows of a batch, C candidates.
"""

from collections.abc import Iterable

import torch
from recbole.data.interaction import Interaction

from experiments.training import ranks
from experiments.training.strategies.targets import TargetDescent
from experiments.training.strategy import Task
from paddock import key, log_uniform
from paddock.training_keys import EpochConfig

AHEAD = 64
"""Batches whose rows are put together, and sorted by length, at a time."""


class LLMPromptsConfig(EpochConfig):
    """Prompts of one target and its negatives, for what a frozen language model reads."""

    name = "llm"
    needs = "prompts"
    needed = "a model that is made with a language model"
    several_processes = True

    train_batch_size: int = key(2048, "Prompts of a batch.", least=1)
    learning_rate: float = key(1e-3, "Adam's step size.", above=0, search=log_uniform(1e-5, 1e-2))
    weight_decay: float = key(0.0, "Adam's L2 penalty.", least=0)
    clip_grad_norm: dict | None = key(None, "Arguments of torch's clip_grad_norm_; null: none.")
    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read.", least=1)


class LLMPrompts(TargetDescent):
    """Batches of prompts of one target and its negatives in random order, similar lengths together.

    `train_batch_size` counts prompts, `accumulate` the batches whose gradients make one step,
    `epoch_samples` the prompts of an epoch, where that is not all.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task, accumulate=int(task.config["accumulate"]))
        self._candidates = int(task.config["train_candidates"])
        self._most = int(task.config["epoch_samples"]) or None

    def _pass(self) -> tuple[int, Iterable[torch.Tensor]]:
        users, places = self._drawn()
        negatives = self._targets.negatives(users, self._candidates - 1)
        batches = -(-len(users) // self._batch_size)
        columns = (each.split(AHEAD * self._batch_size) for each in (users, places, negatives))
        return batches, (
            self._batch_loss(batch)
            for many in zip(*columns, strict=True)
            for batch in self._batches(*many)
        )

    def _drawn(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The users of a pass, and the place of each one's target in the history."""
        users, places = self._targets.drawn()
        return users[: self._most], places[: self._most]

    def _fields(
        self, candidates_BC: torch.Tensor, negatives: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """What a batch holds beside users, histories and targets."""
        return {"candidates": candidates_BC}

    def _batch_loss(self, batch: Interaction) -> torch.Tensor:
        part = ranks.part(len(batch))
        loss, tokens_B = self._model.prompt_loss(batch, part.rows)
        weighed: torch.Tensor = part.weighed(loss, tokens_B)
        return weighed

    def _batches(
        self, users: torch.Tensor, places: torch.Tensor, negatives: torch.Tensor
    ) -> list[Interaction]:
        whole = self._targets.batch(users, places)
        targets = whole[self._model.POS_ITEM_ID][:, None]
        candidates_BC = self._targets.shuffled(torch.cat([targets, negatives], dim=1))
        whole.update(Interaction(self._fields(candidates_BC, negatives)))
        order = torch.argsort(self._model.prompt_lengths(whole), stable=True)
        pieces = order.split(self._batch_size)
        return [whole[pieces[turn]].to(self._device) for turn in self._targets.turns(len(pieces))]
