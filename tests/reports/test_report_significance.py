"""Significance on data whose answer is known."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from reports.significance import (
    NONE,
    SIGNIFICANT,
    THESE_RUNS,
    Comparison,
    compare,
    interval,
    retrained_p,
    users_p,
)

Floats = NDArray[np.float64]
METRICS = ("hit", "ndcg")


def test_wilcoxon_against_all_signs_enumerated() -> None:
    difference_U = np.array([0.3, -0.1, 0.7, 0.45, -0.2, 0.9, 1.1, 0.6])
    ranks = np.argsort(np.argsort(np.abs(difference_U))) + 1
    observed = ranks[difference_U > 0].sum()
    sums = np.array([np.dot(ranks, signs) for signs in product((0, 1), repeat=8)])
    expected = min(1, 2 * min((sums >= observed).mean(), (sums <= observed).mean()))
    assert users_p(difference_U[None]) == [pytest.approx(expected)]


def test_no_difference_is_no_evidence() -> None:
    # What summing thirds in another order leaves is no difference either.
    assert users_p(np.stack([np.zeros(50), np.full(50, 1 / 3 + 1 / 3 + 1 / 3 - 1 + 1e-16)])) == [
        1,
        1,
    ]


@pytest.mark.parametrize("users", [7, 30, 50, 51, 400])
def test_pairs_that_are_tested_at_once_are_tested_alone(users: int) -> None:
    rng = np.random.default_rng(users)
    difference_PU = np.stack(
        [rng.normal(size=users), rng.integers(-2, 4, users), np.zeros(users), rng.random(users)]
    )
    expected = [stats.wilcoxon(each).pvalue for each in difference_PU[[0, 1, 3]]]
    assert users_p(difference_PU) == pytest.approx([*expected[:2], 1, expected[2]], rel=1e-9)
    assert users_p(difference_PU[:0]) == []


def test_the_interval_of_a_large_sample_is_the_normal_one() -> None:
    difference_U = np.random.default_rng(3).normal(0.2, 1, 1000)
    low, high = interval(difference_U, resamples=4000)
    error = difference_U.std(ddof=1) / np.sqrt(1000)
    assert low == pytest.approx(difference_U.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(difference_U.mean() + 1.96 * error, abs=0.1 * error)
    assert interval(difference_U, resamples=500) == interval(difference_U, resamples=500)


def test_the_interval_covers_the_truth() -> None:
    """Of 200 intervals at 90 %, about 180 hold the true mean; users come in pairs, not apart."""
    rng, held = np.random.default_rng(5), 0
    for _ in range(200):
        low, high = interval(rng.exponential(1, 150) - 1, alpha=0.1, resamples=400)
        held += low <= 0 <= high
    assert 165 <= held <= 194


def test_models_without_luck_of_seeds_are_compared_by_users_alone() -> None:
    """Student's t over the users' differences."""
    rng = np.random.default_rng(6)
    row_U, other_U = rng.normal(size=(2, 40))
    found = retrained_p({"a": np.stack([row_U] * 3), "b": np.stack([other_U] * 2)})
    assert found["a", "b"] == pytest.approx(stats.ttest_rel(row_U, other_U).pvalue)


def _same_for_all(*means: float) -> Floats:
    """Every user has the mean of the seed, so that there is no luck of users."""
    return np.tile(np.array(means)[:, None], 30)


def test_users_that_agree_leave_the_luck_of_seeds() -> None:
    """By hand. The variances of the seeds are 1, 1 and 7, 3 on average, which counts for a and b."""
    values = {
        "a": _same_for_all(0, 1, 2),
        "b": _same_for_all(3, 4, 5),
        "c": _same_for_all(9 - 7**0.5, 9, 9 + 7**0.5),
    }
    found = retrained_p(values)
    assert found["a", "b"] == pytest.approx(2 * stats.t.sf(3 / np.sqrt(3 / 3 + 3 / 3), 6))
    freedom = (3 / 3 + 7 / 3) ** 2 / ((3 / 3) ** 2 / 6 + (7 / 3) ** 2 / 2)
    assert found["a", "c"] == pytest.approx(2 * stats.t.sf(8 / np.sqrt(10 / 3), freedom))
    # Of two models with equal variances it is the t-test that pools them.
    two = retrained_p({"a": values["a"], "b": values["b"]})
    assert two["a", "b"] == pytest.approx(stats.ttest_ind([0, 1, 2], [3, 4, 5]).pvalue)


def test_a_model_that_never_varies_lowers_no_average() -> None:
    varying = {"a": _same_for_all(0, 1, 2), "b": _same_for_all(3, 4, 5)}
    with_constant = {**varying, "c": _same_for_all(7, 7, 7), "d": _same_for_all(7, 7)}
    found = retrained_p(with_constant)
    assert found["a", "b"] == retrained_p(varying)["a", "b"]
    assert found["a", "c"] == pytest.approx(stats.ttest_1samp([0, 1, 2], 7).pvalue, abs=0.01)
    assert found["c", "d"] == 1
    assert retrained_p({"c": with_constant["c"], "e": _same_for_all(8, 8)})["c", "e"] == 0
    # Equal means by chance are no such model: the users' values change with the seed. With it the
    # average is 4/5, of 5 degrees of freedom.
    swapped = np.array([[0.0, 1.0] * 15, [1.0, 0.0] * 15])
    parts = np.array([1 / 3, 4 / 5 / 2])
    freedom = parts.sum() ** 2 / (parts**2 / [2, 5]).sum()
    expected = 2 * stats.t.sf(0.5 / np.sqrt(parts.sum()), freedom)
    assert retrained_p({**varying, "f": swapped})["a", "f"] == pytest.approx(expected)


def test_a_single_seed_or_user_is_in_no_pair() -> None:
    rng = np.random.default_rng(7)
    values = {name: rng.normal(size=(n, 20)) for name, n in (("a", 3), ("b", 1), ("c", 2))}
    assert set(retrained_p(values)) == {("a", "c")}
    assert retrained_p({name: each[:, :1] for name, each in values.items()}) == {}


def _draw(
    rng: np.random.Generator, *, better: float = 0, seed_sd: float = 0, users: int = 120, n: int = 3
) -> dict[str, Floats]:
    """A model's values: the probability of a hit is the user's own, shifted by model and seed."""
    shift_S1 = better + seed_sd * rng.normal(size=(n, 1))
    own_SU = rng.normal(size=(n, users)) + np.linspace(-1.5, 1.5, users) + shift_S1
    rank_SU = np.floor(np.exp(2 - own_SU))
    return {"hit": (rank_SU < 5).astype(float), "ndcg": (rank_SU < 10) / np.log2(rank_SU + 2)}


def _verdicts(values: dict[str, dict[str, Floats]], **options: int) -> dict[str, Comparison]:
    rows = sorted(values)
    references = {
        (row, metric): max(
            (other for other in rows if other != row),
            key=lambda other, metric=metric: values[other][metric].mean(),
        )
        for row in rows
        for metric in METRICS
    }
    made = compare(values, references=references, **options)
    assert set(made) == set(references)
    return {f"{row} {metric}": each for (row, metric), each in made.items()}


def test_a_better_model_is_found() -> None:
    rng = np.random.default_rng(1)
    made = _verdicts({"a": _draw(rng, users=400), "b": _draw(rng, better=1, users=400)})
    assert made["b ndcg"].verdict == made["a ndcg"].verdict == SIGNIFICANT
    assert made["b ndcg"].difference == -made["a ndcg"].difference > 0
    assert made["b ndcg"].low > 0


def test_a_single_seed_never_has_the_full_sign() -> None:
    """However large the difference, and with three seeds on the other side too."""
    rng = np.random.default_rng(1)
    values = {"a": _draw(rng, n=1), "b": _draw(rng, better=1.5, n=1), "c": _draw(rng, better=3)}
    for each in _verdicts(values).values():
        assert each.verdict == THESE_RUNS
        assert each.p_users_holm < 1e-6
        assert each.p_retrained is each.p_retrained_holm is None


def test_holm_over_all_pairs_and_metrics() -> None:
    """Both tests against Holm's definition, written out, of every pair of the report."""
    rng = np.random.default_rng(2)
    values = {name: _draw(rng, better=shift) for name, shift in (("a", 0), ("b", 0.1), ("c", 0.4))}
    raw: dict[str, dict[tuple[str, str, str], float]] = {"p_users": {}, "p_retrained": {}}
    for metric in METRICS:
        by_row = {row: values[row][metric] for row in values}
        for pair, p in retrained_p(by_row).items():
            raw["p_retrained"][*pair, metric] = p
            row, other = pair
            difference_U = by_row[row].mean(axis=0) - by_row[other].mean(axis=0)
            raw["p_users"][*pair, metric] = stats.wilcoxon(difference_U.round(12)).pvalue
    for name, by_key in raw.items():
        assert len(by_key) == 6
        expected, highest = {}, 0.0
        for place, key in enumerate(sorted(by_key, key=lambda key: by_key[key])):
            highest = max(highest, min(1, (len(by_key) - place) * by_key[key]))
            expected[key] = highest
        for each in _verdicts(values).values():
            key = (min(each.row, each.against), max(each.row, each.against), each.metric)
            assert getattr(each, name) == pytest.approx(by_key[key])
            assert getattr(each, f"{name}_holm") == pytest.approx(expected[key])


def test_the_order_of_rows_users_and_seeds_tells_nothing() -> None:
    rng = np.random.default_rng(8)
    values = {name: _draw(rng, better=0.2 * place) for place, name in enumerate("abcd")}
    users, seeds = rng.permutation(120), [2, 0, 1]
    turned = {
        row: {metric: values[row][metric][seeds][:, users] for metric in reversed(METRICS)}
        for row in "cadb"
    }
    for name, each in _verdicts(values).items():
        other = _verdicts(turned)[name]
        assert (other.against, other.verdict) == (each.against, each.verdict)
        for key in ("difference", "low", "high", "p_users_holm", "p_retrained", "p_retrained_holm"):
            assert getattr(other, key) == pytest.approx(getattr(each, key), abs=1e-12)


# Three standard errors above 5 %.
def _at_most_5_percent_of(reports: int) -> float:
    return 0.05 + 3 * np.sqrt(0.05 * 0.95 / reports)


@pytest.mark.parametrize("seeds", [3, pytest.param(2, marks=pytest.mark.slow)])
def test_of_equal_models_few_reports_show_a_full_sign(seeds: int) -> None:
    """Of nine, with the luck of seeds as large as that of users; users alone are wrong in most reports."""
    full = weak = 0
    for place in range(40):
        rng = np.random.default_rng([seeds, place])
        values = {f"m{number}": _draw(rng, seed_sd=0.15, n=seeds) for number in range(9)}
        verdicts = {each.verdict for each in _verdicts(values, resamples=100).values()}
        full += SIGNIFICANT in verdicts
        weak += verdicts != {NONE}
    assert full / 40 <= _at_most_5_percent_of(40)
    assert weak / 40 > 0.25


@pytest.mark.slow
@pytest.mark.parametrize("models", [2, 5])
@pytest.mark.parametrize("seed_sd", [0, 0.1, 0.25])
def test_false_signs_in_many_simulations(models: int, seed_sd: float) -> None:
    full = 0
    for place in range(500):
        rng = np.random.default_rng([13, place])
        values = {f"m{number}": _draw(rng, seed_sd=seed_sd) for number in range(models)}
        made = _verdicts(values, resamples=100).values()
        full += any(each.verdict == SIGNIFICANT for each in made)
    assert full / 500 <= _at_most_5_percent_of(500)
