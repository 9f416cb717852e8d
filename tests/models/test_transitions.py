"""Linear transitions against normal equations written out in numpy, row by row."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from experiments.config.language_keys import TextEncoderConfig
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.language.embeddings import item_embeddings
from experiments.protocol.split import Split
from experiments.training.stages import Trained

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
