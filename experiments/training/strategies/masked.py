"""The strategy `masked`: models that read a window both ways and predict items hidden from it.

The Cloze task of BERT4Rec (Sun et al., CIKM 2019, section 3.6). RecBole makes a padded row of every
prefix and masks it in a Python loop over its items; here a row is a window of the history.

B batch of windows, L longest window of a batch, D width, E = D + 1 with the bias, N items, P masked
positions.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from experiments.errors import PaddockError
from experiments.training import ranks
from experiments.training.cuts import window_batches
from experiments.training.descent import SeededDescent
from experiments.training.losses import full_softmax
from experiments.training.precision import mixed
from experiments.training.strategy import Task
from paddock import choices, key, log_uniform, uniform
from paddock.training_keys import StepConfig


class MaskedConfig(StepConfig):
    """Windows of histories with items hidden from them, which are predicted."""

    name = "masked"
    needs = "masked items"
    needed = "a model that predicts masked items, as BERT4Rec does"
    mixed_precision = True
    several_processes = True
    only = {"loss_type": ("CE",)}

    learning_rate: float = key(
        1e-3, "The optimizer's step size.", above=0, search=log_uniform(2e-4, 5e-3)
    )
    train_batch_size: int = key(
        2048, "Windows of a batch.", least=1, search=choices(16, 32, 64, 128)
    )
    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a window.", least=1)
    ft_ratio: float = key(
        0.5,
        "Share of the windows whose last item alone is hidden, as when ranking.",
        least=0,
        most=1,
        search=uniform(0.0, 1.0, step=0.25),
    )


class Masked(SeededDescent):
    """Batches of windows, cross-entropy over all items at the masked positions.

    The model offers `encode(items_BL)`, `logit_factors(encoded_PD)` and `mask_token`. Windows move
    every epoch, and `train_batch_size` counts them. Of every window each item is masked with
    probability `mask_ratio`, at least one of them; or, with probability `ft_ratio`, the last alone,
    as when the model ranks.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    def __init__(self, task: Task) -> None:
        _check(task)
        super().__init__(task, generator="masked")
        self._history = task.split.training()
        self._longest = int(task.config["MAX_ITEM_LIST_LENGTH"])
        self._batch_size = int(task.config["train_batch_size"])
        self._mask_ratio = float(task.config["mask_ratio"])
        self._last_ratio = float(task.config["ft_ratio"])

    def _pass(self) -> tuple[int, Iterable[Tensor]]:
        batches = self._batches()
        return len(batches), (self._batch_loss(*self._rows(*batch)) for batch in batches)

    def _batch_loss(self, items_BL: Tensor, masked_BL: Tensor) -> Tensor:
        part, masks_B = ranks.part(len(items_BL)), masked_BL.sum(1)
        items_BL, masked_BL = items_BL[part.rows], masked_BL[part.rows]
        shown_BL = items_BL.masked_fill(masked_BL, self._model.mask_token)
        with mixed(items_BL.device, self._precision):
            encoded_PD = self._model.encode(shown_BL)[masked_BL]
            states_PE, weight_NE = self._model.logit_factors(encoded_PD)
            loss = full_softmax(states_PE, weight_NE, items_BL[masked_BL])
        return part.weighed(loss, masks_B)

    def _batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Windows as (first row, number of items), grouped by length, in random order."""
        return window_batches(
            self._history.indptr[:-1],
            self._history.lengths,
            longest=self._longest,
            batch_size=self._batch_size,
            generator=self._generator,
        )

    def _rows(self, starts_B: np.ndarray, lengths_B: np.ndarray) -> tuple[Tensor, Tensor]:
        """Items, padded with 0 on the right, and which of them are masked."""
        offsets_L = np.arange(lengths_B.max())
        inside_BL = offsets_L < lengths_B[:, None]
        source_BL = np.where(inside_BL, starts_B[:, None] + offsets_L, 0)
        items_BL = np.where(inside_BL, self._history.items[source_BL], 0).astype(np.int64)
        masked_BL = self._mask(torch.from_numpy(lengths_B))
        return torch.from_numpy(items_BL).to(self._device), masked_BL.to(self._device)

    def _mask(self, lengths_B: Tensor) -> Tensor:
        offsets_L = torch.arange(int(lengths_B.max()))
        draws_BL = torch.rand((len(lengths_B), len(offsets_L)), generator=self._generator)
        draws_BL = draws_BL.masked_fill(offsets_L >= lengths_B[:, None], torch.inf)
        # The smallest draw is below mask_ratio if any is: it adds one to windows without any.
        least_B1 = draws_BL.amin(dim=1, keepdim=True)
        some_BL = (draws_BL < self._mask_ratio) | (draws_BL == least_B1)
        last_BL = offsets_L == lengths_B[:, None] - 1
        only_last_B = torch.rand(len(lengths_B), generator=self._generator) < self._last_ratio
        return torch.where(only_last_B[:, None], last_BL, some_BL)


def _check(task: Task) -> None:
    if not hasattr(task.model, "logit_factors"):
        raise PaddockError(
            "model.strategy=masked needs a model that predicts masked items, as BERT4Rec does; "
            f"{type(task.model).__name__} does not: use model.strategy=recbole"
        )
    if task.config["loss_type"] != "CE":
        raise PaddockError(
            f"model.loss_type={task.config['loss_type']}: strategy masked trains by cross-entropy; "
            "use loss_type=CE or strategy=recbole"
        )
