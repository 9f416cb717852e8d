"""Neighbours of users against exact fractions, user by user; profiles of who has none."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import Sequences, Split
from experiments.training.stages import Trained
from models.userknn import UserKNN, codes, nearest
from paddock import UserColumn

USERS = np.arange(1, 201)
ZERO = np.array([0])


@pytest.fixture
def trained(fit, tiny_data: Prepared, tiny_split: Split):  # type: ignore[no-untyped-def]
    def make(**values: Any) -> Trained:
        model = {"name": "UserKNN", "strategy": "solved", **values}
        return fit(resolve_model(model), tiny_data, tiny_split)

    return make


def score(trained: Trained, history: Sequences, users: NDArray[np.int64] = USERS) -> Any:
    return RecBoleScorer(trained.model, dataset=trained.dataset, history=history).score(users)


def items_of(history: Sequences) -> dict[int, set[int]]:
    return {user: set(history.of(user).tolist()) for user in USERS.tolist()}


def plain_scores(split: Split, k: int) -> NDArray[np.float64]:
    """Users compared one by one, with fractions, so that no rounding orders them."""
    known, own = items_of(split.history("valid")), items_of(split.history("test"))
    scores = np.zeros((len(USERS), split.n_items + 1))
    for user in USERS.tolist():
        squared = {
            other: Fraction(len(own[user] & items) ** 2, len(own[user]) * len(items))
            for other, items in known.items()
            if other != user and own[user] & items
        }
        for other in sorted(squared, key=lambda each: (-squared[each], each))[:k]:
            scores[user - 1, list(known[other])] += float(squared[other]) ** 0.5
    return scores


@pytest.mark.parametrize("k", [1, 5, 40, 1000])
def test_scores_are_summed_similarities_of_the_nearest(trained, tiny_split: Split, k: int) -> None:  # type: ignore[no-untyped-def]
    expected = plain_scores(tiny_split, k)
    assert expected.any(axis=1).all()
    found = score(trained(k=k), tiny_split.history("test")).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_it_reads_the_valid_item_of_the_user_and_of_nobody_else(  # type: ignore[no-untyped-def]
    trained, tiny_split: Split
) -> None:
    made, history = trained(), tiny_split.history("test")
    alone = Sequences(
        indptr=np.where(np.arange(len(history.indptr)) > 7, history.lengths[7], 0),
        items=history.of(7),
    )
    both, user = score(made, history)[6], np.array([7])
    assert (score(made, alone, user)[0] == both).all()
    assert (score(made, tiny_split.history("valid"), user)[0] != both).any()


def test_in_parts_it_is_the_same(  # type: ignore[no-untyped-def]
    trained, tiny_split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, history = trained(), tiny_split.history("test")
    whole = score(made, history)
    monkeypatch.setattr("models.userknn._CELLS", 3 * 201)
    assert (score(made, history) == whole).all()


def test_without_a_history_it_is_popularity_by_profile(  # type: ignore[no-untyped-def]
    trained, tiny_data: Prepared, tiny_split: Split
) -> None:
    empty = Sequences(indptr=np.zeros(tiny_data.n_users + 2, np.int64), items=np.zeros(0, np.int32))
    countries = tiny_data.user_features["country"].to_list()
    assert 1 < len(set(countries)) < 20
    known = items_of(tiny_split.history("valid"))
    everyone = Counter(item for items in known.values() for item in items)

    def order(by_profile: Counter[int]) -> list[tuple[int, int]]:
        return [(by_profile[item], everyone[item]) for item in range(1, tiny_data.n_items + 1)]

    found = score(trained(), empty)[:, 1:].numpy()
    ages = tiny_data.user_features["age"].to_list()
    both = score(trained(user_columns=["country", "age"]), empty)[:, 1:].numpy()
    for row in range(0, 200, 17):
        for scores, alike in (
            (found[row], lambda user, row=row: countries[user - 1] == countries[row]),
            (
                both[row],
                lambda user, row=row: (
                    (countries[user - 1], ages[user - 1]) == (countries[row], ages[row])
                ),
            ),
        ):
            counted = Counter(item for user in known if alike(user) for item in known[user])
            ranked = np.unique(scores, return_inverse=True)[1]
            expected = order(counted)
            assert ranked.tolist() == [sorted(set(expected)).index(each) for each in expected]
    assert (found[0] != both[0]).any()
    # Without columns, and for an id that has none, all users are of one profile.
    counts = [everyone[item] for item in range(1, tiny_data.n_items + 1)]
    for scores in (score(trained(user_columns=[]), empty)[7], score(trained(), empty, ZERO)[0]):
        ranked = np.unique(scores[1:].numpy(), return_inverse=True)[1]
        assert ranked.tolist() == [sorted(set(counts)).index(each) for each in counts]


def test_a_column_that_is_not_there_is_named(trained, tiny_data: Prepared) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(
        PaddockError, match=r"model\.user_columns holds contry.*of tiny: did you mean country\?"
    ):
        trained(user_columns=["contry"])


def test_data_without_columns_of_users_has_none(
    tiny_data: Prepared, tiny_split: Split, fit
) -> None:  # type: ignore[no-untyped-def]
    types = {**tiny_data.manifest["feature_types"], "user": [["user_id", "token"]]}
    bare = replace(tiny_data, manifest={**tiny_data.manifest, "feature_types": types})
    made = fit(resolve_model({"name": "UserKNN", "strategy": "solved"}), bare, tiny_split)
    assert made.model._codes_UC.shape == (201, 0)
    with pytest.raises(PaddockError, match="they have no columns"):
        fit(
            resolve_model({"name": "UserKNN", "strategy": "solved", "user_columns": ["age"]}),
            bare,
            tiny_split,
        )


def test_a_missing_value_is_not_compared() -> None:
    model = object.__new__(UserKNN)
    model.__dict__["neighbours_UN"] = sp.csr_matrix(
        np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]], np.float32)
    )
    columns = [
        UserColumn("token", [None, "f", "m", "f", None]),
        UserColumn("token_seq", [None, ["a", "b"], [], ["b"], ["b"]]),
    ]
    model.__dict__["_codes_UC"] = codes(columns, 5)
    assert model._popular(1).astype(int).tolist() == [0, 1, 0]
    assert model._popular(2).astype(int).tolist() == [0, 0, 1]  # another f counts not for an m
    assert model._popular(4).astype(int).tolist() == [0, 1, 1]  # a b of any sex
    assert model._popular(0).astype(int).tolist() == [0, 2, 2]


def test_equal_cosines_are_in_the_order_of_ids() -> None:
    """2 / sqrt(3 * 6), 1 / sqrt(3 * 1.5) and the like round to different numbers."""
    known = np.zeros((6, 40), np.float32)
    known[1, [1, 2, 3, *range(10, 25)]] = 1  # 3 of 18: 9 / 18
    known[2, [1, *range(30, 31)]] = 1  # 1 of 2: 1 / 2
    known[3, [1, 2, *range(10, 16)]] = 1  # 2 of 8: 4 / 8
    known[4, [1, 2, 3, 4]] = 1
    known[5, [39]] = 1
    row = known[[0]].copy()
    row[0, 1:8] = 1
    for k, expected in ((1, [4]), (2, [1, 4]), (3, [1, 2, 4]), (5, [1, 2, 3, 4])):
        found = nearest(sp.csr_matrix(row), sp.csr_matrix(known), k, apart=np.array([0]))
        assert sorted(found.indices.tolist()) == expected
