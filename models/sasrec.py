"""SASRec (Kang and McAuley, ICDM 2018), all positions of a window in one pass.

B batch, L length, D width, H heads, N items (padding included).
"""

import torch
from recbole.model.sequential_recommender import SASRec as RecBoleSASRec
from torch import Tensor

from models._transformer import transformed
from paddock import ModelConfig, choices, integers, key, uniform
from paddock.layers import dropout


class SASRecConfig(ModelConfig):
    """SASRec: causal self-attention over the last items of a history."""

    offers = ("states",)

    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read, the last ones.", least=1)
    n_layers: int = key(2, "Transformer blocks.", least=1, search=integers(1, 3))
    n_heads: int = key(2, "Attention heads.", least=1, search=choices(1, 2, 4))
    hidden_size: int = key(64, "Width of the states.", least=1, search=choices(32, 64, 128))
    inner_size: int = key(
        256, "Width of the feed-forward layers.", least=1, search=choices(64, 128, 256)
    )
    hidden_dropout_prob: float = key(
        0.5, "Dropout of states.", least=0, below=1, search=uniform(0.1, 0.6, step=0.1)
    )
    attn_dropout_prob: float = key(
        0.5, "Dropout of attention weights.", least=0, below=1, search=uniform(0.0, 0.5, step=0.1)
    )
    hidden_act: str = key("gelu", "Activation of the feed-forward layers.")
    layer_norm_eps: float = key(1e-12, "Added to the variance in layer normalisation.", above=0)
    initializer_range: float = key(0.02, "Standard deviation of initial weights.", above=0)
    loss_type: str = key("CE", "Loss of RecBole's own training.", choices=("BPR", "CE"))


class SASRec(RecBoleSASRec):
    """RecBole's SASRec: same parameters, same scores for equal weights.

    `states` gives the model's state after every position, so that one row trains all of a window's
    next items at once; RecBole's loss takes one row for every prefix. Attention and activation run
    through torch's fused kernels. Histories are left-aligned (padding on the right), so that the
    causal mask alone keeps padding out of every valid position.
    """

    def states(self, items_BL: Tensor) -> Tensor:
        """The state after each position; those at padding mean nothing.

        Parameters
        ----------
        items_BL : Tensor
            Item ids in time order, shape (B, L), padded with 0 on the right; L is at most
            MAX_ITEM_LIST_LENGTH.

        Returns
        -------
        Tensor
            Shape (B, L, D).
        """
        positions_L = torch.arange(items_BL.size(1), device=items_BL.device)
        states_BLD = self.item_embedding(items_BL) + self.position_embedding(positions_L)
        states_BLD = dropout(self.LayerNorm(states_BLD), self.dropout.p, training=self.training)
        for layer in self.trm_encoder.layer:
            states_BLD = transformed(layer, states_BLD, causal=True)
        return states_BLD

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
