"""Negative items for training: drawn all at once, never one of the user's positives.

R rows, K negatives a row, U users, N items (both with padding).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from experiments.errors import PaddockError

BITMAP_BYTES = 256 * 2**20
"""Up to this size the positives are a table of users by items, one byte each; else sorted pairs."""


class NegativeSampler:
    """Draws items that a user did not interact with in training, independently and exactly.

    A draw is repeated until it is no positive. The result follows the given distribution restricted
    to the true negatives: uniform, or proportional to popularity^alpha (items without a training
    interaction are then never drawn, as in RecBole).

    Parameters
    ----------
    users_P, items_P : ndarray
        User and item id of each training interaction, shape (P,); these pairs are the positives,
        and popularity counts them.
    n_users, n_items : int
        Number of users and items, without padding.
    distribution : str
        "uniform" or "popularity".
    alpha : float
        The exponent of popularity.

    Raises
    ------
    PaddockError
        If a user interacted with every item that can be drawn.
    """

    def __init__(
        self,
        users_P: np.ndarray,
        items_P: np.ndarray,
        *,
        n_users: int,
        n_items: int,
        distribution: str = "uniform",
        alpha: float = 1.0,
    ) -> None:
        self._n_items = n_items
        users, items = torch.from_numpy(users_P).long(), torch.from_numpy(items_P).long()
        self._is_positive = _membership(users, items, n_users=n_users, n_items=n_items)
        weights_N = torch.ones(n_items + 1, dtype=torch.float64)
        if distribution == "popularity":
            weights_N = torch.bincount(items, minlength=n_items + 1).double() ** alpha
            weights_N[torch.bincount(items, minlength=n_items + 1) == 0] = 0.0
        weights_N[0] = 0.0
        _refuse_full_users(users, items, weights_N, n_users=n_users)
        self._cumulative_N = None if distribution == "uniform" else weights_N.cumsum(0)

    def draw(self, users_R: Tensor, k: int, *, generator: torch.Generator) -> Tensor:
        """Draw negatives for users.

        Parameters
        ----------
        users_R : Tensor
            User id of each row, shape (R,), int64.
        k : int
            Negatives of a row.
        generator : torch.Generator
            Draws them.

        Returns
        -------
        Tensor
            Item ids, int64, shape (R, K).
        """
        users = users_R.repeat_interleave(k)
        items = self._propose(len(users), generator)
        open_ = torch.nonzero(self._is_positive(users, items)).squeeze(1)
        while len(open_):
            items[open_] = self._propose(len(open_), generator)
            open_ = open_[self._is_positive(users[open_], items[open_])]
        return items.view(len(users_R), k)

    def _propose(self, size: int, generator: torch.Generator) -> Tensor:
        if self._cumulative_N is None:
            return torch.randint(1, self._n_items + 1, (size,), generator=generator)
        level = torch.rand(size, dtype=torch.float64, generator=generator) * self._cumulative_N[-1]
        return torch.searchsorted(self._cumulative_N, level, right=True)


def _membership(
    users: Tensor, items: Tensor, *, n_users: int, n_items: int
) -> Callable[[Tensor, Tensor], Tensor]:
    width = n_items + 1
    if (n_users + 1) * width <= BITMAP_BYTES:
        table = torch.zeros((n_users + 1) * width, dtype=torch.bool)
        table[users * width + items] = True
        return lambda u, i: table[u * width + i]
    pairs = torch.unique(users * width + items)

    def found(u: Tensor, i: Tensor) -> Tensor:
        wanted = u * width + i
        place = torch.searchsorted(pairs, wanted).clamp(max=len(pairs) - 1)
        return pairs[place] == wanted

    return found


def _refuse_full_users(users: Tensor, items: Tensor, weights_N: Tensor, *, n_users: int) -> None:
    """Refuse a user with every drawable item, for whom drawing would never end."""
    drawable = int((weights_N > 0).sum())
    distinct = torch.unique(users * len(weights_N) + items)
    had = torch.bincount(distinct // len(weights_N), minlength=n_users + 1)
    if bool((had >= drawable).any()):
        full = int(had.argmax())
        raise PaddockError(
            f"training needs negatives, and the user with id {full} interacted with all {drawable} "
            "items: raise dataset.filters or choose a model that needs none"
        )
