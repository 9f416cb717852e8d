"""A transformer layer's attention with RecBole's weights, through torch's fused kernel.

B batch, L length, D width, H heads, K width of a head.
"""

import torch.nn.functional as F
from recbole.model.layers import TransformerLayer
from torch import Tensor


def attend(
    layer: TransformerLayer,
    states_BLD: Tensor,
    *,
    attended_B11L: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """RecBole's MultiHeadAttention, residual and layer norm included.

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
    heads = attention.num_attention_heads

    def split(projected_BLD: Tensor) -> Tensor:
        return projected_BLD.unflatten(-1, (heads, -1)).transpose(1, 2)

    context_BHLK = F.scaled_dot_product_attention(
        split(attention.query(states_BLD)),
        split(attention.key(states_BLD)),
        split(attention.value(states_BLD)),
        attn_mask=attended_B11L,
        dropout_p=attention.attn_dropout.p if layer.training else 0.0,
        is_causal=causal,
    )
    context_BLD = attention.dense(context_BHLK.transpose(1, 2).flatten(-2))
    return attention.LayerNorm(attention.out_dropout(context_BLD) + states_BLD)
