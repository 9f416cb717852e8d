"""What models have in common that score all items at once.

B batch.
"""

from collections.abc import Callable

from recbole.data.interaction import Interaction
from torch import Tensor


class PairsOfAll:
    """Scores of pairs, taken of those of all items; stands before RecBole's class among the bases."""

    ITEM_ID: str
    full_sort_predict: Callable[[Interaction], Tensor]

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of pairs of a user, or of a history, and an item.

        Parameters
        ----------
        interaction : Interaction
            What the model scores by, and item ids, in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B,).
        """
        items_B1 = interaction[self.ITEM_ID][:, None]
        return self.full_sort_predict(interaction).gather(1, items_B1).squeeze(1)


class WithoutLoss(PairsOfAll):
    """A model that its strategy solves, counts or chooses: no batch of it has a loss."""

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """There is no loss of a batch.

        Parameters
        ----------
        interaction : Interaction
            A batch.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no loss: its strategy finds its weights"
        )
