"""Coverage, Gini index, popularity, novelty and diversity against their definitions, item by item."""

from collections import Counter
from itertools import combinations
from math import log2, sqrt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from experiments.config.schema import RankingConfig
from experiments.evaluation.beyond_accuracy import (
    ListStatistics,
    coverage,
    diversity,
    gini,
    novelty,
    popularity,
)
from experiments.evaluation.catalogue import Catalogue, catalogue
from experiments.evaluation.evaluate import RankingTask, evaluate
from experiments.protocol.split import split_interactions
from tests.protocol.toy import PROTOCOLS, Table, loo, random_toy, toy

N_ITEMS, K = 12, 4
CUTOFFS = [1, 2, 4]


def naive_gini(counts):
    """Half the relative mean absolute difference of all pairs: Gini's own definition."""
    differences = sum(abs(a - b) for a in counts for b in counts)
    return differences / (2 * len(counts) ** 2 * np.mean(counts))


def naive_diversity(items, sets):
    known = [sets[item] for item in items if sets[item]]
    if len(known) < 2:
        return 0.0
    alike = [len(a & b) / sqrt(len(a) * len(b)) for a, b in combinations(known, 2)]
    return 1 - np.mean(alike)


@pytest.fixture(scope="module")
def known():
    """A catalogue, with the feature sets of its items written out; item 3 has none, as has no user."""
    rng = np.random.default_rng(3)
    features = rng.random((N_ITEMS + 1, 6)) < 0.4
    features[[0, 3]] = False
    users = rng.integers(1, 30, N_ITEMS + 1)
    users[[0, 3]] = 0
    made = Catalogue(
        interactions_N=users * 2, users_N=users, n_users=40, features_NF=csr_matrix(features * 1.0)
    )
    return made, [set(np.flatnonzero(row)) for row in features]


lists_of_items = st.lists(
    st.permutations(range(1, N_ITEMS + 1)).flatmap(
        lambda order: st.integers(1, K).map(lambda n: order[:n] + [0] * (K - n))
    ),
    min_size=1,
    max_size=5,
).map(np.array)


@settings(deadline=None)
@given(items_BK=lists_of_items)
def test_each_list_against_its_definition(known, items_BK):
    made, sets = known
    collected = ListStatistics(
        made,
        names=["coverage", "gini", "popularity", "novelty", "diversity"],
        cutoffs=CUTOFFS,
    )
    collected.add(items_BK[:2])
    if len(items_BK) > 2:
        collected.add(items_BK[2:])
    per_user, system = collected.per_user(), collected.system()
    assert "diversity_at_1" not in per_user
    for k in CUTOFFS:
        lists = [[item for item in row[:k] if item] for row in items_BK.tolist()]
        for row, items in enumerate(lists):
            users = [made.users_N[item] for item in items]
            expected = {
                "popularity": np.mean([made.interactions_N[item] for item in items]),
                "novelty": np.mean([-log2(max(n, 1) / 40) for n in users]),
                "diversity": naive_diversity(items, sets),
            }
            for name, value in expected.items():
                if (name, k) != ("diversity", 1):
                    assert per_user[f"{name}_at_{k}"][row] == pytest.approx(value, abs=1e-9)
        counts = Counter(item for items in lists for item in items)
        assert system[f"coverage_at_{k}"] == len(counts) / N_ITEMS
        every = [counts[item] for item in range(1, N_ITEMS + 1)]
        assert system[f"gini_at_{k}"] == pytest.approx(naive_gini(every))


def test_extremes():
    assert gini(np.array([5, 5, 5, 5])) == 0
    assert gini(np.array([0, 0, 0, 9])) == 0.75
    assert coverage(np.array([0, 0, 0, 9])) == 0.25
    same = Catalogue(
        interactions_N=np.array([0, 4, 4]),
        users_N=np.array([0, 4, 1]),
        n_users=4,
        features_NF=csr_matrix([[0.0, 0], [1, 1], [1, 1]]),
    )
    items = np.array([[1, 2]])
    assert diversity(items, same) == pytest.approx([0.0])
    assert novelty(items, same).tolist() == [[0.0, 1.0]]
    assert popularity(items, same).tolist() == [[4.0, 4.0]]


def test_equal_to_recbole(known, recbole_metrics):
    made, _ = known
    rng = np.random.default_rng(0)
    items_BK = np.stack([rng.permutation(N_ITEMS)[:K] + 1 for _ in range(30)])
    collected = ListStatistics(made, names=["coverage", "gini", "popularity"], cutoffs=CUTOFFS)
    collected.add(items_BK)
    system, per_user = collected.system(), collected.per_user()
    counted = dict(enumerate(made.interactions_N.tolist()))
    average = recbole_metrics.AveragePopularity
    expected = average.metric_info(None, average.get_pop(None, items_BK, counted))
    for k in CUTOFFS:
        lists = items_BK[:, :k]
        # RecBole counts the padding among the items; here its number of items is the true one.
        covered = recbole_metrics.ItemCoverage.get_coverage(None, lists, N_ITEMS)
        assert system[f"coverage_at_{k}"] == covered
        unequal = recbole_metrics.GiniIndex.get_gini(None, lists, N_ITEMS)
        assert system[f"gini_at_{k}"] == pytest.approx(unequal)
        np.testing.assert_allclose(per_user[f"popularity_at_{k}"], expected[:, k - 1])


def test_a_catalogue_counts_training_alone():
    split = loo(toy([[1, 1, 2, 3, 4], [1, 3, 5], [6, 6]], 7))
    made = catalogue(split)
    assert made.interactions_N.tolist() == [0, 3, 1, 0, 0, 0, 2, 0]
    assert made.users_N.tolist() == [0, 2, 1, 0, 0, 0, 1, 0]
    assert (made.n_users, made.n_items, made.features_NF) == (3, 7, None)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_evaluators_lists_are_those_of_its_full_ranking(name):
    data = random_toy(5, n_users=80, n_items=40, longest=25)
    split = split_interactions(data, PROTOCOLS[name])
    scores = np.random.default_rng(1).integers(0, 30, (81, 41)).astype(np.float32)
    made = catalogue(split)
    asked = {"full": RankingConfig(cutoffs=[3, 10]), "top": RankingConfig(cutoffs=[1])}

    def measured(block=None, **more):
        task = RankingTask(
            split=split,
            phase="test",
            rankings=asked,
            candidates={},
            metrics=["hit"],
            **more,
        )
        return evaluate(Table(scores), task, block=block)

    plain, whole = measured(), measured(catalogue=made)
    assert plain.system == {}
    assert whole.per_user.select(plain.per_user.columns).equals(plain.per_user)
    assert not any("diversity" in column for column in whole.per_user.columns)
    assert set(whole.system) == {
        *(f"full/{name}_at_{k}" for name in ("coverage", "gini") for k in (3, 10)),
        *(f"top/{name}_at_1" for name in ("coverage", "gini")),
    }
    # The order in which a sum adds up is a library's own, and a machine's.
    mean = whole.per_user["full/novelty_at_3"].mean()
    assert whole.means["full/novelty_at_3"] == pytest.approx(mean, rel=1e-12)
    found = set()
    for row, user in enumerate(split.users("test")):
        masked = set(split.masked("test").of(user))
        left = [item for item in range(1, 41) if item not in masked]
        best = sorted(left, key=lambda item: (-scores[user, item], item))[:10]
        value = whole.per_user["full/popularity_at_10"][row]
        assert value == pytest.approx(np.mean(made.interactions_N[best]))
        found |= set(best)
    assert whole.system["full/coverage_at_10"] == len(found) / 40
    for block in (1, 7):
        again = measured(catalogue=made, block=block)
        assert again.per_user.equals(whole.per_user)
        assert again.system == whole.system
    chosen = measured(catalogue=made, beyond=["novelty"])
    assert chosen.system == {}
    assert "full/novelty_at_3" in chosen.means
    assert "full/popularity_at_3" not in chosen.means
    assert isinstance(chosen.per_user, pl.DataFrame)
