"""Significance on data whose answer is known."""

import gc
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from reports.significance import (
    NONE,
    SIGNIFICANT,
    USERS_ONLY,
    Comparison,
    compare,
    interval,
    seeds_p,
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
    assert users_p(difference_U) == pytest.approx(expected)


def test_no_difference_is_no_evidence() -> None:
    assert users_p(np.zeros(50)) == 1
    # What summing thirds in another order leaves is no difference either.
    assert users_p(np.full(50, 1 / 3 + 1 / 3 + 1 / 3 - 1 + 1e-16)) == 1


def test_the_interval_of_a_large_sample_is_the_normal_one() -> None:
    difference_U = np.random.default_rng(3).normal(0.2, 1, 4000)
    low, high = interval(difference_U, resamples=4000)
    error = difference_U.std(ddof=1) / np.sqrt(4000)
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


def test_welch_by_hand() -> None:
    row, other = np.array([0.30, 0.34, 0.32]), np.array([0.20, 0.21, 0.28])
    # t = 0.09 / sqrt(0.0004 / 3 + 0.0019 / 3), and the tables of Student's t for 2.82 freedoms.
    assert seeds_p(row, other) == pytest.approx(0.053, abs=0.002)
    assert seeds_p(row[:1], other) is None
    assert seeds_p(np.full(3, 0.1), np.full(3, 0.1)) == 1
    assert seeds_p(np.full(3, 0.1), np.full(3, 0.2)) == 0


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


def test_one_seed_shows_nothing_beyond_the_users() -> None:
    rng = np.random.default_rng(1)
    made = _verdicts({"a": _draw(rng, users=400, n=1), "b": _draw(rng, better=1, users=400, n=1)})
    assert made["b ndcg"].verdict == USERS_ONLY
    assert made["b ndcg"].p_seeds is None


def test_holm_over_all_pairs_and_metrics() -> None:
    """Against Holm's definition, written out."""
    rng = np.random.default_rng(2)
    values = {name: _draw(rng, better=shift) for name, shift in (("a", 0), ("b", 0.1), ("c", 0.4))}
    raw = {}
    for row, other in (("a", "b"), ("a", "c"), ("b", "c")):
        for metric in METRICS:
            difference_U = values[row][metric].mean(axis=0) - values[other][metric].mean(axis=0)
            raw[row, other, metric] = users_p(difference_U)
    expected, highest = {}, 0.0
    for place, key in enumerate(sorted(raw, key=lambda key: raw[key])):
        highest = max(highest, min(1, (len(raw) - place) * raw[key]))
        expected[key] = highest
    for each in _verdicts(values).values():
        key = (min(each.row, each.against), max(each.row, each.against), each.metric)
        assert each.p_users == pytest.approx(raw[key])
        assert each.p_holm == pytest.approx(expected[key])


def _false_positives(*, runs: int, models: int, seed_sd: float, first: int) -> tuple[float, float]:
    """How often models that are equal are marked: fully, and by their users alone or fully."""
    marked = hollow = 0
    for place in range(runs):
        rng = np.random.default_rng([first, place])
        values = {f"m{number}": _draw(rng, seed_sd=seed_sd) for number in range(models)}
        verdicts = {each.verdict for each in _verdicts(values, resamples=200).values()}
        marked += SIGNIFICANT in verdicts
        hollow += verdicts != {NONE}
    return marked / runs, hollow / runs


@pytest.fixture
def _quick_collection() -> Iterator[None]:
    """statsmodels collects garbage with every correction, which what pytest holds makes slow."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_quick_collection")
def test_equal_models_are_rarely_told_apart() -> None:
    marked, hollow = _false_positives(runs=400, models=2, seed_sd=0, first=11)
    assert marked <= 0.05
    assert hollow <= 0.05


@pytest.mark.usefixtures("_quick_collection")
def test_seeds_that_vary_are_no_better_model() -> None:
    """Users alone would call one of two equal models better far too often; the mark does not."""
    marked, hollow = _false_positives(runs=400, models=2, seed_sd=0.25, first=12)
    assert marked <= 0.05
    assert hollow > 0.1


@pytest.mark.slow
@pytest.mark.usefixtures("_quick_collection")
@pytest.mark.parametrize(("models", "seed_sd"), [(2, 0), (2, 0.1), (2, 0.25), (5, 0), (5, 0.1)])
def test_false_positives_in_many_simulations(models: int, seed_sd: float) -> None:
    marked, _ = _false_positives(runs=2000, models=models, seed_sd=seed_sd, first=13)
    # Three standard errors of 2000 draws at 5 %.
    assert marked <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
