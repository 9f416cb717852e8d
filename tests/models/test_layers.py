"""Dropout, linear layer and products of `paddock.layers` against what they promise and torch's own."""

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binomtest

from paddock.layers import dot_product_attention, dropout, linear, onednn_products


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_each_value_is_dropped_with_the_probability(p: float) -> None:
    torch.manual_seed(7)
    found = dropout(torch.ones(401, 1001), p, training=True)
    dropped = found == 0
    assert binomtest(int(dropped.sum()), dropped.numel(), p).pvalue > 1e-3
    # 64 bits decide on four values: each place within the four has the same rate, and no two go together.
    places = dropped.flatten()[:401_000].view(-1, 4)
    for place in range(4):
        assert binomtest(int(places[:, place].sum()), len(places), p).pvalue > 1e-3
    assert torch.corrcoef(places.T.double()).fill_diagonal_(0).abs().max() < 0.02


@pytest.mark.parametrize("p", [0.3, 1 / 3, 0.999_99])
def test_the_mean_stays(p: float) -> None:
    """Also where the probability is no multiple of 1/65536."""
    torch.manual_seed(7)
    found = dropout(torch.ones(3_000_000, dtype=torch.float64), p, training=True)
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean() - 1) < 4 * error


def test_the_gradient_is_that_of_the_values_that_are_kept() -> None:
    values = torch.randn(33, 7, requires_grad=True)
    torch.manual_seed(5)
    found = dropout(values, 0.4, training=True)
    found.sum().backward()
    torch.testing.assert_close(values.grad, found.detach() / values.detach())
    assert (values.grad == 0).any()


def test_torchs_generator_decides() -> None:
    values = torch.randn(5, 3).T  # in no order of memory
    torch.manual_seed(5)
    one, two = (dropout(values, 0.5, training=True) for _ in range(2))
    torch.manual_seed(5)
    assert torch.equal(dropout(values, 0.5, training=True), one)
    assert not torch.equal(one, two)


def test_nothing_is_dropped_otherwise() -> None:
    values = torch.randn(4, 4)
    assert dropout(values, 0.5, training=False) is values
    assert dropout(values, 0.0, training=True) is values
    assert dropout(values[:0], 0.5, training=True).shape == (0, 4)
    assert dropout(values.bfloat16(), 0.5, training=True).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(64,), (1, 64), (5, 7, 64), (0, 64), (300, 64)])
def test_linear_is_torchs(shape: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    given = torch.randn(shape), torch.randn(96, 64), torch.randn(96)
    ours = [each.clone().requires_grad_() for each in given]
    theirs = [each.double().requires_grad_() for each in given]
    found, expected = linear(*ours), F.linear(*theirs)
    torch.testing.assert_close(found, expected.float(), atol=1e-4, rtol=1e-5)
    towards = torch.randn(found.shape)
    found.backward(towards)
    expected.backward(towards.double())
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad.float(), atol=1e-3, rtol=1e-5)


def test_what_needs_no_gradient_gets_none() -> None:
    values, weight, bias = torch.randn(3, 4), torch.randn(2, 4, requires_grad=True), torch.randn(2)
    linear(values, weight, bias).sum().backward()
    torch.testing.assert_close(weight.grad, values.sum(dim=0).expand(2, 4))


def test_mixed_precision_is_torchs() -> None:
    values, weight, bias = torch.randn(3, 4), torch.randn(2, 4), torch.randn(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = linear(values, weight, bias), F.linear(values, weight, bias)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)


def test_the_switch_for_products_is_set_back() -> None:
    before = torch.backends.mkldnn.matmul.fp32_precision
    with pytest.raises(ZeroDivisionError), onednn_products():
        raise ZeroDivisionError
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_products_keep_float32() -> None:
    """Sums of 64 products of float32 are off by some 1e-6; of bfloat16, by 1e-2."""
    torch.manual_seed(0)
    states, weight = torch.randn(256, 64), torch.randn(1000, 64)
    with onednn_products():
        product = states @ weight.T
    torch.testing.assert_close(
        product.double(), states.double() @ weight.double().T, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("masked", ["causal", "padded", "nowhere"])
def test_attention_with_dropout_drops_softmax_weights(masked: str) -> None:
    generator = torch.Generator().manual_seed(3)
    query, key = (torch.randn(64, 2, 20, 8, generator=generator) for _ in range(2))
    lengths = torch.randint(1, 21, (64, 1, 1, 1), generator=generator)
    padded = torch.arange(20).expand(64, 1, 1, 20) < lengths
    allowed = {
        "causal": torch.ones(20, 20).tril().bool(),
        "padded": padded,
        "nowhere": torch.ones(20, 20).bool(),
    }[masked]
    scores = (query.double() @ key.double().mT / 8**0.5).masked_fill(~allowed, -torch.inf)
    expected = scores.softmax(dim=-1)

    # Values that are the identity matrix give the weights themselves.
    found = dot_product_attention(
        query,
        key,
        torch.eye(20).expand(64, 2, 20, 20),
        attended=padded if masked == "padded" else None,
        causal=masked == "causal",
        p=0.25,
    )
    kept = found != 0
    torch.testing.assert_close(found[kept], (expected / 0.75)[kept].float(), rtol=1e-5, atol=1e-7)
    positive = expected > 1e-7
    assert not kept[expected == 0].any()
    assert kept[positive].double().mean().item() == pytest.approx(0.75, abs=0.01)


def test_gradients_of_attention_with_dropout() -> None:
    torch.manual_seed(5)
    inputs = [torch.randn(2, 2, 5, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]

    def seeded(*tensors: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(7)
        return dot_product_attention(*tensors, causal=True, p=0.5)

    assert torch.autograd.gradcheck(seeded, inputs)
