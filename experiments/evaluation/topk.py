"""The k best items of every row of scores.

Dimensions: B rows, N items and the padding (column 0), K length of a list, A rows of B.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.evaluation.scores import check_scores, comparable, on_device
from experiments.protocol.sequences import Sequences

# A copy of so few rows stays in the cache while they are sorted.
_ROWS_AT_A_TIME = 512


def topk(
    scores_BN: torch.Tensor, history: Sequences, k: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The k best items of every row, the row's history left out, equal scores by ascending id.

    Parameters
    ----------
    scores_BN : (B, n_items + 1)
        Column 0 is the padding.
    history : Sequences
        Row b is the history of row b of the scores: ``split.history(phase).take(users_B)``.
    k : int

    Returns
    -------
    items_BK : int32
        Where fewer than k items are left the list ends in 0.
    scores_BK : float64
        Minus infinity beside an item 0.

    Raises
    ------
    PaddockError
        For a NaN or a score of plus infinity.
    """
    scores_BN = comparable(scores_BN)
    ranked_BN = _without(scores_BN, history)
    check_scores(ranked_BN, np.arange(len(scores_BN)), what="row")
    items_BK, scores_BK = _best(ranked_BN, history, k)
    return items_BK.cpu().numpy().astype(np.int32), scores_BK.double().cpu().numpy()


def best_items(scores_BN: torch.Tensor, history: Sequences, k: int) -> NDArray[np.int32]:
    """As `topk`, the items alone, of scores that are checked and comparable already.

    Parameters and shapes as of `topk`.
    """
    parts = []
    for start in range(0, len(scores_BN), _ROWS_AT_A_TIME):
        some_BN = scores_BN[start : start + _ROWS_AT_A_TIME]
        taken = history.take(np.arange(start, start + len(some_BN)))
        parts.append(_best(_without(some_BN, taken), taken, k)[0].cpu().numpy())
    return np.concatenate(parts).astype(np.int32)


def _without(scores_BN: torch.Tensor, history: Sequences) -> torch.Tensor:
    """A copy in which the padding and the history score minus infinity."""
    rows, items = on_device(scores_BN.device, history.row_of_item(), history.items)
    ranked_BN = scores_BN.clone()
    ranked_BN[:, 0] = -torch.inf
    ranked_BN[rows, items] = -torch.inf
    return ranked_BN


def _best(ranked_BN: torch.Tensor, history: Sequences, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Items and scores, (B, K) each.

    The partial sort picks any of the items that tie for the last place. One place more shows which
    rows have such a tie.
    """
    n_columns = ranked_BN.shape[1]
    k = min(k, n_columns)
    values_BK, items_BK = torch.topk(ranked_BN, min(k + 1, n_columns), dim=1)
    last_B = values_BK[:, k - 1]
    open_B = values_BK[:, -1] == last_B
    items_BK = items_BK[:, :k].sort(dim=1).values
    # An item that is left may score minus infinity too, beside all that are out.
    endless_B = last_B == -torch.inf
    for rows_B, choose in ((open_B & ~endless_B, _lowest_of_ties), (endless_B, _by_sorting)):
        rows_A = rows_B.nonzero()[:, 0]
        if len(rows_A):
            taken = history.take(rows_A.cpu().numpy())
            items_BK[rows_A] = choose(ranked_BN[rows_A], taken, k)
    values_BK = ranked_BN.gather(1, items_BK)
    # The items stand in the order of their ids, and a stable sort keeps it where scores tie. The
    # padding's place is the end.
    places_BK = values_BK.sort(dim=1, descending=True, stable=True).indices
    items_BK, values_BK = items_BK.gather(1, places_BK), values_BK.gather(1, places_BK)
    ends_BK = (items_BK == 0).byte().sort(dim=1, stable=True).indices
    return items_BK.gather(1, ends_BK), values_BK.gather(1, ends_BK)


def _lowest_of_ties(ranked_AN: torch.Tensor, history: Sequences, k: int) -> torch.Tensor:
    """The k best by ascending id; of those that tie for the last places, the lowest ids."""
    least_A1 = torch.topk(ranked_AN, k, dim=1).values[:, -1:]
    above_AN, tied_AN = ranked_AN > least_A1, ranked_AN == least_A1
    left_A1 = k - above_AN.sum(dim=1, keepdim=True)
    taken_AN = above_AN | (tied_AN & (tied_AN.cumsum(dim=1, dtype=torch.int32) <= left_A1))
    return taken_AN.nonzero()[:, 1].view(len(ranked_AN), k)


def _by_sorting(ranked_AN: torch.Tensor, history: Sequences, k: int) -> torch.Tensor:
    """The same where minus infinity is among the k best: what is out gives way to what is left."""
    rows, items = on_device(ranked_AN.device, history.row_of_item(), history.items)
    out_AN = torch.zeros(ranked_AN.shape, dtype=torch.bool, device=ranked_AN.device)
    out_AN[:, 0] = True
    out_AN[rows, items] = True
    order_AN = torch.sort(ranked_AN, dim=1, descending=True, stable=True).indices
    last_AN = torch.sort(out_AN.gather(1, order_AN).byte(), dim=1, stable=True).indices
    order_AK = order_AN.gather(1, last_AN)[:, :k]
    return order_AK.masked_fill(out_AN.gather(1, order_AK), 0).sort(dim=1).values
