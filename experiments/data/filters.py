"""Which interactions are kept."""

import numpy as np


def k_core(
    users: np.ndarray, items: np.ndarray, *, min_user_interactions: int, min_item_interactions: int
) -> np.ndarray:
    """The rows left when users and items with too few rows are dropped again and again.

    The result is the largest set of rows in which every user and every item has its minimum; it does
    not depend on which of them are dropped first. Rows count, repeated pairs too.

    Parameters
    ----------
    users, items : np.ndarray of int, shape (R,)
        Codes from 0.
    min_user_interactions, min_item_interactions : int
        0 and 1 keep all.

    Returns
    -------
    rows : np.ndarray of int64, shape (K,)
        Ascending row numbers.
    """
    rows = np.arange(len(users), dtype=np.int64)
    while True:
        keep = np.ones(len(rows), dtype=bool)
        for codes, minimum in ((users, min_user_interactions), (items, min_item_interactions)):
            if minimum > 1:
                kept = codes[rows]
                keep &= np.bincount(kept)[kept] >= minimum
        if keep.all():
            return rows
        rows = rows[keep]
