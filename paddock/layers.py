"""Layers and products that cost less on a CPU than torch's own, for models and strategies.

torch gives large float32 products to MKL, which on AMD processors reaches less than 50 % of oneDNN's
speed: 85 to 100 GFLOP/s against 220, on one core of an EPYC with AVX-512. The rounding is the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

_DRAWS = 1 << 16
"""Values of a draw."""

ROWS_MULTIPLE = 128
"""oneDNN compiles a kernel for every new shape; a multiple of this many rows keeps shapes few."""


@contextmanager
def onednn_products() -> Iterator[None]:
    """Let oneDNN compute the float32 products in the block, where it keeps float32.

    torch's switch for oneDNN also allows products of bfloat16. Processors without AMX never use
    them. With AMX they would be used, so that there the switch is left unchanged.
    """
    switch = getattr(torch.backends.mkldnn, "matmul", None)
    if not hasattr(switch, "fp32_precision") or torch.cpu._is_amx_tile_supported():
        yield
        return
    before = switch.fp32_precision  # type: ignore[union-attr]
    switch.fp32_precision = "bf16"  # type: ignore[union-attr]
    try:
        yield
    finally:
        switch.fp32_precision = before  # type: ignore[union-attr]


def linear(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same as torch's linear, the products of its gradients included.

    A block under `onednn_products` would not do: the backward pass runs elsewhere, and attention,
    whose products are small, is slower there.

    Parameters
    ----------
    values : Tensor
        Shape (..., inputs).
    weight : Tensor
        Shape (outputs, inputs).
    bias : Tensor
        Shape (outputs,).

    Returns
    -------
    Tensor
        Shape (..., outputs).
    """
    device = values.device.type
    if device != "cpu" or values.dtype != torch.float32 or torch.is_autocast_enabled(device):
        return F.linear(values, weight, bias)
    found: Tensor = _Linear.apply(values.reshape(-1, weight.shape[1]), weight, bias)
    return found.reshape(*values.shape[:-1], weight.shape[0])


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, weight, bias):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(values, weight)
        with onednn_products():
            return torch.addmm(bias, values, weight.T)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        values, weight = ctx.saved_tensors
        with onednn_products():
            of_values = torch.mm(gradient, weight) if ctx.needs_input_grad[0] else None
            of_weight = torch.mm(gradient.T, values) if ctx.needs_input_grad[1] else None
        of_bias = gradient.sum(dim=0) if ctx.needs_input_grad[2] else None
        return of_values, of_weight, of_bias


def dropout(values: Tensor, p: float, *, training: bool) -> Tensor:
    """Set each value to zero with probability `p`, and scale the others so that the mean stays.

    torch draws the mask on a CPU value by value. Here 64 random bits decide on four values. The
    probability is therefore rounded to 1/65536, for which the scale accounts exactly.

    Parameters
    ----------
    values : Tensor
        Any shape.
    p : float
        The probability, at least 0 and below 1.
    training : bool
        Otherwise the values stay.

    Returns
    -------
    Tensor
        Of the same shape.
    """
    if not training or p == 0.0:
        return values
    if values.device.type != "cpu":
        return F.dropout(values, p)
    dropped = min(round(p * _DRAWS), _DRAWS - 1)
    words = torch.empty(-(-values.numel() // 4), dtype=torch.int64)
    # `None` is the largest integer: all 64 bits are drawn.
    draws = words.random_(-(1 << 63), None).view(torch.int16)[: values.numel()]
    kept = torch.empty_like(values, requires_grad=False, memory_format=torch.contiguous_format)
    torch.ge(draws.view(values.shape), dropped - _DRAWS // 2, out=kept)
    return values * kept.mul_(_DRAWS / (_DRAWS - dropped))


def dot_product_attention(
    query_BHLK: Tensor,
    key_BHLK: Tensor,
    value_BHLK: Tensor,
    *,
    attended: Tensor | None = None,
    causal: bool = False,
    p: float = 0.0,
) -> Tensor:
    """Scaled dot-product attention, as torch's function of that name computes it.

    torch has a fused kernel for a CPU as long as there is no dropout. With dropout it takes single
    steps, of which drawing the mask costs more than the others together: here `dropout` draws it.

    Parameters
    ----------
    query_BHLK, key_BHLK, value_BHLK : Tensor
        Shape (batch B, heads H, length L, width of a head K).
    attended : Tensor, optional
        True where a position may be attended to, of a shape that broadcasts to (B, H, L, L); None:
        everywhere. Some position must be, for each that asks.
    causal : bool
        Whether a position attends only to itself and earlier positions; not beside `attended`.
    p : float
        Probability at which a weight is set to zero.

    Returns
    -------
    Tensor
        Shape (B, H, L, K).
    """
    if p == 0.0 or query_BHLK.device.type != "cpu":
        return F.scaled_dot_product_attention(
            query_BHLK, key_BHLK, value_BHLK, attn_mask=attended, dropout_p=p, is_causal=causal
        )
    batch, heads, length, width = query_BHLK.shape
    if causal:
        attended = torch.ones(length, length, dtype=torch.bool).tril()
    elif attended is None:
        attended = torch.ones((), dtype=torch.bool)
    query_XLK, key_XLK, value_XLK = (
        each.flatten(0, 1) for each in (query_BHLK, key_BHLK, value_BHLK)
    )
    # What masks a weight is added by the product itself, which spares a pass over all of them.
    lowest = torch.finfo(query_BHLK.dtype).min
    mask = query_BHLK.new_zeros(attended.shape).masked_fill_(~attended, lowest)
    mask_XLL = mask.expand(batch, heads, length, length).flatten(0, 1)
    scores_XLL = torch.baddbmm(mask_XLL, query_XLK, key_XLK.transpose(1, 2), alpha=width**-0.5)
    weights_XLL = dropout(scores_XLL.softmax(dim=-1), p, training=True)
    return torch.bmm(weights_XLL, value_XLK).unflatten(0, (batch, heads))
