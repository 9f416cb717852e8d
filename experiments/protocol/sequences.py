"""Items by row, stored back to back.

Dimensions: B rows that are taken.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequences:
    """Items by row, stored back to back; a row is a user id unless `take` chose the rows.

    Attributes
    ----------
    indptr : int64, (rows + 1,)
        The items of row r are items[indptr[r]:indptr[r + 1]]. For rows that are user ids there are
        n_users + 1 of them, and row 0, the padding, is empty.
    items : int32
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Items of each row: int64, (rows,)."""
        return np.diff(self.indptr)

    def of(self, row: int) -> NDArray[np.int32]:
        """The items of one row, in order."""
        return self.items[self.indptr[row] : self.indptr[row + 1]]

    def row_of_item(self) -> NDArray[np.int64]:
        """The row of every entry of `items`: int64, (len(items),)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows_B: NDArray[np.integer]) -> "Sequences":
        """The given rows, in the given order, as rows 0 to B - 1.

        Parameters
        ----------
        rows_B : int, (B,)
        """
        starts, lengths = self.indptr[rows_B], self.indptr[np.asarray(rows_B) + 1]
        lengths = lengths - starts
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        positions = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
        return Sequences(indptr=indptr, items=self.items[positions])


def by_user(users: NDArray[np.integer], items: NDArray[np.int32], n_users: int) -> Sequences:
    """One sequence per user id, (n_users + 1), of rows that are grouped by user, ascending.

    Parameters
    ----------
    users, items : int, (R,)
    n_users : int
        The padding left out.
    """
    counts = np.bincount(users, minlength=n_users + 1)
    return Sequences(indptr=np.concatenate(([0], np.cumsum(counts))), items=items)


def sorted_distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every number once, ascending: `np.unique` through a sort, which beats its hashing tenfold.

    Parameters
    ----------
    numbers : int64, (n,)
    """
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]
