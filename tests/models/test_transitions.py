"""Linear transitions against normal equations written out in numpy, row by row."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.language_keys import TextEncoderConfig
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.language.embeddings import item_embeddings
from experiments.protocol.split import Split
from experiments.training.stages import Trained
from experiments.training.state import load_model_state, model_state
from models.lineartext import sparse_text_kernel

Floats = NDArray[np.float64]

REG, DECAY, PROFILE = 2.0, 1.5, 0.8
VALUES = {"strategy": "solved", "reg_weight": REG, "history_decay": DECAY, "profile_decay": PROFILE}
ENCODER = {"name": "tiny", "width": 32}


def plain_steps(split: Split, decay: float) -> tuple[Floats, Floats]:
    """S and T, dense; weights below 1e-4 count as nothing."""
    histories, targets = [], []
    for user in np.unique(split.train_users):
        items = split.train_items[split.train_users == user]
        for step in range(1, len(items)):
            row, target = np.zeros(split.n_items + 1), np.zeros(split.n_items + 1)
            for before in range(step):
                weight = np.exp(-(step - 1 - before) / decay)
                row[items[before]] += weight if weight >= 1e-4 else 0.0
            target[items[step]] = 1.0
            histories.append(row)
            targets.append(target)
    return np.array(histories), np.array(targets)


@pytest.fixture
def trained(fit, tiny_data: Prepared, tiny_split: Split):  # type: ignore[no-untyped-def]
    def make(name: str, **values: Any) -> Trained:
        return fit(resolve_model({"name": name, **VALUES, **values}), tiny_data, tiny_split)

    return make


def plain_kernel(texts: Floats, power: float) -> Floats:
    kernel = np.zeros((len(texts), len(texts)))
    centred = texts[1:] - texts[1:].mean(axis=0)
    for one in range(1, len(texts)):
        for other in range(1, len(texts)):
            if one != other:
                first, second = centred[one - 1], centred[other - 1]
                cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
                kernel[one, other] = max(0.0, cosine) ** power
    return kernel


@pytest.mark.parametrize("similarity", [0.0, 0.3])
def test_slist_solves_the_normal_equations(  # type: ignore[no-untyped-def]
    trained, tiny_split: Split, similarity: float
) -> None:
    histories, targets = plain_steps(tiny_split, DECAY)
    rows = np.zeros((tiny_split.n_users + 1, tiny_split.n_items + 1))
    rows[tiny_split.train_users, tiny_split.train_items] = 1.0
    left = (1 - similarity) * histories.T @ histories + similarity * rows.T @ rows
    right = (1 - similarity) * histories.T @ targets + similarity * rows.T @ rows
    expected = np.linalg.solve(left + REG * np.eye(len(left)), right)
    found = trained("SLIST", similarity_weight=similarity).model.weights_NN
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_linear_text_is_drawn_to_the_texts(  # type: ignore[no-untyped-def]
    trained, tiny_data: Prepared, tiny_split: Split
) -> None:
    alpha, power = 0.3, 2.0
    made = trained("LinearText", text_encoder=ENCODER, text_weight=alpha, text_power=power)
    texts = item_embeddings(TextEncoderConfig.of(ENCODER), tiny_data).double().numpy()
    histories, targets = plain_steps(tiny_split, DECAY)
    left = histories.T @ histories + REG * np.eye(histories.shape[1])
    right = histories.T @ targets + REG * alpha * plain_kernel(texts, power)
    expected = np.linalg.solve(left, right)
    np.testing.assert_allclose(made.model.weights_NN, expected, rtol=1e-3, atol=1e-5)


def test_without_its_texts_it_is_slist(trained) -> None:  # type: ignore[no-untyped-def]
    made = trained("LinearText", text_encoder=ENCODER, text_weight=0.0)
    np.testing.assert_allclose(
        made.model.weights_NN, trained("SLIST").model.weights_NN, rtol=1e-4, atol=1e-6
    )


def test_scores_weigh_the_history_by_recency(trained) -> None:  # type: ignore[no-untyped-def]
    model = trained("SLIST").model
    batch = {
        model.ITEM_SEQ: torch.tensor([[3, 5, 3, 0], [7, 0, 0, 0]]),
        model.ITEM_SEQ_LEN: torch.tensor([3, 1]),
    }
    found = model.full_sort_predict(batch).numpy()
    weights = model.weights_NN
    expected = weights[3] * np.exp(-2 / PROFILE) + weights[5] * np.exp(-1 / PROFILE) + weights[3]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found[1], weights[7], rtol=1e-6)


@pytest.mark.parametrize("name", ["SLIST", "LinearText"])
def test_equations_solved_for_each_history_give_the_same_scores(  # type: ignore[no-untyped-def]
    trained, tiny_split: Split, name: str
) -> None:
    values = {"similarity_weight": 0.2}
    if name == "LinearText":
        values |= {"text_encoder": ENCODER, "text_weight": 0.3, "text_neighbours": 1000}
    users = np.arange(1, tiny_split.n_users + 1)
    history = tiny_split.history("test")

    def scores(made: Trained) -> torch.Tensor:
        return RecBoleScorer(made.model, dataset=made.dataset, history=history).score(users)

    dense, sparse = trained(name, **values), trained(name, **values, dense_items=10)
    expected = scores(dense)
    assert sparse.model.weights_NN.size == 0
    torch.testing.assert_close(scores(sparse), expected, rtol=1e-3, atol=1e-4)
    tensors, plain = model_state(sparse.model)
    other = trained(name, **values, dense_items=10, reg_weight=50.0)
    assert not torch.allclose(scores(other), expected, atol=1e-2)
    load_model_state(other.model, tensors, plain)
    torch.testing.assert_close(scores(other), expected, rtol=1e-3, atol=1e-4)


def test_a_history_of_nothing_scores_nothing_where_equations_are_kept(trained) -> None:  # type: ignore[no-untyped-def]
    model = trained("SLIST", dense_items=10).model
    profile = sp.csr_matrix(([2.0], ([1], [4])), shape=(2, model.n_items), dtype=np.float32)
    found = model.scores(profile)
    assert np.abs(found[0]).max() == 0
    assert np.isfinite(found).all()
    assert np.abs(found[1]).max() > 0.01


def test_the_likest_items_are_kept(tiny_data: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.lineartext._ROWS_AT_ONCE", 17)
    texts = item_embeddings(TextEncoderConfig.of(ENCODER), tiny_data)
    found = sparse_text_kernel(texts, power=2.0, neighbours=5)
    expected = plain_kernel(texts.double().numpy(), 2.0)
    assert np.diff(found.indptr).max() == 5
    least = np.sort(expected, axis=1)[:, -5]
    expected[expected < least[:, None] - 1e-6] = 0.0
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-5)
