"""AlphaRec against dense matrices: texts, network, graph and loss computed from their formulas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.language_keys import TextEncoderConfig
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.language.embeddings import item_embeddings
from experiments.protocol.split import Sequences, Split
from experiments.training.build import build
from experiments.training.context import TrainingContext

ENCODER = {"name": "tiny", "width": 24}
USERS = np.arange(1, 60)


@pytest.fixture
def made(tiny_data: Prepared, tiny_split: Split, tmp_path: Path) -> tuple[Any, Any]:
    context = TrainingContext(
        data=tiny_data, split=tiny_split, seed=3, device=torch.device("cpu"), folder=tmp_path
    )
    values = {"name": "AlphaRec", "strategy": "pairs", "text_encoder": ENCODER, "n_layers": 2}
    model, dataset, _ = build(resolve_model({**values, "hidden_size": 16}).last, context)
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(5)
    return model.eval(), dataset


def dense(model: Any, data: Prepared, history: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of users and items from the paper's formulas, float64."""
    texts = item_embeddings(TextEncoderConfig.of(ENCODER), data).double().numpy()
    texts[1:] -= texts[1:].mean(axis=0)
    texts[1:] /= np.linalg.norm(texts[1:], axis=1, keepdims=True)
    n_users, n_items = len(history.indptr) - 1, len(texts)
    seen = np.zeros((n_users, n_items))
    for user in range(n_users):
        seen[user, history.of(user)] = 1
    own = seen @ texts / np.maximum(seen.sum(axis=1, keepdims=True), 1)
    first, _, last = model.network
    weights = [
        value.detach().double().numpy() for value in (*first.parameters(), *last.parameters())
    ]
    hidden = np.concatenate([own, texts]) @ weights[0].T + weights[1]
    layer = np.where(hidden > 0, hidden, 0.01 * hidden) @ weights[2].T + weights[3]
    adjacency = np.block(
        [[np.zeros((n_users, n_users)), seen], [seen.T, np.zeros((n_items, n_items))]]
    )
    degree = adjacency.sum(axis=1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros(len(degree)), where=degree > 0)
    graph = scale[:, None] * adjacency * scale
    total = layer + graph @ layer + graph @ graph @ layer
    unit = total / np.linalg.norm(total, axis=1, keepdims=True)
    return unit[:n_users], unit[n_users:]


@pytest.mark.parametrize("phase", ["valid", "test"])
def test_scores_are_cosines_of_propagated_texts(
    made: tuple[Any, Any], tiny_data: Prepared, tiny_split: Split, phase: Any
) -> None:
    model, dataset = made
    users, items = dense(model, tiny_data, tiny_split.history(phase))
    expected = users[USERS] @ items.T
    scorer = RecBoleScorer(model, dataset=dataset, history=tiny_split.history(phase))
    found = scorer.score(USERS)
    assert expected[:, 1:].std() > 0.03
    np.testing.assert_allclose(found[:, 1:], expected[:, 1:], atol=2e-5)


def test_the_loss_is_the_softmax_of_the_positive_among_the_batchs_negatives(
    made: tuple[Any, Any], tiny_data: Prepared, tiny_split: Split
) -> None:
    model, _ = made
    users, items = dense(model, tiny_data, tiny_split.history("valid"))
    batch = {"user_id": [3, 9, 11], "item_id": [5, 8, 13], "neg_item_id": [21, 5, 34]}
    expected = []
    for user, item in zip(batch["user_id"], batch["item_id"], strict=True):
        others = [other for other in batch["neg_item_id"] if other != item]
        logits = np.array([users[user] @ items[each] for each in (item, *others)]) / 0.15
        expected.append(np.log(np.exp(logits).sum()) - logits[0])
    tensors = {name: torch.tensor(ids) for name, ids in batch.items()}
    loss = model.calculate_loss(Interaction(tensors))
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-4)
    loss.backward()
    assert all(value.grad.abs().max() > 0 for value in model.parameters())
