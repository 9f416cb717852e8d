"""The frozen collaborative filter behind A-LLMRec: user states and item embeddings, never trained.

B batch, L length, D width, N items (padding included).
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from recbole.model.abstract_recommender import AbstractRecommender, SequentialRecommender
from torch import Tensor

from models._histories import last_items

UNTRAINED = "0" * 64
"""The identity of the backbone's initial weights."""

SHORT = 8
"""Histories of up to so many items are read together."""


class Backbone:
    """A recommender that scores by the product of a user state and an item embedding.

    It is no nn.Module, so that a model that holds it neither trains nor saves it, and never moves it
    into training mode. A checkpoint names it by `identity`.

    Parameters
    ----------
    model : AbstractRecommender
        A sequential model with `item_embedding`, or a general one with user and item embeddings
        (BPR), propagated or not (LightGCN).
    load : callable
        Loads the weights of an identity into the model.
    quirks : bool
        Keep dropout active in training steps, as the authors' code does by accident.

    Raises
    ------
    ValueError
        If the model is sequential and has no `item_embedding`.
    """

    def __init__(
        self,
        model: AbstractRecommender,
        *,
        load: Callable[[str], None],
        quirks: bool = False,
    ) -> None:
        self.model = model.requires_grad_(False).eval()
        self.identity = UNTRAINED
        self._load = load
        self._quirks = quirks
        self._items_ND: Tensor | None = None
        self._users_UD: Tensor | None = None
        self._sequential = isinstance(model, SequentialRecommender)
        if self._sequential and not hasattr(model, "item_embedding"):
            raise ValueError(
                f"{type(model).__name__} has no item_embedding, so that it cannot be the backbone"
            )

    @property
    def reads_histories(self) -> bool:
        """Whether a user's state follows from a history; otherwise it is a learned vector."""
        return self._sequential

    @property
    def width(self) -> int:
        return self.items().shape[1]

    def become(self, identity: str) -> None:
        """Load the weights of an identity, unless they are loaded already.

        Parameters
        ----------
        identity : str
            64 hexadecimal digits; `UNTRAINED` loads nothing.
        """
        if identity in (self.identity, UNTRAINED):
            return
        self._load(identity)
        self.model.requires_grad_(False).eval()
        self.identity, self._items_ND, self._users_UD = identity, None, None

    @torch.no_grad()
    def items(self) -> Tensor:
        """Item embeddings, shape (N, D)."""
        if self._items_ND is None:
            if self._sequential:
                self._items_ND = self.model.item_embedding.weight.detach()
            else:
                self._users_UD, self._items_ND = self._tables()
        return self._items_ND

    @torch.no_grad()
    def users(self, users_B: Tensor, items_BL: Tensor, lengths_B: Tensor, *, train: bool) -> Tensor:
        """User states: after the last item, or the user's embedding where the model reads no order.

        Parameters
        ----------
        users_B : Tensor
            User ids, shape (B,).
        items_BL : Tensor
            Item ids in time order, shape (B, L), padded with 0 on the right.
        lengths_B : Tensor
            Items of each history, shape (B,); an empty history has length 1 and is padding.
        train : bool
            Whether the states are for a training step; it matters only with `quirks`.

        Returns
        -------
        Tensor
            Shape (B, D).
        """
        if not self._sequential:
            self.items()
            assert self._users_UD is not None
            return self._users_UD[users_B]
        items_BL, lengths_B = last_items(items_BL, lengths_B, self.model.max_seq_length)
        with self._in_training_mode() if train and self._quirks else nullcontext():
            if not hasattr(self.model, "states"):
                return self.model.forward(items_BL, lengths_B)
            parts = of_like_length(lengths_B)
            states = [
                self.model.forward(
                    items_BL[part_P, : int(lengths_B[part_P].max())], lengths_B[part_P]
                )
                for part_P in parts
            ]
            states_BD = torch.cat(states)
            return states_BD.new_empty(states_BD.shape).index_copy_(0, torch.cat(parts), states_BD)

    def _tables(self) -> tuple[Tensor, Tensor]:
        model = self.model
        if hasattr(model, "norm_adj_matrix"):
            users_UD, items_ND = model.forward()
            return users_UD.detach(), items_ND.detach()
        if hasattr(model, "user_embedding") and hasattr(model, "item_embedding"):
            return model.user_embedding.weight.detach(), model.item_embedding.weight.detach()
        raise ValueError(
            f"{type(model).__name__} has no user and item embeddings, so that it cannot be the "
            "backbone"
        )

    def _in_training_mode(self) -> "_TrainingMode":
        return _TrainingMode(self.model)


class _TrainingMode:
    def __init__(self, model: AbstractRecommender) -> None:
        self._model = model

    def __enter__(self) -> None:
        self._model.train()

    def __exit__(self, *_: object) -> None:
        self._model.eval()


def of_like_length(lengths_B: Tensor) -> list[Tensor]:
    """The rows in groups of lengths up to 8, 16, 32 and so on, which keeps padding small.

    Parameters
    ----------
    lengths_B : Tensor
        Length of each row, shape (B,).

    Returns
    -------
    list of Tensor
        Row numbers of each group.
    """
    powers_B = lengths_B.clamp(min=SHORT).sub(1).float().log2().floor()
    return [(powers_B == power).nonzero()[:, 0] for power in powers_B.unique()]
