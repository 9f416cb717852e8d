"""BPR pair by pair against the paper's update, written out in numpy."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import Split
from experiments.training.stages import Trained

Floats = NDArray[np.float64]
RATE, REG = 0.3, 0.05
VALUES = {
    "name": "BPRSGD",
    "strategy": "sgd",
    "embedding_size": 5,
    "learning_rate": RATE,
    "reg_weight": REG,
    "keep": "last",
    "stopping_step": 0,
}


@pytest.fixture
def trained(fit, tiny_data: Prepared, tiny_split: Split):  # type: ignore[no-untyped-def]
    def make(epochs: int, split: Split = tiny_split, **values: Any) -> Trained:
        return fit(resolve_model({**VALUES, "epochs": epochs, **values}), tiny_data, split)

    return make


def factors(model: Any) -> tuple[Floats, Floats]:
    arrays = (model.user_factors.detach().numpy(), model.item_factors.detach().numpy())
    return tuple(each.astype(np.float64) for each in arrays)  # type: ignore[return-value]


def step(users: Floats, items: Floats, user: int, wanted: int, other: int) -> bool:
    """Figure 4 of the paper; the last column meets the bias and is no weight of the user."""
    own, liked, not_liked = users[user].copy(), items[wanted].copy(), items[other].copy()
    wrong = 1 / (1 + np.exp(own @ (liked - not_liked)))
    users[user, :-1] += RATE * (wrong * (liked - not_liked) - REG * own)[:-1]
    items[wanted] += RATE * (wrong * own - REG * liked)
    items[other] += RATE * (-wrong * own - REG * not_liked)
    return bool(wrong < 0.5)


def test_a_pass_takes_the_steps_of_the_paper(trained) -> None:  # type: ignore[no-untyped-def]
    """Two users with an item each: two draws, each of which is one of two steps or none."""
    model = trained(1).model
    rows = model._rows_UN.tocoo()
    model._rows_UN = type(rows)(
        (np.ones(2, np.float32), ([3, 4], [7, 8])), shape=rows.shape
    ).tocsr()
    before = factors(model)
    found = set()
    for seed in range(30):
        for own, value in zip((model.user_factors, model.item_factors), before, strict=True):
            own.data[:] = own.new_tensor(value)
        share = model.train_pass(seed)
        after = factors(model)
        possible = []
        for draws in product([(3, 7, 8), (4, 8, 7), None], repeat=2):
            users, items = before[0].copy(), before[1].copy()
            right = [step(users, items, *draw) for draw in draws if draw]
            expected = 1 - sum(right) / max(1, len(right))
            if np.allclose(users, after[0], atol=1e-5) and np.allclose(items, after[1], atol=1e-5):
                possible.append(draws)
                assert share == pytest.approx(expected)
        assert len(possible) >= 1, seed
        found.add(possible[0])
    assert len(found) > 3


def test_the_draws_depend_on_the_seed_alone(trained) -> None:  # type: ignore[no-untyped-def]
    model, again = trained(2).model, trained(2).model
    np.testing.assert_array_equal(factors(model)[1], factors(again)[1])
    model.train_pass(5)
    again.train_pass(6)
    assert not np.allclose(factors(model)[1], factors(again)[1], atol=1e-4)


def test_what_is_wanted_comes_to_stand_above_the_rest(trained) -> None:  # type: ignore[no-untyped-def]
    model = trained(40).model
    users, items = factors(model)
    scores = users @ items.T
    seen = model._rows_UN.toarray() > 0
    seen_mean, other_mean = scores[seen].mean(), scores[1:, 1:][~seen[1:, 1:]].mean()
    assert seen_mean > other_mean + 1
    assert model.train_pass(1) < 0.25
