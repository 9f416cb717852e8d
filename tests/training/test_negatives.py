"""The negatives of the strategy `pairs`, against counting and a chi-square test."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from experiments.errors import PaddockError
from experiments.training import negatives
from experiments.training.negatives import NegativeSampler

N_USERS, N_ITEMS = 3, 12
# User 1 had items 1 to 9, user 2 item 5 (twice) and item 10, user 3 none.
USERS = np.array([1] * 9 + [2] * 3, dtype=np.int32)
ITEMS = np.array([*range(1, 10), 5, 5, 10], dtype=np.int32)


def sampler(**choices):
    return NegativeSampler(USERS, ITEMS, n_users=N_USERS, n_items=N_ITEMS, **choices)


def draws(made, user, n=60_000, k=1):
    generator = torch.Generator().manual_seed(1)
    drawn = made.draw(torch.full((n // k,), user), k, generator=generator)
    assert drawn.shape == (n // k, k)
    return np.bincount(drawn.flatten().numpy(), minlength=N_ITEMS + 1)


@pytest.fixture(params=["bitmap", "pairs"])
def membership(request, monkeypatch):
    if request.param == "pairs":
        monkeypatch.setattr(negatives, "BITMAP_BYTES", 0)


@pytest.mark.usefixtures("membership")
@pytest.mark.parametrize(
    ("user", "positives"), [(1, set(range(1, 10))), (2, {5, 10}), (3, set())], ids=str
)
def test_uniform_over_the_true_negatives(user, positives):
    counts = draws(sampler(), user, k=3)
    negatives_ = [item for item in range(1, N_ITEMS + 1) if item not in positives]
    assert counts.sum() == counts[negatives_].sum(), "a positive or the padding was drawn"
    assert chisquare(counts[negatives_]).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_popularity_is_that_of_the_training_part_to_the_power_of_alpha(alpha):
    counts = draws(sampler(distribution="popularity", alpha=alpha), 3)
    popularity = np.bincount(ITEMS, minlength=N_ITEMS + 1)
    seen = np.flatnonzero(popularity)
    assert counts.sum() == counts[seen].sum(), "an item without interactions was drawn"
    expected = popularity[seen] ** alpha
    assert chisquare(counts[seen], expected / expected.sum() * counts.sum()).pvalue > 1e-3


def test_both_memberships_draw_the_same(monkeypatch):
    by_table = draws(sampler(), 1)
    monkeypatch.setattr(negatives, "BITMAP_BYTES", 0)
    assert (draws(sampler(), 1) == by_table).all()


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_a_user_who_had_everything_is_refused(distribution):
    users = np.repeat(np.array([1, 2], dtype=np.int32), [N_ITEMS, 1])
    items = np.array([*range(1, N_ITEMS + 1), 1], dtype=np.int32)
    with pytest.raises(PaddockError, match="user with id 1 interacted with all 12"):
        NegativeSampler(
            users, items, n_users=2, n_items=N_ITEMS, distribution=distribution, alpha=1.0
        )
