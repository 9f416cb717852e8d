"""The next-item losses, against torch's own and against loops written from the papers."""

import math

import pytest
import torch
import torch.nn.functional as F

from experiments.training import losses
from experiments.training.losses import full_softmax, next_item_loss

P, D, N = 23, 6, 17


@pytest.fixture
def tensors():
    torch.manual_seed(3)
    states = torch.randn(P, D, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(N, D, dtype=torch.float64, requires_grad=True)
    return states, weight, torch.randint(1, N, (P,))


def made(name, **choices):
    generator = torch.Generator().manual_seed(5)
    return next_item_loss(
        name, **{"negatives": 4, "calibration": 0.75, **choices}, generator=generator
    )


@pytest.mark.parametrize("rows_at_once", [1, 128, 256, 10_000])
@pytest.mark.parametrize("n_positions", [1, 127, 128, 129, 400])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_full_softmax_is_torchs_cross_entropy(monkeypatch, n_positions, rows_at_once, dtype):
    monkeypatch.setitem(losses.LOGITS_AT_ONCE, "cpu", rows_at_once * N)
    torch.manual_seed(3)
    states = torch.randn(n_positions, D, dtype=dtype, requires_grad=True)
    weight = torch.randn(N, D, dtype=dtype, requires_grad=True)
    targets = torch.randint(1, N, (n_positions,))
    expected = F.cross_entropy(states @ weight.T, targets)
    gradients = torch.autograd.grad(3 * expected, (states, weight))
    loss = full_softmax(states, weight, targets)
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(3 * loss, (states, weight)), gradients, strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_full_softmax_does_not_overflow():
    states = torch.full((2, 1), 1e4, requires_grad=True)
    weight = torch.tensor([[0.0], [1.0], [-1.0]], requires_grad=True)
    loss = full_softmax(states, weight, torch.tensor([1, 2]))
    assert loss.item() == pytest.approx(1e4)


def test_sampled_softmax_with_every_item_is_the_full_one_without_padding(monkeypatch, tensors):
    states, weight, targets = tensors
    monkeypatch.setattr(losses, "_uniform", lambda shape, n, g: torch.arange(1, n))
    expected = F.cross_entropy(states @ weight[1:].T, targets - 1)
    torch.testing.assert_close(
        made("sampled_softmax", negatives=N - 1)(states, weight, targets), expected
    )


@pytest.mark.parametrize(("name", "t"), [("bce", 0.0), ("gbce", 0.75), ("gbce", 1.0)])
def test_binary_losses_by_hand(monkeypatch, tensors, name, t):
    states, weight, targets = tensors
    k = 3
    drawn = torch.randint(1, N, (P, k))
    drawn = torch.where(drawn == targets[:, None], drawn % (N - 1) + 1, drawn)
    monkeypatch.setattr(losses, "_uniform", lambda *_: drawn)
    # gSASRec, eq. 11, with alpha the share of the negatives that is sampled.
    alpha = k / (N - 2)
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    expected = 0.0
    for state, target, against in zip(states, targets, drawn, strict=True):
        probability = torch.sigmoid(state @ weight[target])
        row = -beta * math.log(probability.item())
        row -= sum(math.log(1 - torch.sigmoid(state @ weight[item]).item()) for item in against)
        expected += row / (k + 1) / P
    loss = made(name, negatives=k, calibration=t)(states, weight, targets)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_negatives_are_never_the_target():
    states, weight = torch.zeros(2000, 1), torch.zeros(3, 1)
    weight[1], states[:] = 100.0, 1.0
    # With two items, the only negative of item 1 is item 2: its score is 0, the target's is 100.
    loss = made("bce", negatives=1)(states, weight, torch.ones(2000, dtype=torch.long))
    assert loss.item() == pytest.approx(math.log(2) / 2, rel=1e-5)
