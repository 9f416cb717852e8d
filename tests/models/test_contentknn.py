"""Likeness of texts to those of a history, item by item; no interaction counts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.language_keys import TextEncoderConfig
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.language.embeddings import item_embeddings
from experiments.protocol.split import Split
from experiments.training.stages import Trained

USERS = np.arange(1, 201)
ENCODER = {"name": "tiny", "width": 32}
DECAY, LONGEST = 1.5, 9


@pytest.fixture
def trained(fit, tiny_data: Prepared, tiny_split: Split):  # type: ignore[no-untyped-def]
    def make(split: Split = tiny_split, **values: Any) -> Trained:
        common = {"name": "ContentKNN", "strategy": "solved", "text_encoder": ENCODER}
        own = {"profile_decay": DECAY, "MAX_ITEM_LIST_LENGTH": LONGEST, **values}
        return fit(resolve_model({**common, **own}), tiny_data, split)

    return make


def scores(made: Trained, split: Split) -> torch.Tensor:
    history = split.history("test")
    return RecBoleScorer(made.model, dataset=made.dataset, history=history).score(USERS)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_scores_are_weighted_likeness(  # type: ignore[no-untyped-def]
    trained, tiny_data: Prepared, tiny_split: Split, monkeypatch: pytest.MonkeyPatch, power: float
) -> None:
    texts = item_embeddings(TextEncoderConfig.of(ENCODER), tiny_data).double().numpy()[1:]
    cosine = cosine_similarity(texts - texts.mean(axis=0))
    assert cosine.min() < -0.1
    expected = np.zeros((len(USERS), tiny_data.n_items))
    for row, user in enumerate(USERS.tolist()):
        for age, item in enumerate(tiny_split.history("test").of(user)[::-1][:LONGEST].tolist()):
            for other, like in enumerate(cosine[item - 1]):
                signed = abs(like) ** power if like > 0 else -(abs(like) ** power)
                expected[row, other] += np.exp(-age / DECAY) * signed
    made = trained(text_power=power)
    found = scores(made, tiny_split)
    np.testing.assert_allclose(found[:, 1:], expected, atol=1e-4)
    monkeypatch.setattr("models.contentknn._CELLS", 5 * (tiny_data.n_items + 1))
    torch.testing.assert_close(scores(made, tiny_split), found, atol=1e-5, rtol=1e-5)


def test_no_interaction_is_learned_from(trained, tiny_split: Split) -> None:  # type: ignore[no-untyped-def]
    shuffled = np.random.default_rng(1).permutation(tiny_split.row_items)
    other = replace(tiny_split, row_items=shuffled)
    assert not np.array_equal(other.train_items, tiny_split.train_items)
    torch.testing.assert_close(
        scores(trained(), tiny_split), scores(trained(split=other), tiny_split), rtol=0, atol=0
    )
