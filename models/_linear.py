"""What models that multiply the users' items with a matrix have in common.

B batch, U users and N items (padding included).
"""

from abc import abstractmethod
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from torch import Tensor


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


class ScoresOfAll(GeneralRecommender):
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

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of pairs of user and item.

        Parameters
        ----------
        interaction : Interaction
            User and item ids in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B,).
        """
        items_B = interaction[self.ITEM_ID]
        return self.full_sort_predict(interaction).gather(1, items_B[:, None]).squeeze(1)

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
