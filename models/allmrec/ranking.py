"""How the joint space ranks by itself, without a language model: users and items as vectors.

B users, L longest history, N items (padding included), D width of the backbone, J joint width.
A score is the product of a user's and an item's vector.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Vectors:
    """Vectors of users and items, whose products are scores.

    Attributes
    ----------
    users_BW : Tensor
        Shape (B, W).
    items_NW : Tensor
        Shape (N, W).
    """

    users_BW: Tensor
    items_NW: Tensor

    def scores(self) -> Tensor:
        """Scores of all items, shape (B, N)."""
        return self.users_BW @ self.items_NW.T

    def scores_of(self, items_BC: Tensor) -> Tensor:
        """Scores of some items for each user.

        Parameters
        ----------
        items_BC : Tensor
            Item ids, shape (B, C).

        Returns
        -------
        Tensor
            Shape (B, C).
        """
        return torch.einsum("bw,bcw->bc", self.users_BW, self.items_NW[items_BC])


def gate(interactions_N: Tensor, middle: float) -> Tensor:
    """The weight of an item's own embedding: n / (n + middle) for n interactions, 0 without any.

    Parameters
    ----------
    interactions_N : Tensor
        Training interactions of each item, shape (N,).
    middle : float
        Number of interactions at which the weight is 0.5.

    Returns
    -------
    Tensor
        Shape (N,), from 0 to 1.
    """
    counts_N = interactions_N.float()
    return torch.where(counts_N > 0, counts_N / (counts_N + middle), 0.0)


def gated(own_NW: Tensor, text_NW: Tensor, gate_N: Tensor) -> Tensor:
    """The mean of an item's own embedding and its text's, weighted by the gate.

    Parameters
    ----------
    own_NW : Tensor
        Own embeddings, shape (N, W).
    text_NW : Tensor
        Embeddings from the texts, shape (N, W).
    gate_N : Tensor
        Weight of the own embedding, shape (N,).

    Returns
    -------
    Tensor
        Shape (N, W).
    """
    gate_N1 = gate_N.to(own_NW)[:, None]
    return gate_N1 * own_NW + (1 - gate_N1) * text_NW


class Items:
    """Items that are scored by the product with the user's state.

    Parameters
    ----------
    items_ND : Tensor
        Embeddings in the backbone's space, shape (N, D); row 0 is padding.
    """

    def __init__(self, items_ND: Tensor) -> None:
        self.items_ND = items_ND

    def vectors(self, states_BD: Tensor, history_BL: Tensor) -> Vectors:
        """The vectors of users and of all items.

        Parameters
        ----------
        states_BD : Tensor
            User states, shape (B, D).
        history_BL : Tensor
            Item ids in time order, shape (B, L), padded with 0 on the right; not read.
        """
        return Vectors(states_BD, self.items_ND)


class ProfiledItems:
    """Items that are scored by the backbone and by their texts' similarity to the user's history.

    Similarity is the cosine of an item's text and the user's profile, in the centred joint space.
    The profile is the sum of the history's texts, each with `decay` times the weight of the one
    after it (a content-based profile, Pazzani and Billsus 2007). For each user both scores are
    scaled to mean 0 and variance 1 over the items and added, so that their scales do not matter.

    Parameters
    ----------
    own_ND : Tensor
        Item embeddings of the backbone, shape (N, D).
    text_NJ : Tensor
        The texts in the joint space, shape (N, J); row 0 is padding.
    gate_N : Tensor
        Factor of the backbone's score of each item, shape (N,); it is small for rare items, whose
        embeddings are unreliable.
    weight : float
        Weight of the text similarity, relative to the backbone's score.
    decay : float
        Weight of an item in the profile, relative to the item after it.
    """

    def __init__(
        self, own_ND: Tensor, text_NJ: Tensor, gate_N: Tensor, *, weight: float, decay: float
    ) -> None:
        known_N = gate_N > 0
        centred_ND = own_ND - own_ND[known_N].mean(0)
        directions_NJ = F.normalize(text_NJ - text_NJ[1:].mean(0), dim=1)
        directions_NJ[0] = 0
        centred_NJ = directions_NJ - directions_NJ[1:].mean(0)
        self._directions_NJ = directions_NJ
        self._own_DD, self._text_JJ = covariance(centred_ND[known_N]), covariance(centred_NJ[1:])
        self._items_NW = torch.cat([gate_N.to(own_ND)[:, None] * centred_ND, centred_NJ], dim=1)
        self._weight, self._decay = weight, decay

    def vectors(self, states_BD: Tensor, history_BL: Tensor) -> Vectors:
        """The vectors of users and of all items.

        Parameters
        ----------
        states_BD : Tensor
            User states, shape (B, D).
        history_BL : Tensor
            Item ids in time order, shape (B, L), padded with 0 on the right.
        """
        profiles_BJ = profiles(self._directions_NJ, history_BL, decay=self._decay)
        users = [
            unit_variance(states_BD, self._own_DD),
            self._weight * unit_variance(profiles_BJ, self._text_JJ),
        ]
        return Vectors(torch.cat(users, dim=1), self._items_NW)


def profiles(items_NJ: Tensor, history_BL: Tensor, *, decay: float) -> Tensor:
    """The sum of each history's items, each with `decay` times the weight of the one after it.

    Parameters
    ----------
    items_NJ : Tensor
        Item vectors, shape (N, J).
    history_BL : Tensor
        Item ids in time order, shape (B, L), padded with 0 on the right.
    decay : float
        From 0 to 1.

    Returns
    -------
    Tensor
        Shape (B, J).
    """
    lengths_B1 = (history_BL > 0).sum(1, keepdim=True)
    ages_BL = lengths_B1 - 1 - torch.arange(history_BL.shape[1], device=history_BL.device)
    weights_BL = torch.where(history_BL > 0, decay ** ages_BL.clamp(min=0).float(), 0.0)
    return torch.einsum("bl,blj->bj", weights_BL.to(items_NJ), items_NJ[history_BL])


def covariance(centred_ND: Tensor) -> Tensor:
    """The covariance of vectors with mean 0.

    Parameters
    ----------
    centred_ND : Tensor
        Shape (N, D).

    Returns
    -------
    Tensor
        Shape (D, D).
    """
    return centred_ND.T @ centred_ND / len(centred_ND)


def unit_variance(vectors_BD: Tensor, covariance_DD: Tensor) -> Tensor:
    """The users' vectors, scaled so that their scores over all items have variance 1.

    A vector that scores all items alike is given back as zeros.

    Parameters
    ----------
    vectors_BD : Tensor
        Shape (B, D).
    covariance_DD : Tensor
        Covariance of the items' vectors, shape (D, D).

    Returns
    -------
    Tensor
        Shape (B, D); zeros for a user whose scores are all equal.
    """
    variance_B = torch.einsum("bd,de,be->b", vectors_BD, covariance_DD, vectors_BD)
    scale_B = torch.where(variance_B > 1e-12, variance_B.clamp(min=1e-12).rsqrt(), 0.0)
    return vectors_BD * scale_B[:, None]
