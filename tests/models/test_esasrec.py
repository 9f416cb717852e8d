"""eSASRec: the layers written out row by row with numpy must give the same scores."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import Split
from experiments.training.build import build
from experiments.training.context import TrainingContext

EPS = 1e-6
Make = Callable[..., tuple[Any, Any]]


@pytest.fixture
def make(tiny_data: Prepared, tiny_split: Split, tmp_path: Path) -> Make:
    """A model with weights that no symmetry hides, and its data set."""

    def made(**values: Any) -> tuple[Any, Any]:
        keys = {
            "name": "ESASRec",
            "strategy": "windows",
            "MAX_ITEM_LIST_LENGTH": 6,
            "n_layers": 2,
            "n_heads": 2,
            "hidden_size": 8,
            "inner_size": 12,
        }
        context = TrainingContext(
            data=tiny_data, split=tiny_split, seed=3, device=torch.device("cpu"), folder=tmp_path
        )
        model, dataset, _ = build(resolve_model({**keys, **values}).last, context)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for value in model.parameters():
                value.add_(0.3 * torch.randn(value.shape, generator=generator))
        return model.eval(), dataset

    return made


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def normed(rows: np.ndarray, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    centred = rows - rows.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1, keepdims=True) + EPS)
    return centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def affine(rows: np.ndarray, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def attention(rows: np.ndarray, weights: dict[str, np.ndarray], layer: str) -> np.ndarray:
    """Two heads, each position over itself and those before it."""
    query, key, value = np.split(
        affine(
            normed(rows, weights, f"{layer}.attention_norm"), weights, f"{layer}.query_key_value"
        ),
        3,
        axis=1,
    )
    width = rows.shape[1] // 2
    found = np.zeros_like(rows)
    for head in (slice(0, width), slice(width, None)):
        for at in range(len(rows)):
            scores = key[: at + 1, head] @ query[at, head] / np.sqrt(width)
            weight = np.exp(scores - scores.max())
            found[at, head] = weight / weight.sum() @ value[: at + 1, head]
    return affine(found, weights, f"{layer}.attended")


def feed_forward(rows: np.ndarray, weights: dict[str, np.ndarray], layer: str) -> np.ndarray:
    inner = affine(
        normed(rows, weights, f"{layer}.feed_forward_norm"), weights, f"{layer}.gate_and_value"
    )
    gate, value = np.split(inner, 2, axis=1)
    return affine(gate * sigmoid(gate) * value, weights, f"{layer}.fed_forward")


def scores(model: Any, history: list[int]) -> np.ndarray:
    weights = {
        name: value.double().numpy() for name, value in model.state_dict(keep_vars=False).items()
    }
    rows = weights["item_embedding.weight"][history]
    rows = rows + weights["position_embedding.weight"][: len(history)]
    for layer in ("layers.0", "layers.1"):
        added = attention(rows, weights, layer)
        rows = rows + added * sigmoid(affine(rows, weights, f"{layer}.attention_gate"))
        added = feed_forward(rows, weights, layer)
        rows = rows + added * sigmoid(affine(rows, weights, f"{layer}.feed_forward_gate"))
    last = normed(rows, weights, "last_norm")[-1]
    found: np.ndarray = weights["item_embedding.weight"] @ last
    return found


def test_scores_are_the_formulas(make: Make, tiny_split: Split) -> None:
    model, dataset = make()
    users = np.array([1, 2, 3, 50])
    history = tiny_split.history("valid")
    found = RecBoleScorer(model, dataset=dataset, history=history).score(users)
    for user, row in zip(users, found, strict=True):
        items = history.items[history.indptr[user] : history.indptr[user + 1]][-6:]
        expected = scores(model, [int(item) for item in items])
        np.testing.assert_allclose(np.asarray(row)[1:], expected[1:], rtol=1e-4, atol=1e-4)


def test_what_comes_later_changes_no_earlier_state(make: Make) -> None:
    model, _ = make()
    one, other = torch.tensor([[3, 4, 5, 6]]), torch.tensor([[3, 4, 9, 0]])
    with torch.no_grad():
        torch.testing.assert_close(model.states(one)[:, :2], model.states(other)[:, :2])
        assert not torch.allclose(model.states(one)[:, 2], model.states(other)[:, 2])


def test_dropout_acts_in_training_alone(make: Make) -> None:
    model, _ = make(hidden_dropout_prob=0.5)
    items = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        torch.testing.assert_close(model.states(items), model.states(items), rtol=0, atol=0)
        model.train()
        assert not torch.allclose(model.states(items), model.states(items))


def test_heads_must_divide_the_width(make: Make) -> None:
    with pytest.raises(PaddockError, match=r"hidden_size=8 .* n_heads=3"):
        make(n_heads=3)
