"""The metrics against independent ones: ranx, RecBole's own, and every order of the tied items."""

from itertools import chain, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.components.registry import functions
from experiments.errors import PaddockError
from experiments.evaluation.metrics import groups_of, per_row
from paddock import Metric
from tests.protocol.toy import naive_metrics

CUTOFFS = [1, 2, 3, 5, 10, 20]
METRICS = list(functions(Metric))


def measured(scores, targets, cutoffs, metrics=tuple(METRICS)):
    """One row of scores (item ids are places) and its targets through `per_row`."""
    scores = np.asarray(scores, dtype=float)
    a = np.array([(scores > scores[target]).sum() for target in targets])
    g = np.array([(scores == scores[target]).sum() for target in targets])
    groups = groups_of(np.zeros(len(a), dtype=np.int64), a, g, n_rows=1)
    values = per_row(groups, metrics=metrics, cutoffs=cutoffs)
    return {name: value.item() for name, value in values.items()}


def over_all_orders(scores, targets, cutoffs):
    """The mean of the naive metrics over every order that the scores allow."""
    level = [[i for i, s in enumerate(scores) if s == score] for score in sorted(set(scores))[::-1]]
    orders = [list(chain(*parts)) for parts in product(*map(permutations, level))]
    return {
        f"{name}_at_{k}": np.mean([naive_metrics(order, set(targets), k)[name] for order in orders])
        for k in cutoffs
        for name in METRICS
    }


@st.composite
def tied_rankings(draw):
    n = draw(st.integers(1, 6))
    scores = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    targets = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n, unique=True))
    return scores, targets


@settings(deadline=None)
@given(tied_rankings())
def test_ties_are_the_mean_over_all_orders(ranking):
    scores, targets = ranking
    cutoffs = [1, 2, 3, 4, 6, 9]
    assert measured(scores, targets, cutoffs) == pytest.approx(
        over_all_orders(scores, targets, cutoffs), abs=1e-12
    )


@pytest.mark.parametrize("n_targets", [1, 2, 3, 5, 7])
def test_one_big_tie_is_the_mean_over_all_orders(n_targets):
    scores = [1, 1, 1, 1, 1, 1, 1]
    targets = list(range(n_targets))
    cutoffs = list(range(1, 9))
    assert measured(scores, targets, cutoffs) == pytest.approx(
        over_all_orders(scores, targets, cutoffs), abs=1e-12
    )


def test_a_tie_of_everything_has_the_closed_forms():
    n, k = 200_000, 10
    got = measured(np.zeros(n), [7], [1, k])
    assert got["hit_at_1"] == got["ndcg_at_1"] == got["mrr_at_1"] == 1 / n
    assert got["hit_at_10"] == pytest.approx(k / n, rel=1e-12)
    assert got["precision_at_10"] == pytest.approx(1 / n, rel=1e-12)
    assert got["mrr_at_10"] == pytest.approx(sum(1 / i for i in range(1, k + 1)) / n, rel=1e-12)
    ndcg = sum(1 / np.log2(i + 1) for i in range(1, k + 1)) / n
    assert got["ndcg_at_10"] == pytest.approx(ndcg, rel=1e-12)


def test_certainty_is_exact():
    assert measured([3, 3, 3, 1], [0, 1], [2, 3])["hit_at_2"] == 1.0
    assert measured([3, 3, 3, 1], [0], [3])["hit_at_3"] == 1.0
    assert measured([3, 3, 3, 1], [3], [3])["hit_at_3"] == 0.0
    for g in range(1, 40):
        tied = measured(np.zeros(g), range(0, g, 5), [g, g + 3], metrics=["hit"])
        assert set(tied.values()) == {1.0}
    best = measured([9, 8, 7, 1, 0], [0, 1, 2], [1, 2, 3, 4])
    assert {name for name, value in best.items() if value != 1.0} == {
        "recall_at_1",
        "recall_at_2",
        "precision_at_4",
    }


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_rows_do_not_touch_each_other(seed):
    rng = np.random.default_rng(seed)
    rows = [(rng.integers(0, 4, 12), rng.permutation(12)[: rng.integers(1, 5)]) for _ in range(6)]
    row, a, g = [], [], []
    for number, (scores, targets) in enumerate(rows):
        for target in targets:
            row.append(number)
            a.append((scores > scores[target]).sum())
            g.append((scores == scores[target]).sum())
    shuffled = rng.permutation(len(row))
    groups = groups_of(*(np.array(part)[shuffled] for part in (row, a, g)), n_rows=len(rows))
    together = per_row(groups, metrics=METRICS, cutoffs=[1, 4, 10])
    for number, (scores, targets) in enumerate(rows):
        alone = measured(scores, targets, [1, 4, 10])
        assert {name: value[number] for name, value in together.items()} == pytest.approx(alone)


def test_chunks_do_not_show(monkeypatch):
    rng = np.random.default_rng(5)
    row = np.sort(rng.integers(0, 50, 400))
    row[:50] = np.arange(50)
    a, g = rng.integers(0, 15, 400), np.full(400, 9)
    groups = groups_of(row, a, g, n_rows=50)
    whole = per_row(groups, metrics=METRICS, cutoffs=[1, 10])
    monkeypatch.setattr("experiments.evaluation.metrics._ENTRIES_AT_A_TIME", 30)
    for name, value in per_row(groups, metrics=METRICS, cutoffs=[1, 10]).items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-13)


def test_names_and_their_order():
    values = measured([2, 1], [0], [10, 1], metrics=["ndcg", "hit"])
    assert list(values) == ["ndcg_at_10", "ndcg_at_1", "hit_at_10", "hit_at_1"]


def test_unknown_metrics_and_cutoffs_are_refused():
    with pytest.raises(PaddockError, match="did you mean ndcg"):
        measured([1], [0], [1], metrics=["ndgc"])
    with pytest.raises(PaddockError, match="choose one of hit, map"):
        measured([1], [0], [1], metrics=["xyz"])
    for cutoffs in ([0], [], [5, -1]):
        with pytest.raises(PaddockError, match="ranks from 1 up"):
            measured([1], [0], cutoffs)


@pytest.fixture(scope="module")
def untied():
    """Rankings without ties: scores (rows, items) and some targets per row."""
    rng = np.random.default_rng(9)
    scores = rng.permuted(np.tile(np.arange(60.0), (40, 1)), axis=1)
    targets = [list(rng.permutation(60)[: rng.integers(1, 9)]) for _ in range(40)]
    # Some lists with a target on top, and some with few targets, so that no metric is 0 throughout.
    for row in range(0, 40, 3):
        targets[row] = [int(scores[row].argmax()), int(rng.choice(scores[row].argsort()[20:50]))]
    return scores, targets


def test_equal_to_ranx(untied, ranx):
    scores, targets = untied
    qrels = {f"q{row:03}": {f"d{i}": 1 for i in chosen} for row, chosen in enumerate(targets)}
    run = {
        f"q{row:03}": {f"d{i}": score for i, score in enumerate(line)}
        for row, line in enumerate(scores.tolist())
    }
    theirs_of = {"hit": "hit_rate"}
    names = [f"{theirs_of.get(name, name)}@{k}" for name in METRICS for k in CUTOFFS]
    theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), names, return_mean=False)
    for row, chosen in enumerate(targets):
        ours = measured(scores[row], chosen, CUTOFFS)
        for name in METRICS:
            for k in CUTOFFS:
                expected = theirs[f"{theirs_of.get(name, name)}@{k}"][row]
                if name == "map":  # ranx divides by all targets
                    expected *= len(chosen) / min(len(chosen), k)
                assert ours[f"{name}_at_{k}"] == pytest.approx(expected, abs=1e-12), (name, k, row)


def test_equal_to_recbole(untied, recbole_metrics):
    scores, targets = untied
    k_max = max(CUTOFFS)
    order = np.argsort(-scores, axis=1)[:, :k_max]
    pos_index = np.array([np.isin(order[row], chosen) for row, chosen in enumerate(targets)])
    pos_len = np.array([len(chosen) for chosen in targets])
    own = {"hit": "Hit", "ndcg": "NDCG", "recall": "Recall", "precision": "Precision", "mrr": "MRR"}
    own["map"] = "MAP"
    assert set(own) == set(METRICS)
    ours = [measured(scores[row], chosen, CUTOFFS) for row, chosen in enumerate(targets)]
    for name, theirs in own.items():
        metric = getattr(recbole_metrics, theirs)
        needs_length = name in ("ndcg", "recall", "map")
        given_lists = (pos_index, pos_len) if needs_length else (pos_index,)
        expected = metric.metric_info(None, *given_lists)
        for k in CUTOFFS:
            np.testing.assert_allclose(
                [values[f"{name}_at_{k}"] for values in ours], expected[:, k - 1], atol=1e-12
            )
