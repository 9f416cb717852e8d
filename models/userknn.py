"""Neighbours of users by cosine similarity (Resnick et al., CSCW 1994; Herlocker et al., SIGIR 1999).

B batch, U users and N items (padding included), C columns of the users.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from recbole.utils import InputType

from models._linear import SolvedScores, binary_rows
from paddock import USER_FEATURES, ModelConfig, UserColumn, key, log_integers

_CELLS = 1 << 22
"""Similarities that are held at once: of a few users to all."""

BINS = 8
"""Groups of about equally many users that numbers, such as ages, are parted into."""

MOST_VALUES = 0.5
"""Values a user of a column above which it parts no users: most of its values are of one user alone."""


class UserKNNConfig(ModelConfig):
    """Neighbours of users by cosine similarity; popularity by profile for who has none."""

    offers = ("solution",)
    strategies = ("solved",)
    closed_form = True

    k: int = key(5, "Neighbours of a user.", least=1, search=log_integers(5, 500))
    user_columns: list[str] | None = key(
        None,
        "The users' columns that make a profile; null: all but those of nearly as many values as users, "
        "such as a postcode. A user without a neighbour gets what is popular among users of equal "
        "values; of numbers, those in the same eighth of the users.",
    )
    fewest: int = key(
        10,
        "Users that must share a profile; where fewer do, its column of the fewest users is left out, "
        "and so on down to one column.",
        least=1,
    )


class UserKNN(SolvedScores):
    """An item's score is the summed similarity of the user's k nearest neighbours that have it.

    The similarity of two users is the cosine of their rows of items, each 1 where the user has the item. The
    neighbours' rows are those of the training part, the user's own is the history that is given; a user
    is no neighbour of himself. Equally similar users count in the order of their ids.

    A user with no neighbour (an empty history, or one that nobody shares) gets the number of users of the
    same profile that have an item, and below that its popularity among all. A profile is the values of the
    users' columns; one that is missing is not compared. Where fewer than `fewest` users of the training part share
    it, columns are left out one by one.

    Parameters
    ----------
    config : recbole.config.Config
        `k`, `fewest`, `user_columns`, and the users' columns under `USER_FEATURES`.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        self.k = config["k"]
        self.fewest = config["fewest"]
        self.neighbours_UN = sp.csr_matrix((self.n_users, self.n_items), dtype=np.float32)
        self.other_parameter_name = ["neighbours_UN"]
        named = config["user_columns"] is not None
        self._codes_UC = codes(
            [each for each in config[USER_FEATURES].values() if named or parts_users(each)],
            self.n_users,
        )

    def solve(self, users_R: NDArray[np.integer], items_R: NDArray[np.integer]) -> None:
        """Keep the rows among which neighbours are found.

        Parameters
        ----------
        users_R, items_R : ndarray of int
            The training interactions.
        """
        self.neighbours_UN = binary_rows(users_R, items_R, (self.n_users, self.n_items))

    def scores(self, users_B: np.ndarray) -> np.ndarray:
        """Scores of all items, float32, shape (B, N).

        Parameters
        ----------
        users_B : ndarray
            User ids.
        """
        size = max(1, _CELLS // self.n_users)
        parts = [users_B[start : start + size] for start in range(0, len(users_B), size)]
        scores_BN = np.concatenate([self._near(part) for part in parts])
        for row in np.flatnonzero(~scores_BN.any(axis=1)):
            scores_BN[row] = self._popular(users_B[row])
        return scores_BN

    def _near(self, users_B: np.ndarray) -> NDArray[np.float32]:
        similar_BU = nearest(self.rows_UN[users_B], self.neighbours_UN, self.k, apart=users_B)
        scores_BN: NDArray[np.float32] = (similar_BU @ self.neighbours_UN).toarray()
        return scores_BN.astype(np.float32)

    def _popular(self, user: int) -> NDArray[np.float64]:
        alike_U = self._alike(user)
        everyone_N = np.asarray(self.neighbours_UN.sum(axis=0), np.float64).ravel()
        among_N = np.asarray(self.neighbours_UN[alike_U].sum(axis=0), np.float64).ravel()
        # Below one user of the profile: it orders items that as many of these have.
        below_N: NDArray[np.float64] = everyone_N / (2 * max(1.0, everyone_N.max()))
        return among_N + below_N

    def _alike(self, user: int) -> NDArray[np.bool_]:
        """Who of the training part shares as much of a user's profile as leaves `fewest` of them."""
        known_C = self._codes_UC[user] >= 0
        alike_CU = (self._codes_UC == self._codes_UC[user])[:, known_C].T
        trained_U = np.diff(self.neighbours_UN.indptr) > 0
        trained_U[user] = False
        alike_CU = alike_CU & trained_U
        while len(alike_CU) > 1 and alike_CU.all(axis=0).sum() < self.fewest:
            alike_CU = np.delete(alike_CU, alike_CU.sum(axis=1).argmin(), axis=0)
        return trained_U & alike_CU.all(axis=0)


def nearest(
    rows_BN: sp.csr_matrix, known_UN: sp.csr_matrix, k: int, *, apart: NDArray[np.integer]
) -> sp.csr_matrix:
    """The k known rows of the highest cosine to each row, and that cosine.

    Parameters
    ----------
    rows_BN, known_UN : csr_matrix
        Zeros and ones. A dense matrix of (B, U) is held.
    k : int
        Of equal rows the first ones count; a row with nothing in common never does.
    apart : ndarray of int
        For each row the known one that does not count, shape (B,).

    Returns
    -------
    csr_matrix
        float64, shape (B, U).
    """
    lengths_B = np.diff(rows_BN.indptr).astype(np.int64)
    lengths_U = np.maximum(np.diff(known_UN.indptr), 1)
    overlap_BU = (rows_BN @ known_UN.T).toarray().astype(np.float64)
    overlap_BU[np.arange(len(apart)), apart] = 0.0
    # The order of a row's cosines is that of these quotients, in which equal cosines are equal to the bit.
    order_BU = overlap_BU**2 / lengths_U
    place = order_BU.shape[1] - min(k, order_BU.shape[1])
    least_B = np.partition(order_BU, place, axis=1)[:, place]
    row, known = np.nonzero((order_BU >= least_B[:, None]) & (order_BU > 0))
    ranked = np.lexsort((known, -order_BU[row, known], row))
    row, known = row[ranked], known[ranked]
    kept = np.arange(len(row)) - np.searchsorted(row, row) < k
    row, known = row[kept], known[kept]
    cosine = overlap_BU[row, known] / np.sqrt(lengths_B[row] * lengths_U[known])
    return sp.csr_matrix((cosine, (row, known)), shape=order_BU.shape)


def parts_users(column: UserColumn) -> bool:
    """Whether a column makes groups of users: numbers do, names and postcodes do not.

    Parameters
    ----------
    column : UserColumn
    """
    known = [_hashable(value) for value in column.values if not _missing(value)]
    return column.kind == "float" or len(set(known)) <= MOST_VALUES * len(known)


def codes(columns: list[UserColumn], n_users: int) -> NDArray[np.int32]:
    """Numbers that are equal where values are, -1 where there is none.

    Parameters
    ----------
    columns : list of UserColumn
        C of them; lists of values are compared as a whole, numbers of more than BINS values by the BINS-quantile in
        which they lie.
    n_users : int
        U.

    Returns
    -------
    ndarray
        Shape (U, C).
    """
    codes_UC = np.full((n_users, len(columns)), -1, np.int32)
    for place, column in enumerate(columns):
        known = [user for user, value in enumerate(column.values) if not _missing(value)]
        values = [_hashable(column.values[user]) for user in known]
        numbers = _numbers(values) if column.kind in ("float", "token") else None
        if numbers is not None and len(set(values)) > BINS:
            edges = np.unique(np.quantile(numbers, np.arange(1, BINS) / BINS))
            codes_UC[known, place] = np.searchsorted(edges, numbers, side="right")
        else:
            numbered: dict[Any, int] = {}
            codes_UC[known, place] = [numbered.setdefault(each, len(numbered)) for each in values]
    return codes_UC


def _missing(value: Any) -> bool:
    return value is None or value == []


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _numbers(values: list[Any]) -> NDArray[np.float64] | None:
    """The values as numbers; None where one is none, or there are none at all."""
    try:
        numbers = np.array([float(each) for each in values])
    except ValueError:
        return None
    return numbers if len(numbers) and np.isfinite(numbers).all() else None
