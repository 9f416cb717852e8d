"""A model that predicts ratings: its loss by hand, its errors against scikit-learn."""

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from sklearn.metrics import mean_absolute_error, mean_squared_error

from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.evaluation.rating_errors import rating_errors
from experiments.protocol.split import TEST, Split
from experiments.training.stages import Trained

VALUES = {
    "name": "BiasedMF",
    "strategy": "ratings",
    "embedding_size": 4,
    "reg_weight": 0.3,
    "epochs": 1,
    "train_batch_size": 512,
}


@pytest.fixture(scope="module")
def trained(fit, tiny_data: Prepared, tiny_split: Split) -> Trained:  # type: ignore[no-untyped-def]
    return fit(resolve_model(VALUES), tiny_data, tiny_split)


def rated(model: torch.nn.Module, users: list[int], items: list[int], ratings: list[float]):  # type: ignore[no-untyped-def]
    columns = (model.USER_ID, users), (model.ITEM_ID, items), (model.RATING, ratings)
    return Interaction({name: torch.tensor(values) for name, values in columns})


def test_the_loss_is_that_of_the_paper(trained: Trained) -> None:
    model = trained.model
    users, items, ratings = [3, 7, 3], [5, 1, 9], [4.0, 2.0, 5.0]
    p, q = (
        each.weight.detach().double().numpy()
        for each in (model.user_embedding, model.item_embedding)
    )
    b, c = (
        each.weight.detach().double().numpy()[:, 0] for each in (model.user_bias, model.item_bias)
    )
    losses = [
        (r - float(model.mean) - b[u] - c[i] - p[u] @ q[i]) ** 2
        + 0.3 * (p[u] @ p[u] + q[i] @ q[i] + b[u] ** 2 + c[i] ** 2)
        for u, i, r in zip(users, items, ratings, strict=True)
    ]
    found = model.calculate_loss(rated(model, users, items, ratings))
    assert float(found.detach()) == pytest.approx(np.mean(losses), rel=1e-5)


def test_data_without_ratings_is_refused(fit, prepared) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PaddockError, match=r"toy has no ratings, which BiasedMF learns from"):
        fit(resolve_model(VALUES), *prepared([[1, 2, 3, 4], [2, 3, 4, 5]]))


def test_ratings_stay_inside_the_scale(trained: Trained) -> None:
    model = trained.model
    pairs = rated(model, [1, 2], [3, 4], [0.0, 0.0])
    with torch.no_grad():
        kept = model.user_bias.weight.clone()
        model.user_bias.weight[1], model.user_bias.weight[2] = 100, -100
        lowest, highest = model.scale.tolist()
        assert model.predict_ratings(pairs).tolist() == [highest, lowest]
        assert model.predict(pairs).abs().min() > 50
        model.user_bias.weight.copy_(kept)


def test_errors_are_those_of_scikit_learn(
    trained: Trained, tiny_data: Prepared, tiny_split: Split
) -> None:
    model = trained.model
    rows = np.flatnonzero(tiny_split.part == TEST)
    given = tiny_data.ratings[rows]
    told = [
        model.predict_ratings(rated(model, [int(user)], [int(item)], [0.0])).item()
        for user, item in zip(tiny_data.users[rows], tiny_data.items[rows], strict=True)
    ]
    found = rating_errors(model, "test", data=tiny_data, split=tiny_split)
    assert found["ratings/rmse"] == pytest.approx(mean_squared_error(given, told) ** 0.5, rel=1e-5)
    assert found["ratings/mae"] == pytest.approx(mean_absolute_error(given, told), rel=1e-5)
