"""A RecBole model as a scorer of users.

B users, L longest history, N items (padding included).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AbstractRecommender
from torch import Tensor

from experiments.bridge.dataset import TrainingRows
from experiments.bridge.inputs import attributes, rows_of
from experiments.protocol.split import Sequences
from paddock.layers import onednn_products

PAIRS_AT_ONCE = 1 << 18
POSITIONS_AT_ONCE = 1 << 14
"""Positions of histories that a sequential model reads at once: its activations stay in the cache,
and below the size from which the C library maps fresh pages for every tensor."""


class RecBoleScorer:
    """Scores all items for given users by a RecBole model.

    Parameters
    ----------
    model : AbstractRecommender
        Any RecBole model. One without `full_sort_predict` scores every pair of user and item.
    dataset : TrainingRows
        The dataset that the model was made with (for its fields and features).
    history : Sequences
        The interactions of each user before the target; a sequential model reads the last
        MAX_ITEM_LIST_LENGTH items, a model that scores rows of items reads all of them.
    trained_rows : bool
        Whether a model that scores rows of items reads the rows it was trained on instead, as in
        RecBole.
    """

    full = True

    def __init__(
        self,
        model: AbstractRecommender,
        *,
        dataset: TrainingRows,
        history: Sequences,
        trained_rows: bool = False,
    ) -> None:
        self._model = model
        self._dataset = dataset
        self._history = history
        self._device = next(iter(model.parameters())).device
        self._full_sort = True
        self._rows = None if trained_rows else rows_of(model, dataset, history)
        # Members of a fusion are read each in its own way.
        self._members = {
            name: RecBoleScorer(
                member.model, dataset=member.dataset, history=history, trained_rows=trained_rows
            )
            for name, member in getattr(model, "members", {}).items()
        }

    @torch.no_grad()
    def score(self, users_B: np.ndarray) -> Tensor:
        """Score all items for users.

        Parameters
        ----------
        users_B : ndarray
            User ids, shape (B,).

        Returns
        -------
        Tensor
            Scores of shape (B, N), on the model's device; column 0 is padding and means nothing.
        """
        if self._model.training:
            self._model.eval()
        if self._members:
            return self._model.fused(self.members(users_B))
        with attributes(self._model, self._rows), onednn_products():
            return self._score_parts(users_B)

    @torch.no_grad()
    def apply(self, users_B: np.ndarray, read: Callable[[Any, Interaction], Tensor]) -> Tensor:
        """What a function reads from the model and the users' batch, as they are when it scores.

        Parameters
        ----------
        users_B : ndarray
            User ids, shape (B,).
        read : callable
            Takes (model, batch).
        """
        if self._model.training:
            self._model.eval()
        with attributes(self._model, self._rows), onednn_products():
            return read(self._model, self._joined(self._batch(users_B)).to(self._device))

    def members(self, users_B: np.ndarray) -> dict[str, Tensor]:
        """The scores of each member of a fusion; empty for another model.

        Parameters
        ----------
        users_B : ndarray
            User ids, shape (B,).

        Returns
        -------
        dict of str to Tensor
            Member -> scores of shape (B, N).
        """
        if self._members:
            self._model.load_members()
        return {name: scorer.score(users_B) for name, scorer in self._members.items()}

    def _score_parts(self, users_B: np.ndarray) -> Tensor:
        parts = self.parts(users_B)
        if len(parts) == 1:
            return self._score(users_B)
        first_PN = self._score(users_B[parts[0]])
        scores_BN = first_PN.new_empty((len(users_B), first_PN.shape[1]))
        scores_BN[parts[0]] = first_PN
        for part_P in parts[1:]:
            scores_BN[part_P] = self._score(users_B[part_P])
        return scores_BN

    def parts(self, users_B: np.ndarray) -> list[np.ndarray]:
        """The places of users that are scored together, which have histories of like lengths.

        Parameters
        ----------
        users_B : ndarray
            User ids, shape (B,).
        """
        longest = getattr(self._dataset, "max_item_list_len", None)
        if longest is None or len(users_B) * longest <= POSITIONS_AT_ONCE:
            return [np.arange(len(users_B))]
        size = max(1, POSITIONS_AT_ONCE // longest)
        order_B = np.argsort(self._history.lengths[users_B], kind="stable")
        return np.split(order_B, np.arange(size, len(order_B), size))

    def _score(self, users_B: np.ndarray) -> Tensor:
        batch = self._batch(users_B)
        if self._full_sort:
            try:
                scores = self._model.full_sort_predict(self._joined(batch).to(self._device))
                return scores.view(len(users_B), -1)
            except NotImplementedError:
                self._full_sort = False
        return self._score_pairs(batch)

    def _batch(self, users_B: np.ndarray) -> Interaction:
        fields = {self._dataset.uid_field: torch.from_numpy(users_B.astype(np.int64))}
        longest = getattr(self._dataset, "max_item_list_len", None)
        if longest is not None:
            items_BL, lengths_B = last_items(self._history, users_B, longest)
            if hasattr(self._model, "states"):  # a causal model needs no fixed width
                items_BL = items_BL[:, : max(1, int(lengths_B.max()))]
            fields[self._dataset.item_id_list_field] = items_BL
            # A model reads its state at position length - 1: an empty history is one of padding.
            fields[self._dataset.item_list_length_field] = lengths_B.clamp(min=1)
            # Some models (GRU4RecCPR) compute their loss while they score: padding is its target.
            fields[self._dataset.iid_field] = torch.zeros_like(lengths_B)
        return Interaction(fields)

    def _joined(self, batch: Interaction) -> Interaction:
        return self._dataset.join(Interaction(dict(batch.interaction)))

    def _score_pairs(self, batch: Interaction) -> Tensor:
        n_items = self._dataset.item_num
        items_N = torch.arange(n_items)
        # A pair of a sequential model brings its user's history along.
        longest = getattr(self._dataset, "max_item_list_len", 1)
        users_at_once = max(1, PAIRS_AT_ONCE // (n_items * longest))
        rows = []
        for start in range(0, len(batch), users_at_once):
            part = batch[slice(start, start + users_at_once)]
            n_users = len(part)
            pairs = {
                name: value.repeat_interleave(n_items, dim=0)
                for name, value in part.interaction.items()
            }
            pairs[self._dataset.iid_field] = items_N.repeat(n_users)
            joined = self._dataset.join(Interaction(pairs)).to(self._device)
            rows.append(self._model.predict(joined).view(n_users, n_items))
        return torch.cat(rows)


def last_items(history: Sequences, users_B: np.ndarray, longest: int) -> tuple[Tensor, Tensor]:
    """The last items of each user, left-aligned, and how many there are.

    Parameters
    ----------
    history : Sequences
        The interactions of each user.
    users_B : ndarray
        User ids, shape (B,).
    longest : int
        L, the most items of a user.

    Returns
    -------
    items_BL, lengths_B
        int64 tensors; padding is 0 and stands on the right.
    """
    ends_B = history.indptr[users_B + 1]
    lengths_B = np.minimum(ends_B - history.indptr[users_B], longest)
    offsets_L = np.arange(longest)
    inside_BL = offsets_L < lengths_B[:, None]
    if len(history.items) == 0:
        items_BL = np.zeros(inside_BL.shape, dtype=np.int64)
    else:
        source_BL = np.where(inside_BL, (ends_B - lengths_B)[:, None] + offsets_L, 0)
        items_BL = np.where(inside_BL, history.items[source_BL], 0).astype(np.int64)
    return torch.from_numpy(items_BL), torch.from_numpy(lengths_B.astype(np.int64))
