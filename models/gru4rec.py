"""GRU4Rec (Hidasi et al., ICLR 2016, with the improvements of Tan et al., 2016), all positions at once.

B batch, L length, D width.
"""

from recbole.model.sequential_recommender import GRU4Rec as RecBoleGRU4Rec
from torch import Tensor

from paddock import ModelConfig, choices, integers, key, uniform
from paddock.layers import dropout


class GRU4RecConfig(ModelConfig):
    """GRU4Rec: a recurrent network over the last items of a history."""

    offers = ("states",)

    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read, the last ones.", least=1)
    embedding_size: int = key(64, "Width of item embeddings.", least=1, search=choices(32, 64, 128))
    hidden_size: int = key(
        128, "Width of the recurrent state.", least=1, search=choices(64, 128, 256)
    )
    num_layers: int = key(1, "Recurrent layers.", least=1, search=integers(1, 2))
    dropout_prob: float = key(
        0.3, "Dropout of item embeddings.", least=0, below=1, search=uniform(0.0, 0.6, step=0.1)
    )
    loss_type: str = key("CE", "Loss of RecBole's own training.", choices=("BPR", "CE"))


class GRU4Rec(RecBoleGRU4Rec):
    """RecBole's GRU4Rec: same parameters, same scores for equal weights.

    `states` gives the state after every position, so that one row trains all of a window's next
    items; RecBole's loss takes one row for every prefix.
    """

    def states(self, items_BL: Tensor) -> Tensor:
        """The state after each position; those at padding mean nothing.

        Parameters
        ----------
        items_BL : Tensor
            Item ids in time order, shape (B, L), padded with 0 on the right.

        Returns
        -------
        Tensor
            Shape (B, L, D).
        """
        embedded_BLD = self.item_embedding(items_BL)
        output_BLH, _ = self.gru_layers(
            dropout(embedded_BLD, self.emb_dropout.p, training=self.training)
        )
        return self.dense(output_BLH)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """The state after the last item of each history.

        Parameters
        ----------
        item_seq : Tensor
            Item ids in time order, shape (B, L), padded with 0 on the right.
        item_seq_len : Tensor
            Items of each history, shape (B,), at least 1.

        Returns
        -------
        Tensor
            Shape (B, D).
        """
        return self.gather_indexes(self.states(item_seq), item_seq_len - 1)
