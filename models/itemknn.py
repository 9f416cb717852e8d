"""Neighbours by cosine similarity (Deshpande and Karypis, TOIS 2004).

U users and N items (padding included).
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.model.general_recommender.itemknn import ComputeSimilarity
from recbole.model.general_recommender.itemknn import ItemKNN as RecBoleItemKNN

from models._linear import ScoresOfAll, rows_of_users
from paddock import ModelConfig


class ItemKNNConfig(ModelConfig):
    """Neighbours by cosine similarity."""


class ItemKNN(ScoresOfAll, RecBoleItemKNN):
    """RecBole's ItemKNN with the similarities by the package `implicit` and no matrix of all scores.

    RecBole counts similarities in dense blocks of 100 items, and keeps the scores of all users and items
    as Python lists, ten times the memory of the interactions and more. Where `shrink` is above 0, and
    for neighbours of users, the similarities are RecBole's own.

    Parameters
    ----------
    config : recbole.config.Config
        `k`, `knn_method` ("item" or "user") and `shrink`.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        GeneralRecommender.__init__(self, config, dataset)
        self.k = config["k"]
        self.method = config["knn_method"]
        self.shrink = config["shrink"]
        self.interaction_matrix = rows_of_users(dataset)
        if self.method == "item" and self.shrink == 0:
            self.w = cosines(self.interaction_matrix, self.k)
        else:
            _, found = ComputeSimilarity(
                self.interaction_matrix, topk=self.k, shrink=self.shrink, method=self.method
            ).compute_similarity()
            self.w = found.tocsr()
        self.fake_loss = torch.nn.Parameter(torch.zeros(1))
        self.other_parameter_name = ["w"]

    @property
    def reads_histories(self) -> bool:
        """Whether the scores follow from a user's items: neighbours of users are learned."""
        return bool(self.method == "item")

    def history_attributes(self, dataset: Any) -> dict[str, sp.csr_matrix]:
        """The users' items, made of a dataset's interactions.

        Parameters
        ----------
        dataset : recbole.data.dataset.Dataset
            The interactions that are known of every user.

        Returns
        -------
        dict of str to csr_matrix
            `interaction_matrix`, float32, (U, N); nothing for neighbours of users.
        """
        return {"interaction_matrix": rows_of_users(dataset)} if self.reads_histories else {}

    def scores(self, users_B: np.ndarray) -> np.ndarray:
        """Scores of all items, float32, shape (B, N).

        Parameters
        ----------
        users_B : ndarray
            User ids.
        """
        if self.reads_histories:
            scores_BN = self.interaction_matrix[users_B] @ self.w
        else:
            scores_BN = self.w[users_B] @ self.interaction_matrix
        return scores_BN.toarray()


def cosines(rows_UN: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The items most similar to each item by the cosine of their columns.

    Parameters
    ----------
    rows_UN : csr_matrix
        The users' items, float32, shape (U, N).
    k : int
        How many of them.

    Returns
    -------
    csr_matrix
        Shape (N, N); the neighbours of an item stand in its column.
    """
    from implicit.nearest_neighbours import ItemItemRecommender

    norms_N = np.sqrt(np.asarray(rows_UN.power(2).sum(axis=0)).ravel())
    unit_UN = rows_UN.multiply(1 / np.maximum(norms_N, 1e-6)).tocsr().astype(np.float64)
    # An item is the most similar to itself, and does not count.
    found = ItemItemRecommender(K=k + 1, num_threads=torch.get_num_threads())
    found.fit(unit_UN, show_progress=False)
    similar = found.similarity.tocoo()
    other = similar.row != similar.col
    item, neighbour, cosine = similar.row[other], similar.col[other], similar.data[other]
    order = np.lexsort((-cosine, item))
    item, neighbour, cosine = item[order], neighbour[order], cosine[order]
    place = np.arange(len(item)) - np.searchsorted(item, item)
    # With more than k items of the same users as its own, an item may be missing from its list.
    kept = place < k
    return sp.csr_matrix(
        (cosine[kept], (neighbour[kept], item[kept])), shape=similar.shape, dtype=np.float32
    )
