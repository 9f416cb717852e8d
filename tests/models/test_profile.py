"""A network from users' columns: its features against scikit-learn's, its optimum against counts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import Sequences, Split
from experiments.training.stages import Trained
from models._profiles import ProfileEncoder
from paddock import UserColumn

USERS = np.arange(1, 201)
COLUMNS = {
    "age": UserColumn("float", [None, 20.0, 50.0, None, 32.0]),
    "sex": UserColumn("token", [None, "m", "f", "f", None]),
    "skin": UserColumn("token_seq", [None, ["dry", "red"], [], ["oily"], None]),
}


@pytest.fixture
def trained(fit, tiny_data: Prepared, tiny_split: Split):  # type: ignore[no-untyped-def]
    def make(data: Prepared = tiny_data, **values: Any) -> Trained:
        common = {"name": "Profile", "strategy": "rows", "keep": "last", "stopping_step": 0}
        return fit(resolve_model({**common, **values}), data, tiny_split)

    return make


def scores(made: Trained, history: Sequences) -> np.ndarray:
    return RecBoleScorer(made.model, dataset=made.dataset, history=history).score(USERS).numpy()


def test_features_have_a_place_for_every_value_and_one_for_unknown() -> None:
    encoder = ProfileEncoder(COLUMNS)
    assert encoder.column_F.tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    deviation = np.std([20, 50, 32])
    expected = np.array(
        [
            [0, 1, 0, 0, 1, 0, 0, 0, 1],  # number, unknown; f, m, unknown; dry, oily, red, unknown
            [(20 - 34) / deviation, 0, 0, 1, 0, 1, 0, 1, 0],
            [(50 - 34) / deviation, 0, 1, 0, 0, 0, 0, 0, 1],
            [0, 1, 1, 0, 0, 0, 1, 0, 0],
            [(32 - 34) / deviation, 0, 0, 0, 1, 0, 0, 0, 1],
        ]
    )
    np.testing.assert_allclose(encoder.rows().toarray(), expected, rtol=1e-6)
    for user in range(5):
        values = {name: column.values[user] for name, column in COLUMNS.items()}
        np.testing.assert_array_equal(encoder.vector(values), encoder.rows().toarray()[user])
    np.testing.assert_array_equal(encoder.vector({}), encoder.rows().toarray()[0])


def test_a_person_of_no_data_set_has_features_too() -> None:
    encoder = ProfileEncoder(COLUMNS)
    given = encoder.vector({"age": "50", "sex": "x", "skin": ["red", "blue"]})
    expected = np.array([16 / np.std([20, 50, 32]), 0, 0, 0, 1, 0, 0, 1, 0])
    np.testing.assert_allclose(given, expected, rtol=1e-6)
    np.testing.assert_array_equal(encoder.vector({"age": "", "sex": None}), encoder.vector({}))
    np.testing.assert_array_equal(
        encoder.vector({"skin": "dry"}), encoder.vector({"skin": ["dry"]})
    )
    with pytest.raises(ValueError, match=r"sax is no column: choose of age, sex, skin"):
        encoder.vector({"sax": "f"})
    with pytest.raises(ValueError, match=r"age='old' is no number"):
        encoder.vector({"age": "old"})
    # Numbers as tokens, numbers that are all equal, and a column without a value.
    edge = ProfileEncoder(
        {
            "zip": UserColumn("token", [None, "5", "7"]),
            "same": UserColumn("float", [None, 3.0, 3.0]),
            "none": UserColumn("token", [None, None, None]),
        }
    )
    assert edge.vector({"zip": 7, "same": 4, "none": "a"}).tolist() == [0, 1, 0, 1, 0, 1]


def test_scores_are_the_network_of_scikit_learns_features(  # type: ignore[no-untyped-def]
    trained, tiny_data: Prepared, tiny_split: Split
) -> None:
    made = trained(epochs=2, mlp_hidden_size=[8, 6])
    table = tiny_data.user_features
    ages = StandardScaler().fit_transform(table[["age"]].to_numpy())
    countries = OneHotEncoder(sparse_output=False).fit_transform(table[["country"]].to_numpy())
    none = np.zeros((len(table), 1))
    states = np.hstack([ages, none, countries, none])
    weights = {name: value.numpy() for name, value in made.model.state_dict().items()}
    for layer in (0, 3):
        linear = weights[f"network.{layer}.weight"], weights[f"network.{layer}.bias"]
        states = np.maximum(states @ linear[0].T + linear[1], 0)
    expected = states @ weights["network.6.weight"].T + weights["network.6.bias"]
    found = scores(made, tiny_split.history("test"))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert expected.std() > 0.01
    row = table.row(4, named=True)
    person = made.model.scores_of({"age": row["age"], "country": row["country"]})
    np.testing.assert_allclose(person.numpy(), expected[4], atol=1e-5)
    assert not torch.allclose(made.model.scores_of({"country": row["country"]}), person)


def test_the_optimum_of_one_column_is_the_share_of_each_item(  # type: ignore[no-untyped-def]
    trained, tiny_data: Prepared, tiny_split: Split
) -> None:
    """Without hidden layers and hidden values the likelihood is greatest where shares are met."""
    made = trained(
        epochs=400,
        eval_step=400,
        learning_rate=0.05,
        mlp_hidden_size=[],
        column_dropout=0.0,
        user_columns=["country"],
    )
    countries = tiny_data.user_features["country"].to_numpy()
    known = tiny_split.history("valid")
    shares = {country: np.zeros(tiny_data.n_items + 1) for country in set(countries)}
    for user in USERS.tolist():
        shares[countries[user - 1]][np.unique(known.of(user))] += 1
    found = torch.from_numpy(scores(made, known))[:, 1:].softmax(dim=1).numpy()
    for user in USERS.tolist():
        expected = shares[countries[user - 1]][1:]
        np.testing.assert_allclose(found[user - 1], expected / expected.sum(), atol=2e-3)


def test_hidden_values_teach_what_is_unknown(  # type: ignore[no-untyped-def]
    trained, tiny_data: Prepared, tiny_split: Split
) -> None:
    """A person of whom nothing is known is given the popular items."""
    made = trained(
        epochs=300, eval_step=300, learning_rate=0.02, mlp_hidden_size=[], column_dropout=0.5
    )
    counts = np.zeros(tiny_data.n_items + 1)
    for user in USERS.tolist():
        counts[np.unique(tiny_split.history("valid").of(user))] += 1
    found = made.model.scores_of({}).softmax(dim=0).numpy()[1:]
    assert np.corrcoef(found, counts[1:])[0, 1] > 0.95
    never = trained(
        epochs=300, eval_step=300, learning_rate=0.02, mlp_hidden_size=[], column_dropout=0.0
    )
    missed = never.model.scores_of({}).softmax(dim=0).numpy()[1:]
    assert (
        np.abs(missed - counts[1:] / counts.sum()).sum()
        > 2 * np.abs(found - counts[1:] / counts.sum()).sum()
    )


def test_data_without_columns_of_users_is_refused(trained, tiny_data: Prepared) -> None:  # type: ignore[no-untyped-def]
    types = {**tiny_data.manifest["feature_types"], "user": [["user_id", "token"]]}
    bare = replace(tiny_data, manifest={**tiny_data.manifest, "feature_types": types})
    with pytest.raises(PaddockError, match=r"^tiny has no columns of its users, .* file of users"):
        trained(bare)
    with pytest.raises(PaddockError, match=r"user_columns=\[\] .*: choose of age, country"):
        trained(user_columns=[])
