"""The strategy `sft`: a language model is tuned to answer prompts with the next item's title."""

import torch

from experiments.training.strategies.prompts import LLMPrompts
from experiments.training.strategy import Task
from paddock import key, log_uniform
from paddock.training_keys import EpochConfig


class SftConfig(EpochConfig):
    """Prompts of a history and candidates, at several positions of a user."""

    name = "sft"
    needs = "prompts"
    needed = "a language model with adapters"

    train_batch_size: int = key(16, "Prompts of a batch.", least=1)
    learning_rate: float = key(3e-4, "Adam's step size.", above=0, search=log_uniform(1e-4, 1e-3))
    learning_rate_schedule: str = key(
        "cosine",
        "cosine lets the learning rate sink to 0 over all epochs.",
        choices=("constant", "cosine"),
    )
    weight_decay: float = key(0.0, "Adam's L2 penalty.", least=0)
    clip_grad_norm: dict | None = key(None, "Arguments of torch's clip_grad_norm_; null: none.")
    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read.", least=1)


class Sft(LLMPrompts):
    """As `llm`, at `samples_per_user` positions of every user.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._per_user = int(task.config["samples_per_user"])

    def _drawn(self) -> tuple[torch.Tensor, torch.Tensor]:
        rounds = [self._targets.drawn() for _ in range(self._per_user)]
        users, places = (torch.cat(each)[: self._most] for each in zip(*rounds, strict=True))
        return users, places
