"""BERT4Rec (Sun et al., CIKM 2019), trained on any positions of a window.

B batch, L length, D width, H heads, P positions, N items (padding included).
"""

import torch
import torch.nn.functional as F
from recbole.model.sequential_recommender import BERT4Rec as RecBoleBERT4Rec
from torch import Tensor

from models._transformer import transformed
from paddock import ModelConfig, choices, integers, key, uniform
from paddock.layers import dropout


class BERT4RecConfig(ModelConfig):
    """BERT4Rec: self-attention both ways, trained to fill in hidden items."""

    offers = ("masked items",)

    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read, the last ones.", least=1)
    n_layers: int = key(2, "Transformer blocks.", least=1, search=integers(1, 3))
    n_heads: int = key(2, "Attention heads.", least=1, search=choices(1, 2, 4))
    hidden_size: int = key(64, "Width of the states.", least=1, search=choices(32, 64, 128))
    inner_size: int = key(
        256, "Width of the feed-forward layers.", least=1, search=choices(64, 128, 256)
    )
    hidden_dropout_prob: float = key(
        0.2, "Dropout of states.", least=0, below=1, search=uniform(0.0, 0.6, step=0.1)
    )
    attn_dropout_prob: float = key(
        0.2, "Dropout of attention weights.", least=0, below=1, search=uniform(0.0, 0.5, step=0.1)
    )
    hidden_act: str = key("gelu", "Activation of the feed-forward layers.")
    layer_norm_eps: float = key(1e-12, "Added to the variance in layer normalisation.", above=0)
    initializer_range: float = key(0.02, "Standard deviation of initial weights.", above=0)
    mask_ratio: float = key(
        0.2,
        "Share of a window's items that are hidden.",
        least=0,
        most=1,
        search=uniform(0.1, 0.8, step=0.1),
    )
    loss_type: str = key("CE", "Loss of RecBole's own training.", choices=("BPR", "CE"))


class BERT4Rec(RecBoleBERT4Rec):
    """RecBole's BERT4Rec: same parameters, same scores for equal weights.

    `encode` and `logit_factors` let a strategy choose the masked positions and score only these;
    RecBole's loss takes a fixed number of them for every row, padded. Attention and activation run
    through torch's fused kernels, and rows are no wider than the longest history of a batch.
    """

    def encode(self, items_BL: Tensor) -> Tensor:
        """The transformer's output at every position; at padding it means nothing.

        Parameters
        ----------
        items_BL : Tensor
            Item ids in time order, shape (B, L), `mask_token` where hidden, padded with 0 on the
            right; L is at most MAX_ITEM_LIST_LENGTH.

        Returns
        -------
        Tensor
            Shape (B, L, D).
        """
        positions_L = torch.arange(items_BL.size(1), device=items_BL.device)
        states_BLD = self.item_embedding(items_BL) + self.position_embedding(positions_L)
        states_BLD = dropout(self.LayerNorm(states_BLD), self.dropout.p, training=self.training)
        attended_B11L = (items_BL != 0)[:, None, None, :]
        for layer in self.trm_encoder.layer:
            states_BLD = transformed(layer, states_BLD, attended_B11L=attended_B11L)
        return states_BLD

    def logit_factors(self, encoded_PD: Tensor) -> tuple[Tensor, Tensor]:
        """Two factors whose product over the last dimension is the logits of all items.

        The items' bias is one more column of the weights; the states have a 1 there.

        Parameters
        ----------
        encoded_PD : Tensor
            Output of `encode` at P positions, shape (P, D).

        Returns
        -------
        states, weights : Tensor
            Shapes (P, D + 1) and (N, D + 1).
        """
        states_PD = self._head(encoded_PD)
        ones_P1 = states_PD.new_ones(len(states_PD), 1)
        weight_ND = self.item_embedding.weight[: self.n_items]
        bias_N1 = self.output_bias[:, None]
        return torch.cat([states_PD, ones_P1], dim=1), torch.cat([weight_ND, bias_N1], dim=1)

    def forward(self, item_seq: Tensor) -> Tensor:
        """The state of each position, whose product with item embeddings gives logits.

        Parameters
        ----------
        item_seq : Tensor
            Item ids, shape (B, L).

        Returns
        -------
        Tensor
            Shape (B, L, D).
        """
        return self._head(self.encode(item_seq))

    def reconstruct_test_data(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """The histories without their oldest item and with the mask after the last one.

        Rows are as wide as the longest history. RecBole drops the oldest item of every row, whether
        or not the row has room for the mask; so does this method, so that scores are equal.

        Parameters
        ----------
        item_seq : Tensor
            Item ids in time order, shape (B, L), padded with 0 on the right.
        item_seq_len : Tensor
            Items of each history, shape (B,).

        Returns
        -------
        Tensor
            Shape (B, longest length).
        """
        longest = int(item_seq_len.max())
        rest_BL = F.pad(item_seq, (0, 1))[:, 1 : longest + 1]
        return rest_BL.scatter(1, item_seq_len[:, None] - 1, self.mask_token)

    def _head(self, encoded: Tensor) -> Tensor:
        return self.output_ln(self.output_gelu(self.output_ffn(encoded)))
