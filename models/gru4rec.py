"""GRU4Rec (Hidasi et al., ICLR 2016, with the improvements of Tan et al., 2016), all positions at once.

B batch, L length, D width.
"""

from recbole.model.sequential_recommender import GRU4Rec as RecBoleGRU4Rec
from torch import Tensor


class GRU4Rec(RecBoleGRU4Rec):
    """RecBole's GRU4Rec: same parameters, same scores for equal weights.

    `states` gives the state after every position, so that one row trains all of a window's next
    items; RecBole's loss takes one row for every prefix.
    """

    def states(self, items_BL: Tensor) -> Tensor:
        """The state after each position, shape (B, L, D); those at padding mean nothing.

        Parameters
        ----------
        items_BL
            Item ids in time order, padded with 0 on the right.
        """
        output_BLH, _ = self.gru_layers(self.emb_dropout(self.item_embedding(items_BL)))
        return self.dense(output_BLH)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """The state after the last item of each history, shape (B, D)."""
        return self.gather_indexes(self.states(item_seq), item_seq_len - 1)
