"""PureSVD against the dense decomposition of numpy, and scikit-learn's."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import Sequences, Split

USERS = np.arange(1, 201)


def rows_of(history: Sequences, n_items: int) -> NDArray[np.float64]:
    rows = np.zeros((201, n_items + 1))
    for user in USERS.tolist():
        rows[user, history.of(user)] = 1.0
    return rows


@pytest.mark.parametrize("factors", [1, 10, 64, 121, 500])
def test_scores_are_the_history_on_the_trained_vectors(
    fit: Any, tiny_data: Prepared, tiny_split: Split, factors: int
) -> None:
    trained_on = rows_of(tiny_split.history("valid"), tiny_data.n_items)
    _, values, vectors = np.linalg.svd(trained_on)
    assert factors >= 121 or values[factors - 1] > values[factors] + 1e-3  # they are determined
    at_test = rows_of(tiny_split.history("test"), tiny_data.n_items)[USERS]
    expected = at_test @ vectors[:factors].T @ vectors[:factors]
    model = resolve_model({"name": "PureSVD", "strategy": "solved", "factors": factors})
    made = fit(model, tiny_data, tiny_split)
    history = tiny_split.history("test")
    scorer = RecBoleScorer(made.model, dataset=made.dataset, history=history)
    found = scorer.score(USERS).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert made.model.vectors_NF.shape[1] == min(factors, 121)
    if factors == 10:
        theirs = TruncatedSVD(factors, algorithm="arpack").fit(trained_on)
        np.testing.assert_allclose(
            found, theirs.inverse_transform(theirs.transform(at_test)), atol=1e-5
        )
        # What is learned is of the training part.
        assert np.abs(found - trained_on[USERS] @ vectors[:10].T @ vectors[:10]).max() > 0.1
