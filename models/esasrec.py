"""eSASRec (Tikhonovich et al., RecSys 2025): SASRec's training with gated pre-normalised layers.

B batch, L length, D width, H heads, K width of a head, F inner width.
"""

import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from paddock import ModelConfig, choices, integers, key, uniform
from paddock.layers import dot_product_attention, dropout, linear


class ESASRecConfig(ModelConfig):
    """eSASRec: LiGR layers over the last items of a history, sampled softmax."""

    offers = ("states",)

    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read, the last ones.", least=1)
    n_layers: int = key(2, "Transformer layers.", least=1, search=integers(1, 3))
    n_heads: int = key(2, "Attention heads.", least=1, search=choices(1, 2, 4))
    hidden_size: int = key(128, "Width of the states.", least=1, search=choices(64, 128, 256))
    inner_size: int = key(
        128, "Width of the feed-forward layers.", least=1, search=choices(64, 128, 256)
    )
    embedding_dropout_prob: float = key(
        0.2, "Dropout of item vectors.", least=0, below=1, search=uniform(0.1, 0.6, step=0.1)
    )
    hidden_dropout_prob: float = key(
        0.2,
        "Dropout of what a layer adds to the states.",
        least=0,
        below=1,
        search=uniform(0.1, 0.6, step=0.1),
    )
    attn_dropout_prob: float = key(0.0, "Dropout of attention weights.", least=0, below=1)
    layer_norm_eps: float = key(1e-6, "Added to the variance in layer normalisation.", above=0)
    initializer_range: float = key(0.02, "Standard deviation of initial weights.", above=0)


class ESASRec(SequentialRecommender):
    """Causal self-attention in LiGR layers (Borisyuk et al., 2025, eq. 3).

    A layer adds `sublayer(norm(x)) * sigmoid(x W)` to its states x, for attention and for a feed-forward
    sublayer with SwiGLU (Shazeer, 2020); a last norm follows. An item's score is the product of the last state
    with its vector, which is also what the layers read.

    Parameters
    ----------
    config : recbole.config.Config
        The keys of `ESASRecConfig`.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        width, heads = config["hidden_size"], config["n_heads"]
        self.item_embedding = nn.Embedding(self.n_items, width, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, width)
        self.layers = nn.ModuleList(
            GatedLayer(
                width,
                heads=heads,
                inner=config["inner_size"],
                hidden_dropout=config["hidden_dropout_prob"],
                attention_dropout=config["attn_dropout_prob"],
                eps=config["layer_norm_eps"],
            )
            for _ in range(config["n_layers"])
        )
        self.last_norm = nn.LayerNorm(width, eps=config["layer_norm_eps"])
        self.embedding_dropout = config["embedding_dropout_prob"]
        self._spread = config["initializer_range"]
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self._spread)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

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
        states_BLD = (
            self.item_embedding(items_BL) + self.position_embedding.weight[: items_BL.size(1)]
        )
        states_BLD = dropout(states_BLD, self.embedding_dropout, training=self.training)
        for layer in self.layers:
            states_BLD = layer(states_BLD)
        normed_BLD: Tensor = self.last_norm(states_BLD)
        return normed_BLD

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
        last_BD: Tensor = self.gather_indexes(self.states(item_seq), item_seq_len - 1)
        return last_BD

    def calculate_loss(self, interaction) -> Tensor:  # type: ignore[no-untyped-def]
        """RecBole's own training: the cross-entropy over all items of each row's target."""
        states_BD = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        logits_BN = states_BD @ self.item_embedding.weight.T
        return F.cross_entropy(logits_BN, interaction[self.POS_ITEM_ID])

    def predict(self, interaction) -> Tensor:  # type: ignore[no-untyped-def]
        """Scores of one item a row, shape (B,)."""
        states_BD = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        items_BD = self.item_embedding(interaction[self.ITEM_ID])
        return (states_BD * items_BD).sum(dim=1)

    def full_sort_predict(self, interaction) -> Tensor:  # type: ignore[no-untyped-def]
        """Scores of all items, shape (B, N)."""
        states_BD = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        scores_BN: Tensor = states_BD @ self.item_embedding.weight.T
        return scores_BN


class GatedLayer(nn.Module):
    """A LiGR layer: causal attention and SwiGLU, normalised before and gated after.

    Parameters
    ----------
    width : int
        D, of the states.
    heads : int
        H, a divisor of `width`.
    inner : int
        F, width between the feed-forward sublayer's products.
    hidden_dropout, attention_dropout : float
        Probabilities at which what a sublayer adds and an attention weight are set to zero.
    eps : float
        Added to the variance in layer normalisation.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        inner: int,
        hidden_dropout: float,
        attention_dropout: float,
        eps: float,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.hidden_dropout, self.attention_dropout = hidden_dropout, attention_dropout
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.attention_gate = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width, eps=eps)
        self.gate_and_value = nn.Linear(width, 2 * inner)
        self.fed_forward = nn.Linear(inner, width)
        self.feed_forward_gate = nn.Linear(width, width)

    def forward(self, states_BLD: Tensor) -> Tensor:
        """States of the same shape, (B, L, D)."""
        attended_BLD = self._attention(self.attention_norm(states_BLD))
        states_BLD = self._gated(states_BLD, attended_BLD, self.attention_gate)
        fed_BLD = self._feed_forward(self.feed_forward_norm(states_BLD))
        return self._gated(states_BLD, fed_BLD, self.feed_forward_gate)

    def _attention(self, normed_BLD: Tensor) -> Tensor:
        projected = _applied(self.query_key_value, normed_BLD).chunk(3, dim=-1)
        query_BHLK, key_BHLK, value_BHLK = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in projected
        )
        context_BHLK = dot_product_attention(
            query_BHLK,
            key_BHLK,
            value_BHLK,
            causal=True,
            p=self.attention_dropout if self.training else 0.0,
        )
        return _applied(self.attended, context_BHLK.transpose(1, 2).flatten(-2))

    def _feed_forward(self, normed_BLD: Tensor) -> Tensor:
        gate_BLF, value_BLF = _applied(self.gate_and_value, normed_BLD).chunk(2, dim=-1)
        return _applied(self.fed_forward, F.silu(gate_BLF) * value_BLF)

    def _gated(self, states_BLD: Tensor, added_BLD: Tensor, gate: nn.Linear) -> Tensor:
        added_BLD = added_BLD * torch.sigmoid(_applied(gate, states_BLD))
        return states_BLD + dropout(added_BLD, self.hidden_dropout, training=self.training)


def _applied(layer: nn.Linear, values: Tensor) -> Tensor:
    return linear(values, layer.weight, layer.bias)
