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
    """What is multiplied to a score: users (B, W) and items (N, W)."""

    users_BW: Tensor
    items_NW: Tensor

    def scores(self) -> Tensor:
        """Of all items, (B, N)."""
        return self.users_BW @ self.items_NW.T

    def scores_of(self, items_BC: Tensor) -> Tensor:
        """Of some items for each user, (B, C)."""
        return torch.einsum("bw,bcw->bc", self.users_BW, self.items_NW[items_BC])


def gate(interactions_N: Tensor, half: float) -> Tensor:
    """How far an item's own embedding counts: n / (n + half), and 0 without an interaction."""
    counts_N = interactions_N.float()
    return torch.where(counts_N > 0, counts_N / (counts_N + half), 0.0)


def gated(own_NW: Tensor, told_NW: Tensor, gate_N: Tensor) -> Tensor:
    """An item's own embedding by its gate, and what its text tells by the rest, (N, W)."""
    gate_N1 = gate_N.to(own_NW)[:, None]
    return gate_N1 * own_NW + (1 - gate_N1) * told_NW


class Items:
    """Items that are scored by the product with the user's state.

    Parameters
    ----------
    items_ND
        In the backbone's space; row 0 is padding.
    """

    def __init__(self, items_ND: Tensor) -> None:
        self.items_ND = items_ND

    def vectors(self, states_BD: Tensor, history_BL: Tensor) -> Vectors:
        """Those of the users behind the states and (left-aligned, 0 behind the last) histories."""
        return Vectors(states_BD, self.items_ND)


class ProfiledItems:
    """The backbone's score, and how near an item's text is to the texts of the user's history.

    Nearness is the cosine, in the joint space about its mean, of an item's text and the user's
    profile: the history's texts, each counting `decay` times the one after it (a content-based
    profile as in Pazzani and Billsus 2007). Both scores are brought to mean 0 and variance 1 over
    the items, for each user, and added; so neither outweighs the other because of its scale.

    Parameters
    ----------
    own_ND
        Of the backbone.
    text_NJ
        The texts in the joint space; row 0 is padding.
    gate_N
        The share of the backbone's score that an item is given: the rarer it is, the less is known
        of it.
    weight
        Of the nearness, beside the backbone's 1.
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
        """As `Items.vectors`."""
        profiles_BJ = profiles(self._directions_NJ, history_BL, decay=self._decay)
        users = [
            unit_variance(states_BD, self._own_DD),
            self._weight * unit_variance(profiles_BJ, self._text_JJ),
        ]
        return Vectors(torch.cat(users, dim=1), self._items_NW)


def profiles(items_NJ: Tensor, history_BL: Tensor, *, decay: float) -> Tensor:
    """The history's items added up, each counting `decay` times the one after it, (B, J)."""
    lengths_B1 = (history_BL > 0).sum(1, keepdim=True)
    ages_BL = lengths_B1 - 1 - torch.arange(history_BL.shape[1], device=history_BL.device)
    weights_BL = torch.where(history_BL > 0, decay ** ages_BL.clamp(min=0).float(), 0.0)
    return torch.einsum("bl,blj->bj", weights_BL.to(items_NJ), items_NJ[history_BL])


def covariance(centred_ND: Tensor) -> Tensor:
    """Of vectors about their mean, (D, D)."""
    return centred_ND.T @ centred_ND / len(centred_ND)


def unit_variance(vectors_BD: Tensor, covariance_DD: Tensor) -> Tensor:
    """The users' vectors, scaled so that their scores of items of that covariance have variance 1.

    A vector that scores all items alike is given back as zeros.
    """
    variance_B = torch.einsum("bd,de,be->b", vectors_BD, covariance_DD, vectors_BD)
    scale_B = torch.where(variance_B > 1e-12, variance_B.clamp(min=1e-12).rsqrt(), 0.0)
    return vectors_BD * scale_B[:, None]
