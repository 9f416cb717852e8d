"""Which interactions are kept, and in which order."""

import numpy as np
import polars as pl


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


def by_user_and_time(users: np.ndarray, times: np.ndarray | None) -> np.ndarray:
    """The rows by user and time; rows equal in both stay as they are.

    Parameters
    ----------
    users : np.ndarray of int, shape (R,)
        Codes from 0.
    times : np.ndarray of int64 or float64, shape (R,), optional
        In any one unit; without them the rows of a user stay in their order.

    Returns
    -------
    rows : np.ndarray of int, shape (R,)
        Row numbers in that order.
    """
    key = users.astype(np.int64)
    if times is not None and len(times):
        first, last = times.min().item(), times.max().item()
        span = last - first + 1
        # One key for both is sorted five times as fast as two, where it fits into 64 bits.
        if times.dtype != np.int64 or (int(users.max()) + 1) * span >= 2**63:
            return np.lexsort((times, users))
        key *= span
        key += times
        key -= first
    frame = pl.DataFrame({"key": key})
    return frame.select(pl.arg_sort_by("key", maintain_order=True)).to_series().to_numpy()
