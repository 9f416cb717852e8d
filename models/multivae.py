"""Mult-VAE (Liang et al., WWW 2018), fed by compressed rows.

B batch of users.
"""

from recbole.data.interaction import Interaction
from recbole.model.general_recommender import MultiVAE as RecBoleMultiVAE
from torch import Tensor

from models._rows import RowsMixin


class MultiVAE(RowsMixin, RecBoleMultiVAE):
    """RecBole's MultiVAE: same parameters, loss and scores for equal weights."""

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The mean of the users' negative ELBO."""
        return self.negative_elbo(interaction[self.USER_ID]).mean()
