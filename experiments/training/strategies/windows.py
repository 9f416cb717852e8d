"""The strategy `windows`: causal sequence models trained at every position of a user's window.

A history of n items holds n - 1 next-item targets. RecBole makes one padded row for each of them and
computes one target a row; here a row holds up to MAX_ITEM_LIST_LENGTH targets, all computed in one
pass, which is the training of the SASRec paper (section III-E) with a choice of losses.

B batch of windows, L longest window of a batch, D width, N items, P valid positions.
"""

from collections.abc import Iterable

import numpy as np
import torch

from experiments.errors import PaddockError
from experiments.training import ranks
from experiments.training.cuts import window_batches
from experiments.training.descent import SeededDescent
from experiments.training.losses import Among, next_item_loss
from experiments.training.precision import mixed
from experiments.training.strategy import Task
from paddock import choices, key, log_integers, log_uniform, uniform
from paddock.training_keys import StepConfig

SAMPLED = ("sampled_softmax", "gbce")


class WindowsConfig(StepConfig):
    """Windows of histories, every position of which predicts its next item."""

    name = "windows"
    needs = "states"
    needed = "a causal model with a state for every position"
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
    loss: str = key(
        "softmax",
        "The loss of a position; see `experiments.training.losses`.",
        choices=("softmax", "sampled_softmax", "bce", "gbce"),
        search=choices("softmax", *SAMPLED),
    )
    negatives: int = key(
        256,
        "Items that sampled losses draw: for the batch (sampled_softmax) or for each position.",
        least=1,
        search=log_integers(16, 512, when={"loss": list(SAMPLED)}),
    )
    calibration: float = key(
        0.75,
        "gBCE's t: 0 is plain BCE, 1 fully calibrated.",
        least=0,
        most=1,
        search=uniform(0.0, 1.0, when={"loss": "gbce"}),
    )


class Windows(SeededDescent):
    """Batches of windows, similar lengths together, a next-item loss at every position.

    The model offers `states(items_BL) -> states_BLD` and ranks by the product with
    `item_embedding.weight`. The cut of long histories into windows moves every epoch, so that each
    target is seen with contexts of all lengths. `train_batch_size` counts windows.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    def __init__(self, task: Task) -> None:
        if not hasattr(task.model, "states"):
            raise PaddockError(
                f"model.strategy=windows needs a causal model with a state for every position; "
                f"{type(task.model).__name__} has none: use model.strategy=recbole"
            )
        super().__init__(task, generator="windows")
        self._history = task.split.training()
        self._longest = int(task.config["MAX_ITEM_LIST_LENGTH"])
        self._batch_size = int(task.config["train_batch_size"])
        self._loss = next_item_loss(
            task.config["loss"],
            negatives=task.config["negatives"],
            calibration=task.config["calibration"],
            generator=self._generator,
        )

    def _pass(self) -> tuple[int, Iterable[torch.Tensor]]:
        batches = self._batches()
        return len(batches), (self._batch_loss(*self._rows(*batch)) for batch in batches)

    def _batch_loss(self, inputs_BL: torch.Tensor, targets_BL: torch.Tensor) -> torch.Tensor:
        part = ranks.part(len(inputs_BL))
        whole_BL = targets_BL != 0
        valid_BL, targets_BL = whole_BL[part.rows], targets_BL[part.rows]
        among = None if part.whole else Among.rows(part.rows, whole_BL)
        weight_ND = self._model.item_embedding.weight
        with mixed(inputs_BL.device, self._precision):
            states_PD = self._model.states(inputs_BL[part.rows])[valid_BL]
            loss = self._loss(states_PD, weight_ND, targets_BL[valid_BL], among=among)
        return part.weighed(loss, whole_BL.sum(1))

    def _batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Windows as (first row, number of targets), grouped by length, in random order."""
        return window_batches(
            self._history.indptr[:-1],
            np.maximum(self._history.lengths - 1, 0),
            longest=self._longest,
            batch_size=self._batch_size,
            generator=self._generator,
        )

    def _rows(
        self, starts_B: np.ndarray, lengths_B: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        offsets_L = np.arange(lengths_B.max())
        inside_BL = offsets_L < lengths_B[:, None]
        source_BL = np.where(inside_BL, starts_B[:, None] + offsets_L, 0)
        items = self._history.items
        inputs_BL = np.where(inside_BL, items[source_BL], 0).astype(np.int64)
        targets_BL = np.where(inside_BL, items[source_BL + 1], 0).astype(np.int64)
        return (
            torch.from_numpy(inputs_BL).to(self._device),
            torch.from_numpy(targets_BL).to(self._device),
        )
