"""Next-item losses over many positions at once.

P positions, D width, N items (padding included, its row is 0), K negatives.
"""

from functools import partial
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from paddock.layers import ROWS_MULTIPLE, onednn_products


class Among(NamedTuple):
    """Positions as a part of a batch, for which negatives are drawn as a whole.

    Attributes
    ----------
    places_P : Tensor
        The number of each position among those of the batch, shape (P,), int64.
    positions : int
        Positions of the batch.
    """

    places_P: Tensor
    positions: int

    @classmethod
    def rows(cls, rows: slice, valid_BL: Tensor) -> "Among":
        """The valid positions of some rows.

        Parameters
        ----------
        rows : slice
            Rows of the batch.
        valid_BL : Tensor
            Which positions of the batch count, bool, shape (B, L).
        """
        number_BL = valid_BL.flatten().cumsum(0).view_as(valid_BL) - 1
        return cls(number_BL[rows][valid_BL[rows]], int(valid_BL.sum()))


class Loss(Protocol):
    """The mean loss of a position."""

    def __call__(
        self, states_PD: Tensor, weight_ND: Tensor, targets_P: Tensor, *, among: Among | None = None
    ) -> Tensor:
        """A scalar; `among` says of which batch the positions are a part, None that they are all."""
        ...


LOGITS_AT_ONCE = {"cpu": 1 << 22, "cuda": 1 << 27}
"""Logits of the full softmax held at a time: few enough for the cache of a CPU, many enough for few kernels on a GPU."""


def next_item_loss(
    name: str, *, negatives: int, calibration: float, generator: torch.Generator
) -> Loss:
    """The loss of a name.

    Parameters
    ----------
    name : str
        "softmax": cross-entropy over all items. "sampled_softmax": cross-entropy over the target
        and `negatives` uniformly drawn items, which all positions of the batch share. "bce": binary
        cross-entropy of the target against `negatives` uniformly drawn items a position (SASRec,
        Kang and McAuley, ICDM 2018, eq. 7, with one negative). "gbce": the same with the target's
        probability raised to the power beta (gSASRec, Petrov and Macdonald, RecSys 2023, eq. 11),
        which corrects the overconfidence that negative sampling causes.
    negatives : int
        K, the number of drawn items.
    calibration : float
        gBCE's t: 0 is plain BCE, 1 is fully calibrated.
    generator : torch.Generator
        Draws the negatives.

    Returns
    -------
    Loss
        (states_PD, weight_ND, targets_P) -> mean loss of a position.
    """
    if name == "softmax":
        return full_softmax
    if name == "sampled_softmax":
        return partial(_sampled_softmax, negatives=negatives, generator=generator)
    assert name in ("bce", "gbce"), name
    t = calibration if name == "gbce" else 0.0
    return partial(_binary, negatives=negatives, t=t, generator=generator)


class _FullSoftmax(torch.autograd.Function):
    """Cross-entropy of a product with all items, with its gradient taken along the way.

    The logits of all items are the largest tensor of a step by far. They are computed for some rows
    at a time and turned into their gradient in place, so that memory is bounded and no logit is
    computed or stored twice. Products are computed in the states' dtype, all else in the weights'.
    """

    @staticmethod
    def forward(ctx, states_PD, weight_ND, targets_P):  # type: ignore[no-untyped-def]
        n_positions, n_items = len(states_PD), len(weight_ND)
        # States of zero add nothing to the items' gradient; their loss is left out below.
        padding = -n_positions % ROWS_MULTIPLE
        states_PD = F.pad(states_PD, (0, 0, 0, padding))
        targets_P = F.pad(targets_P, (0, padding))
        narrow_ND = weight_ND.to(states_PD.dtype)
        most = LOGITS_AT_ONCE[states_PD.device.type] // n_items // ROWS_MULTIPLE * ROWS_MULTIPLE
        rows = min(len(states_PD), max(ROWS_MULTIPLE, most))
        buffer = states_PD.new_empty((rows, n_items))
        gradient_PD, gradient_ND = torch.empty_like(states_PD), torch.zeros_like(weight_ND)
        total = weight_ND.new_zeros(())
        with onednn_products(), torch.autocast(states_PD.device.type, enabled=False):
            for start in range(0, len(states_PD), rows):
                states, targets = (
                    states_PD[start : start + rows],
                    targets_P[start : start + rows, None],
                )
                product = torch.mm(states, narrow_ND.T, out=buffer[: len(states)])
                logits = product.to(weight_ND.dtype)
                # One kernel goes over a row while the cache holds it.
                probabilities = torch.softmax(logits, dim=1, out=logits)
                losses = _negative_logs(probabilities, states, narrow_ND, targets)
                total += losses[: n_positions - start].sum()
                probabilities.scatter_add_(1, targets, logits.new_full(targets.shape, -1.0))
                product.copy_(probabilities)
                torch.mm(product, narrow_ND, out=gradient_PD[start : start + rows])
                if narrow_ND is weight_ND:
                    gradient_ND.addmm_(product.T, states)
                else:
                    gradient_ND += torch.mm(product.T, states)
        ctx.save_for_backward(gradient_PD[:n_positions], gradient_ND)
        ctx.n_positions = n_positions
        return total / n_positions

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        gradient_PD, gradient_ND = ctx.saved_tensors
        gradient = gradient / ctx.n_positions
        # An autograd function's gradients are of their inputs' dtypes.
        return gradient.to(gradient_PD) * gradient_PD, gradient * gradient_ND, None


def _negative_logs(
    probabilities_PN: Tensor, states_PD: Tensor, weight_ND: Tensor, targets_P1: Tensor
) -> Tensor:
    """-log of the targets' probabilities, shape (P, 1).

    Where a probability is too small for its dtype, the loss is computed from the logits.
    """
    wanted_P1 = probabilities_PN.gather(1, targets_P1)
    losses_P1 = -wanted_P1.log()
    lost_P = wanted_P1[:, 0] < torch.finfo(wanted_P1.dtype).tiny
    if lost_P.any():
        logits = (states_PD[lost_P] @ weight_ND.T).to(losses_P1.dtype)
        losses_P1[lost_P, 0] = F.cross_entropy(logits, targets_P1[lost_P, 0], reduction="none")
    return losses_P1


def full_softmax(
    states_PD: Tensor, weight_ND: Tensor, targets_P: Tensor, *, among: Among | None = None
) -> Tensor:
    """Cross-entropy over all items.

    Padding is one of the items, as in RecBole's `loss_type: CE`.

    Parameters
    ----------
    states_PD : Tensor
        State of each position, shape (P, D), float32 or bfloat16.
    weight_ND : Tensor
        Embedding of each item, shape (N, D); row 0 is padding.
    targets_P : Tensor
        The next item of each position, shape (P,), int64.
    among : Among, optional
        Of no effect: nothing is drawn.

    Returns
    -------
    Tensor
        Mean loss of a position, a scalar.
    """
    return _FullSoftmax.apply(states_PD, weight_ND, targets_P)


def _sampled_softmax(
    states_PD: Tensor,
    weight_ND: Tensor,
    targets_P: Tensor,
    *,
    negatives: int,
    generator: torch.Generator,
    among: Among | None = None,
) -> Tensor:
    drawn_K = _uniform((negatives,), len(weight_ND), generator).to(targets_P.device)
    against_PK = states_PD @ weight_ND[drawn_K].T
    against_PK = against_PK.masked_fill(drawn_K == targets_P[:, None], -torch.inf)
    wanted_P1 = (states_PD * weight_ND[targets_P]).sum(dim=1, keepdim=True)
    logits = torch.cat([wanted_P1, against_PK], dim=1)
    return F.cross_entropy(logits, torch.zeros_like(targets_P))


def _binary(
    states_PD: Tensor,
    weight_ND: Tensor,
    targets_P: Tensor,
    *,
    negatives: int,
    t: float,
    generator: torch.Generator,
    among: Among | None = None,
) -> Tensor:
    n_items = len(weight_ND)
    positions = len(targets_P) if among is None else among.positions
    drawn_PK = _uniform((positions, negatives), n_items, generator).to(targets_P.device)
    if among is not None:
        drawn_PK = drawn_PK[among.places_P]
    # A draw that hits the target moves on by one item, which keeps K negatives for everyone.
    drawn_PK = torch.where(drawn_PK == targets_P[:, None], drawn_PK % (n_items - 1) + 1, drawn_PK)
    wanted_P = (states_PD * weight_ND[targets_P]).sum(dim=1)
    against_PK = torch.einsum("pd,pkd->pk", states_PD, weight_ND[drawn_PK])
    rate = negatives / (n_items - 2)
    beta = rate * (t * (1 - 1 / rate) + 1 / rate)
    losses_P = -beta * F.logsigmoid(wanted_P) + F.softplus(against_PK).sum(dim=1)
    return losses_P.mean() / (negatives + 1)


def _uniform(shape: tuple[int, ...], n_items: int, generator: torch.Generator) -> Tensor:
    return torch.randint(1, n_items, shape, generator=generator)
