"""Which interactions are kept, and in which order."""

from collections.abc import Callable, Iterable

import numpy as np
import polars as pl


def k_core(
    pairs: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]],
    *,
    users: int,
    items: int,
    min_user_interactions: int,
    min_item_interactions: int,
) -> tuple[np.ndarray, np.ndarray]:
    """What is left when users and items with too few rows are dropped again and again.

    The result is the largest set of rows in which every user and every item has its minimum; it does
    not depend on which of them are dropped first. Rows count, repeated pairs too. A row is kept where both
    its user and its item are.

    Parameters
    ----------
    pairs : callable
        Gives the codes of users and items of all rows, piece by piece, from the first one each time.
    users, items : int
        How many of each there are; codes from 0.
    min_user_interactions, min_item_interactions : int
        0 and 1 keep all.

    Returns
    -------
    user_rows, item_rows : np.ndarray of int64, shapes (users,) and (items,)
        Rows of each that are kept; 0 for those that are dropped.
    """
    keep_user, keep_item = np.ones(users, dtype=bool), np.ones(items, dtype=bool)
    while True:
        user_rows, item_rows = np.zeros(users, dtype=np.int64), np.zeros(items, dtype=np.int64)
        for piece_users, piece_items in pairs():
            kept = keep_user[piece_users] & keep_item[piece_items]
            np.add.at(user_rows, piece_users[kept], 1)
            np.add.at(item_rows, piece_items[kept], 1)
        few_users = keep_user & (user_rows < min_user_interactions) & (min_user_interactions > 1)
        few_items = keep_item & (item_rows < min_item_interactions) & (min_item_interactions > 1)
        if not few_users.any() and not few_items.any():
            return user_rows, item_rows
        keep_user &= ~few_users
        keep_item &= ~few_items


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
