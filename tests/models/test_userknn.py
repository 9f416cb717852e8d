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
from models.userknn import UserKNN, codes, nearest, parts_users
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


def eighth(values: list[float], value: float) -> int:
    """Which of eight groups of equally many a value lies in, by counting."""
    edges = {np.quantile(values, part / 8) for part in range(1, 8)}
    return sum(edge <= value for edge in edges)


def group_of(user: int, profiles: list[dict[int, Any]], trained: set[int], fewest: int) -> set[int]:
    """The users of the same profile, columns left out one by one, by plain sets."""
    sharing = [
        {other for other in trained - {user} if column[other] == column[user]}
        for column in profiles
    ]
    while len(sharing) > 1 and len(set.intersection(*sharing)) < fewest:
        sharing.remove(min(sharing, key=len))
    return set.intersection(trained - {user}, *sharing)


@pytest.mark.parametrize("fewest", [1, 4, 10, 1000])
def test_without_a_history_it_is_popularity_by_profile(  # type: ignore[no-untyped-def]
    trained, tiny_data: Prepared, tiny_split: Split, fewest: int
) -> None:
    empty = Sequences(indptr=np.zeros(tiny_data.n_users + 2, np.int64), items=np.zeros(0, np.int32))
    table = tiny_data.user_features
    countries = dict(enumerate(table["country"].to_list(), start=1))
    ages = table["age"].to_list()
    groups = dict(enumerate((eighth(ages, age) for age in ages), start=1))
    assert 1 < len(set(countries.values())) < 20
    known = {user: items for user, items in items_of(tiny_split.history("valid")).items() if items}
    everyone = Counter(item for items in known.values() for item in items)

    def ranks(among: Counter[int]) -> list[int]:
        order = [(among[item], everyone[item]) for item in range(1, tiny_data.n_items + 1)]
        return [sorted(set(order)).index(each) for each in order]

    for columns, profiles in (
        (None, [countries, groups]),
        (["age"], [groups]),
        ([], []),
    ):
        made = trained(user_columns=columns, fewest=fewest)
        scores = score(made, empty)[:, 1:].numpy()
        for user in range(1, 201, 17):
            alike = group_of(user, profiles, set(known), fewest)
            counted = Counter(item for other in alike for item in known[other])
            found = np.unique(scores[user - 1], return_inverse=True)[1]
            assert found.tolist() == ranks(counted)
    # An id that has no values is of no profile.
    counts = [everyone[item] for item in range(1, tiny_data.n_items + 1)]
    found = np.unique(score(made, empty, ZERO)[0][1:].numpy(), return_inverse=True)[1]
    assert found.tolist() == [sorted(set(counts)).index(each) for each in counts]


def test_names_and_postcodes_part_no_users_and_numbers_do() -> None:
    names = UserColumn("token", [None, *map(str, range(100))])
    postcodes = UserColumn("token", [None, *(f"{place // 2}x" for place in range(99)), "y", "z"])
    jobs = UserColumn("token", [None, *("nurse", "cook") * 50])
    incomes = UserColumn("float", [None, *(1.5 * place for place in range(100))])
    tags = UserColumn("token_seq", [None, *([str(place)] for place in range(100))])
    none = UserColumn("token", [None] * 101)
    parted = [parts_users(each) for each in (names, postcodes, jobs, incomes, tags, none)]
    assert parted == [False, False, True, True, False, True]
    # Ages that are written as words are numbers, too; eight groups of them.
    ages = UserColumn("token", [None, *(str(18 + place % 40) for place in range(100))])
    (code,) = codes([ages], 101).T
    assert code[0] == -1
    assert np.bincount(code[1:]).tolist() == pytest.approx([12.5] * 8, abs=3)
    order = np.argsort([float(value) for value in ages.values[1:]], kind="stable")
    assert (np.diff(code[1:][order]) >= 0).all()
    # Few numbers are as they are.
    few = codes([UserColumn("float", [None, 1.0, 2.0, 1.0, None])], 5)
    assert few.ravel().tolist() == [-1, 0, 1, 0, -1]


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
    model.__dict__["fewest"] = 1
    model.__dict__["neighbours_UN"] = sp.csr_matrix(
        np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]], np.float32)
    )
    columns = [
        UserColumn("token", [None, "f", "m", "f", None]),
        UserColumn("token_seq", [None, ["a", "b"], [], ["b"], ["b"]]),
    ]
    model.__dict__["_codes_UC"] = codes(columns, 5)
    assert model._popular(1).astype(int).tolist() == [0, 1, 0]
    assert model._popular(2).astype(int).tolist() == [0, 0, 0]  # no f counts for an m
    assert model._popular(4).astype(int).tolist() == [0, 1, 0]  # a b of any sex, not oneself
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
