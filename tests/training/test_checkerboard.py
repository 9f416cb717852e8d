"""A toy with a provable answer: odd users like odd items, even users like even items.

A history is drawn from one parity, so that an unseen item of that parity is the next one's equal and
no item of the other parity ever is. Counts say nothing: both parities are equally popular.
"""

from typing import Any

import numpy as np
import pytest

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import Split

N_USERS, N_ITEMS, LENGTH = 80, 40, 12

MODELS: dict[str, dict[str, Any]] = {
    "bpr": {
        "name": "BPR",
        "learning_rate": 0.02,
        "weight_decay": 1e-3,  # without, it learns every single negative by heart in the end
        "epochs": 25,
        "train_batch_size": 128,
        "embedding_size": 4,
    },
    "lightgcn": {
        "name": "LightGCN",
        "learning_rate": 0.02,
        "epochs": 8,
        "train_batch_size": 128,
        "embedding_size": 16,
    },
    "sasrec": {
        "name": "SASRec",
        "strategy": "windows",
        "MAX_ITEM_LIST_LENGTH": 12,
        "learning_rate": 5e-3,
        "epochs": 25,
        "train_batch_size": 16,
        "hidden_size": 16,
        "inner_size": 32,
        "hidden_dropout_prob": 0.1,
        "attn_dropout_prob": 0.1,
    },
    "ract": {
        "name": "RaCT",
        "train_stage": "actor_pretrain",
        "mlp_hidden_size": [32],
        "latent_dimension": 16,
        "epochs": 25,
        "learning_rate": 5e-3,
        "train_batch_size": 20,
    },
    "ease": {"name": "EASE", "reg_weight": 10.0},
}
MODELS["bpr by pairs"] = {**MODELS["bpr"], "strategy": "pairs"}
MODELS["lightgcn by pairs"] = {**MODELS["lightgcn"], "strategy": "pairs"}


@pytest.fixture
def checkerboard(prepared: Any) -> tuple[Prepared, Split]:
    rng = np.random.default_rng(0)
    own = {1: np.arange(1, N_ITEMS + 1, 2), 0: np.arange(2, N_ITEMS + 1, 2)}
    users = range(1, N_USERS + 1)
    return prepared([rng.permutation(own[user % 2])[:LENGTH].tolist() for user in users])


def share_of_own_parity(trained: Any, data: Prepared, split: Split) -> float:
    """How many of the unseen items at the top, as many as there are of one's parity, are of it."""
    history = split.history("test")
    users = np.arange(1, data.n_users + 1)
    scorer = RecBoleScorer(trained.model, dataset=trained.dataset, history=history)
    scores_BN = scorer.score(users).double().numpy()
    parity_N = np.array([-1, *(int(token) % 2 for token in data.item_tokens[1:])])
    found, possible = 0, 0
    for user, scores_N in zip(users, scores_BN, strict=True):
        own = parity_N == int(data.user_tokens[user]) % 2
        scores_N[0] = -np.inf
        scores_N[history.of(user)] = -np.inf
        unseen_own = own.sum() - own[history.of(user)].sum()
        top = np.argsort(-scores_N, kind="stable")[:unseen_own]
        found += own[top].sum()
        possible += unseen_own
    return found / possible


@pytest.mark.parametrize("model", MODELS)
def test_models_see_the_board(model: str, fit: Any, checkerboard: tuple[Prepared, Split]) -> None:
    data, split = checkerboard
    trained = fit(resolve_model(MODELS[model]), data, split)
    assert share_of_own_parity(trained, data, split) > 0.98


def test_popularity_cannot_see_it(fit: Any, checkerboard: tuple[Prepared, Split]) -> None:
    data, split = checkerboard
    trained = fit(resolve_model({"name": "Pop"}), data, split)
    # 9 of the 29 unseen items are of one's own parity.
    assert share_of_own_parity(trained, data, split) == pytest.approx(9 / 29, abs=0.1)
