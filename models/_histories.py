"""Histories as models read them, and models that weigh their items by recency, without a gradient.

B batch, L longest history, N items (padding included).
"""

from abc import abstractmethod

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor

from models._scores import WithoutLoss
from models._transitions import oldest, recency


class WeightedHistories(WithoutLoss, SequentialRecommender):
    """A model, by the strategy `solved`, whose scores follow from a weight for each item of a history.

    Parameters
    ----------
    config : recbole.config.Config
        `profile_decay`: an item counts exp(-a / this), a interactions before the last.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        self.dummy_param = torch.nn.Parameter(torch.zeros(1))  # tells the model's device
        self.profile_decay = config["profile_decay"]

    @abstractmethod
    def scores(self, profile_BN: sp.csr_matrix) -> NDArray[np.float32]:
        """Scores of all items, shape (B, N).

        Parameters
        ----------
        profile_BN : csr_matrix
            Weights of the items of each history, float32; an item that comes twice has the sum.
        """

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items.

        Parameters
        ----------
        interaction : Interaction
            Histories and their lengths in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B, N).
        """
        items_BL = interaction[self.ITEM_SEQ].cpu().numpy()
        lengths_B1 = interaction[self.ITEM_SEQ_LEN].cpu().numpy()[:, None]
        ages_BL = lengths_B1 - 1 - np.arange(items_BL.shape[1])
        read_BL = (ages_BL >= 0) & (ages_BL <= oldest(self.profile_decay)) & (items_BL > 0)
        rows, _ = np.nonzero(read_BL)
        profile_BN = sp.csr_matrix(
            (recency(ages_BL[read_BL], self.profile_decay), (rows, items_BL[read_BL])),
            shape=(len(items_BL), self.n_items),
        )
        return torch.from_numpy(self.scores(profile_BN)).to(self.dummy_param.device)


def last_items(items_BL: Tensor, lengths_B: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """The last items of each history, in rows of a model's own width.

    Parameters
    ----------
    items_BL : Tensor
        Item ids in time order, padded with 0 on the right.
    lengths_B : Tensor
        Items of each history.
    longest : int
        The most items that the model reads.

    Returns
    -------
    items_BL, lengths_B : Tensor
        Left-aligned, `longest` columns.
    """
    width = max(1, int(lengths_B.max()))
    if width <= longest:
        # A causal model reads short rows as well; others were trained on rows of the full width.
        padded = torch.nn.functional.pad(items_BL[:, :width], (0, longest - width))
        return padded, lengths_B
    starts_B = (lengths_B - longest).clamp(min=0)
    offsets_L = torch.arange(longest, device=items_BL.device)
    kept_B = lengths_B.clamp(max=longest)
    places_BL = (starts_B[:, None] + offsets_L).clamp(max=items_BL.shape[1] - 1)
    taken_BL = items_BL.gather(1, places_BL)
    return taken_BL * (offsets_L < kept_B[:, None]), kept_B
