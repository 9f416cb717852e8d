"""EASE (Steck, WWW 2019): a linear item-item model in closed form.

U users and N items (padding included).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.general_recommender import EASE as RecBoleEASE
from scipy.linalg import lapack

from models._linear import ScoresOfAll, rows_of_users
from paddock import ModelConfig, key, log_uniform

_COLUMNS = 1024
"""Columns of the matrix of items that are worked on at a time."""


class EASEConfig(ModelConfig):
    """EASE: a linear item-item model in closed form."""

    reg_weight: float = key(
        250.0, "lambda, the weight of the squared weights.", least=0, search=log_uniform(1.0, 1e5)
    )

    @classmethod
    def bytes_needed(cls, values: Mapping[str, Any], *, n_users: int, n_items: int) -> int:
        """One matrix of items by items, of float32.

        Parameters
        ----------
        values : mapping
            The resolved configuration.
        n_users, n_items : int
            Of the training data, padding included.
        """
        return 4 * n_items**2


class EASE(ScoresOfAll, RecBoleEASE):
    """RecBole's EASE in one matrix of items by items.

    RecBole holds several: the sparse Gram matrix, the dense one, its inverse, the weights, and what
    the inversion works in. Here the Gram matrix is laid out a few columns at a time and inverted in
    place by Cholesky's factorisation, which takes half the operations of a general inverse.

    Parameters
    ----------
    config : recbole.config.Config
        `reg_weight`.
    dataset : recbole.data.dataset.Dataset
        The training part.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the Gram matrix with the ridge is not positive definite.
    """

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        GeneralRecommender.__init__(self, config, dataset)
        self.dummy_param = torch.nn.Parameter(torch.zeros(1))  # RecBole's trainer wants one
        self.interaction_matrix = rows_of_users(dataset)
        self.item_similarity = weights(self.interaction_matrix, config["reg_weight"])
        self.other_parameter_name = ["interaction_matrix", "item_similarity"]

    def scores(self, users_B: np.ndarray) -> np.ndarray:
        """Scores of all items, float32, shape (B, N).

        Parameters
        ----------
        users_B : ndarray
            User ids.
        """
        return self.interaction_matrix[users_B] @ self.item_similarity


def weights(rows_UN: sp.csr_matrix, ridge: float) -> np.ndarray:
    """The weights of eq. 8: each column of the inverse, divided by its negative diagonal.

    Parameters
    ----------
    rows_UN : csr_matrix
        The users' items, float32, shape (U, N).
    ridge : float
        lambda.

    Returns
    -------
    ndarray
        float32, shape (N, N), with zeros on the diagonal.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the Gram matrix with the ridge is not positive definite.
    """
    n_items = rows_UN.shape[1]
    # LAPACK works on columns.
    matrix_NN = np.empty((n_items, n_items), dtype=np.float32, order="F")
    columns_UN, rows_NU = rows_UN.tocsc(), rows_UN.T.tocsr()
    for start in range(0, n_items, _COLUMNS):
        part = slice(start, start + _COLUMNS)
        matrix_NN[:, part] = (rows_NU @ columns_UN[:, part]).toarray()
    matrix_NN[np.diag_indices(n_items)] += ridge
    # The lower triangle holds Cholesky's factor, then the inverse; nothing is copied.
    matrix_NN, failed = lapack.spotrf(matrix_NN, lower=1, clean=0, overwrite_a=1)
    if not failed:
        matrix_NN, failed = lapack.spotri(matrix_NN, lower=1, overwrite_c=1)
    if failed:
        raise np.linalg.LinAlgError("the matrix of items by items is not positive definite")
    diagonal_N = matrix_NN.diagonal().copy()
    for start in range(0, n_items, _COLUMNS):
        end = min(start + _COLUMNS, n_items)
        square = matrix_NN[start:end, start:end]
        square[...] = np.tril(square) + np.tril(square, -1).T
        matrix_NN[start:end, end:] = matrix_NN[end:, start:end].T
    # It is symmetric. Its transpose is in C's order, of which a product with sparse rows reads rows.
    inverse_NN = matrix_NN.T
    inverse_NN /= -diagonal_N
    np.fill_diagonal(inverse_NN, 0.0)
    return inverse_NN
