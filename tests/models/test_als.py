"""Alternating least squares against normal equations in numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import Split
from experiments.training.stages import Trained

Floats = NDArray[np.float64]

REG, ALPHA = 3.0, 2.5
VALUES = {
    "name": "ALS",
    "strategy": "alternating",
    "embedding_size": 8,
    "reg_weight": REG,
    "alpha": ALPHA,
    "keep": "last",
    "stopping_step": 0,
}


def interactions(split: Split) -> Floats:
    rows = np.zeros((split.n_users + 1, split.n_items + 1))
    np.add.at(rows, (split.train_users, split.train_items), 1)
    return rows


def solved(rows: Floats, fixed: Floats) -> Floats:
    """Eq. 4 of the paper, row by row, with a confidence of ALPHA where there is an interaction."""
    made = np.zeros((len(rows), fixed.shape[1]))
    for number, row in enumerate(rows):
        confidence = np.where(row > 0, ALPHA * row, 1.0)
        left = fixed.T @ (confidence[:, None] * fixed) + REG * np.eye(fixed.shape[1])
        made[number] = np.linalg.solve(left, fixed.T @ (confidence * (row > 0)))
    return made


def loss(rows: Floats, users: Floats, items: Floats) -> float:
    """Eq. 3 by unit of confidence."""
    confidence = np.where(rows > 0, ALPHA * rows, 1.0)
    errors = confidence * ((rows > 0) - users @ items.T) ** 2
    return float((errors.sum() + REG * ((users**2).sum() + (items**2).sum())) / confidence.sum())


def factors(model: Any) -> tuple[Floats, Floats]:
    return model.user_factors.double().numpy(), model.item_factors.detach().double().numpy()


@pytest.fixture
def trained(fit, tiny_data: Prepared, tiny_split: Split):  # type: ignore[no-untyped-def]
    def make(epochs: int, **values: Any) -> Trained:
        return fit(resolve_model({**VALUES, "epochs": epochs, **values}), tiny_data, tiny_split)

    return make


def test_an_exact_alternation_solves_the_normal_equations(trained, tiny_split: Split) -> None:  # type: ignore[no-untyped-def]
    before = factors(trained(1, use_cg=False).model)
    after = factors(trained(2, use_cg=False).model)
    rows = interactions(tiny_split)
    np.testing.assert_allclose(after[0], solved(rows, before[1]), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(after[1], solved(rows.T, after[0]), rtol=1e-3, atol=1e-4)


def test_conjugate_gradients_end_at_the_exact_loss(trained, tiny_split: Split) -> None:  # type: ignore[no-untyped-def]
    rows = interactions(tiny_split)
    model = trained(30).model
    assert model.alternate() == pytest.approx(loss(rows, *factors(model)), rel=1e-4)
    exact = loss(rows, *factors(trained(30, use_cg=False).model))
    assert loss(rows, *factors(model)) == pytest.approx(exact, rel=0.01)


def test_a_user_is_solved_for_the_history_at_test(trained, tiny_split: Split) -> None:  # type: ignore[no-untyped-def]
    made = trained(3)
    scorer = RecBoleScorer(made.model, dataset=made.dataset, history=tiny_split.history("test"))
    rows = interactions(tiny_split)
    history = tiny_split.history("test")
    for user in (1, 50, 200):
        rows[user] = 0
        np.add.at(rows[user], history.of(user), 1)
    users, items = np.array([1, 50, 200]), factors(made.model)[1]
    expected = solved(rows[users], items) @ items.T
    np.testing.assert_allclose(scorer.score(users).numpy(), expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(
        scorer.score(users),
        torch.from_numpy(factors(made.model)[0][users] @ items.T).float(),
        atol=1e-4,
    )
