"""A full ranking in which the backbone's best items are ranked again.

B users, N items (padding included), L longest history, K items that are ranked again.
"""

import torch
from torch import Tensor


def best_unread(scores_BN: Tensor, history_BL: Tensor, top: int) -> Tensor:
    """The best items outside the history that is read.

    Parameters
    ----------
    scores_BN : Tensor
        Scores of the backbone, shape (B, N).
    history_BL : Tensor
        Item ids, shape (B, L), padded with 0.
    top : int
        Items of a user, at most as many as there are.

    Returns
    -------
    Tensor
        Item ids, shape (B, K).
    """
    unread_BN = scores_BN.scatter(1, history_BL, -torch.inf)
    unread_BN[:, 0] = -torch.inf
    return unread_BN.topk(min(top, scores_BN.shape[1] - 1), dim=1).indices


def ranked_again(scores_BN: Tensor, best_BK: Tensor, again_BK: Tensor) -> Tensor:
    """Scores in which some items stand above all others, in a new order.

    Parameters
    ----------
    scores_BN : Tensor
        Scores of the backbone, shape (B, N), which order the others.
    best_BK : Tensor
        Ids of the items above, shape (B, K).
    again_BK : Tensor
        What orders these, shape (B, K).

    Returns
    -------
    Tensor
        Shape (B, N).
    """
    below_BN = scores_BN - scores_BN.amax(1, keepdim=True)
    above_BK = again_BK - again_BK.amin(1, keepdim=True) + 1
    return below_BN.scatter(1, best_BK, above_BK)
