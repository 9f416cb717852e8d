"""A transformer layer of RecBole with its weights, through fused kernels.

B batch, L length, D width, H heads, K width of a head, X = 3 D.
"""

import torch
import torch.nn.functional as F
from recbole.model.layers import FeedForward, MultiHeadAttention, TransformerLayer
from torch import Tensor, nn

from paddock.layers import dot_product_attention, dropout, linear


def transformed(
    layer: TransformerLayer,
    states_BLD: Tensor,
    *,
    attended_B11L: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """What RecBole's TransformerLayer makes of states.

    Parameters
    ----------
    layer : TransformerLayer
        Holds the weights.
    states_BLD : Tensor
        State of each position, shape (B, L, D).
    attended_B11L : Tensor, optional
        True where a position may be attended to, shape (B, 1, 1, L); None: everywhere.
    causal : bool
        Whether a position attends only to itself and earlier positions.

    Returns
    -------
    Tensor
        Shape (B, L, D).
    """
    attention = layer.multi_head_attention
    context_BLD = _attended(attention, states_BLD, attended_B11L=attended_B11L, causal=causal)
    return _fed_forward(layer.feed_forward, context_BLD)


def _attended(
    attention: MultiHeadAttention,
    states_BLD: Tensor,
    *,
    attended_B11L: Tensor | None,
    causal: bool,
) -> Tensor:
    heads, training = attention.num_attention_heads, attention.training

    def split(projected_BLD: Tensor) -> Tensor:
        return projected_BLD.unflatten(-1, (heads, -1)).transpose(1, 2)

    inputs = (attention.query, attention.key, attention.value)
    projected_BLX = linear(
        states_BLD,
        torch.cat([layer.weight for layer in inputs]),
        torch.cat([layer.bias for layer in inputs]),
    )
    query_BHLK, key_BHLK, value_BHLK = map(split, projected_BLX.chunk(3, dim=-1))
    context_BHLK = dot_product_attention(
        query_BHLK,
        key_BHLK,
        value_BHLK,
        attended=attended_B11L,
        causal=causal,
        p=attention.attn_dropout.p if training else 0.0,
    )
    context_BLD = _applied(attention.dense, context_BHLK.transpose(1, 2).flatten(-2))
    dropped_BLD = dropout(context_BLD, attention.out_dropout.p, training=training)
    return attention.LayerNorm(dropped_BLD + states_BLD)


def _fed_forward(feed_forward: FeedForward, states_BLD: Tensor) -> Tensor:
    activation = feed_forward.intermediate_act_fn
    if activation == feed_forward.gelu:
        activation = F.gelu  # the same formula in one pass instead of five
    hidden_BLD = _applied(
        feed_forward.dense_2, activation(_applied(feed_forward.dense_1, states_BLD))
    )
    dropped_BLD = dropout(hidden_BLD, feed_forward.dropout.p, training=feed_forward.training)
    return feed_forward.LayerNorm(dropped_BLD + states_BLD)


def _applied(layer: nn.Linear, values: Tensor) -> Tensor:
    return linear(values, layer.weight, layer.bias)
