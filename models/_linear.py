"""What models that multiply the users' items with a matrix have in common.

B batch, R interactions, U users and N items (padding included).
"""

from abc import abstractmethod
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from torch import Tensor

from models._scores import PairsOfAll, WithoutLoss


def rows_of_users(dataset: Any) -> sp.csr_matrix:
    """The users' items.

    Parameters
    ----------
    dataset : recbole.data.dataset.Dataset
        The interactions that are known of every user.

    Returns
    -------
    csr_matrix
        float32, shape (U, N), 1 where a user has an item.
    """
    return dataset.inter_matrix(form="csr").astype(np.float32)


def binary_rows(
    users_R: NDArray[np.integer], items_R: NDArray[np.integer], shape: tuple[int, int]
) -> sp.csr_matrix:
    """The users' items, however often a user has an item.

    Parameters
    ----------
    users_R, items_R : ndarray of int
        Interactions.
    shape : tuple of int
        (U, N).

    Returns
    -------
    csr_matrix
        float32, shape (U, N), 1 where a user has an item.
    """
    ones_R = np.ones(len(users_R), np.float32)
    rows_UN = sp.csr_matrix((ones_R, (users_R, items_R)), shape=shape)
    rows_UN.data[:] = 1.0
    return rows_UN


class ScoresOfAll(PairsOfAll, GeneralRecommender):
    """A model that scores pairs by scoring all items of their users.

    Stands before RecBole's class among the bases.
    """

    @abstractmethod
    def scores(self, users_B: np.ndarray) -> np.ndarray:
        """Scores of all items, float32, shape (B, N).

        Parameters
        ----------
        users_B : ndarray
            User ids.
        """

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items.

        Parameters
        ----------
        interaction : Interaction
            User ids in RecBole's field, B rows.

        Returns
        -------
        Tensor
            Shape (B, N).
        """
        users_B = interaction[self.USER_ID].cpu().numpy()
        return torch.from_numpy(self.scores(users_B)).to(self.device)


class SolvedScores(WithoutLoss, ScoresOfAll):
    """A model that is solved, by the strategy `solved`, and reads the users' items.

    Parameters
    ----------
    config : recbole.config.Config
        Of the model.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        self.dummy_param = torch.nn.Parameter(torch.zeros(1))  # tells the model's device
        self.rows_UN = self.history_attributes(dataset)["rows_UN"]

    def history_attributes(self, dataset: Any) -> dict[str, sp.csr_matrix]:
        """The users' items, made of a dataset's interactions.

        Parameters
        ----------
        dataset : recbole.data.dataset.Dataset
            The interactions that are known of every user.

        Returns
        -------
        dict of str to csr_matrix
            `rows_UN`, float32, (U, N), 1 where a user has an item.
        """
        users_R = dataset.inter_feat[dataset.uid_field].numpy()
        items_R = dataset.inter_feat[dataset.iid_field].numpy()
        return {"rows_UN": binary_rows(users_R, items_R, (self.n_users, self.n_items))}
