"""PureSVD (Cremonesi, Koren and Turrin, RecSys 2010): the users' items on their first singular vectors.

B batch, U users and N items (padding included), F factors.
"""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from recbole.utils import InputType
from scipy.sparse.linalg import svds

from models._linear import SolvedScores, binary_rows
from paddock import ModelConfig, key, log_integers


class PureSVDConfig(ModelConfig):
    """Truncated singular value decomposition of the users' items."""

    offers = ("solution",)
    strategies = ("solved",)
    closed_form = True

    factors: int = key(
        32, "Singular vectors, those of the largest values.", least=1, search=log_integers(8, 512)
    )


class PureSVD(SolvedScores):
    """Scores r Q Q' (eq. 7): r is a user's row of items, Q the items' right singular vectors.

    The matrix is 1 where a user has an item, where the paper has the rating. A user is folded in by the history
    that is given, so that one who was not trained on has scores too.

    Parameters
    ----------
    config : recbole.config.Config
        `factors`.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        self.factors = config["factors"]
        self.vectors_NF = np.zeros((self.n_items, 0), np.float32)
        self.other_parameter_name = ["vectors_NF"]

    def solve(self, users_R: NDArray[np.integer], items_R: NDArray[np.integer]) -> None:
        """Find the singular vectors.

        Parameters
        ----------
        users_R, items_R : ndarray of int
            The training interactions.
        """
        rows_UN = binary_rows(users_R, items_R, (self.n_users, self.n_items))
        self.vectors_NF = right_vectors(rows_UN, self.factors)

    def scores(self, users_B: np.ndarray) -> np.ndarray:
        """Scores of all items, float32, shape (B, N).

        Parameters
        ----------
        users_B : ndarray
            User ids.
        """
        scores_BN: np.ndarray = (self.rows_UN[users_B] @ self.vectors_NF) @ self.vectors_NF.T
        return scores_BN


def right_vectors(rows_UN: sp.csr_matrix, factors: int) -> NDArray[np.float32]:
    """The right singular vectors of the largest singular values.

    Parameters
    ----------
    rows_UN : csr_matrix
        Shape (U, N).
    factors : int
        F; where it is not below U and N, there are as many as the smaller of these.

    Returns
    -------
    ndarray
        float32, shape (N, F); signs are arbitrary, and equal in every call.
    """
    least = min(rows_UN.shape)
    wide_UN = rows_UN.astype(np.float64)
    if factors >= least:  # more than ARPACK finds, of a matrix that is small
        _, _, vectors_FN = np.linalg.svd(wide_UN.toarray(), full_matrices=False)
    else:
        start = np.random.default_rng(0).standard_normal(least)
        _, _, vectors_FN = svds(wide_UN, factors, v0=start, return_singular_vectors="vh")
    return np.ascontiguousarray(vectors_FN.T, np.float32)
