"""Popularity: every user is given the items with the most training interactions."""

import torch
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import Pop as RecBolePop
from recbole.utils import ModelType
from torch import Tensor

from paddock import ModelConfig


class PopConfig(ModelConfig):
    """Popularity, which has no hyper-parameters."""

    closed_form = True


class Pop(RecBolePop):
    """RecBole's Pop, with every interaction counted.

    RecBole counts an item once a batch, however often the batch holds it (`counts[items] += 1`,
    pop.py:47), and counts the sampled negatives too: on tiny, whose items have 25 to 76
    interactions, no count is above 6.
    """

    type = ModelType.TRADITIONAL

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Count the batch's items; the loss is 0.

        Parameters
        ----------
        interaction : Interaction
            Item ids in RecBole's field, B rows.

        Returns
        -------
        Tensor
            Zero, shape (1,).
        """
        items_B = interaction[self.ITEM_ID]
        self.item_cnt.index_add_(0, items_B, torch.ones_like(items_B).unsqueeze(1))
        self.max_cnt = self.item_cnt.max(dim=0).values
        return torch.zeros(1, device=self.device, requires_grad=True)
