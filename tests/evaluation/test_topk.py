"""The partial sort against lists that Python sorts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.evaluation.scores import comparable
from experiments.evaluation.topk import best_items, topk
from experiments.protocol.sequences import Sequences


def sorted_lists(scores_BN, history, k):
    lists = []
    for row, scores in enumerate(scores_BN):
        left = set(range(1, len(scores))) - set(history.of(row).tolist())
        best = sorted(left, key=lambda item: (-scores[item], item))[:k]
        lists.append(best + [0] * (min(k, len(scores)) - len(best)))
    return lists


def histories(rows):
    lengths = [len(row) for row in rows]
    items = np.array([item for row in rows for item in row], dtype=np.int32)
    return Sequences(indptr=np.concatenate(([0], np.cumsum(lengths))), items=items)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_ties_minus_infinity_and_short_lists(draws):
    n_rows, n_items = draws.draw(st.integers(1, 4)), draws.draw(st.integers(1, 8))
    k = draws.draw(st.integers(1, n_items + 3))
    line = st.lists(
        st.sampled_from([-np.inf, -1.0, 0.0, 1.0, 2.0]), min_size=n_items + 1, max_size=n_items + 1
    )
    scores = np.array(draws.draw(st.lists(line, min_size=n_rows, max_size=n_rows)))
    seen = st.lists(st.integers(1, n_items), max_size=n_items)
    history = histories(draws.draw(st.lists(seen, min_size=n_rows, max_size=n_rows)))
    expected = sorted_lists(scores, history, k)
    items_BK, scores_BK = topk(torch.from_numpy(scores), history, k)
    assert items_BK.tolist() == expected
    assert best_items(torch.from_numpy(scores), history, k).tolist() == expected
    for row, items in enumerate(items_BK):
        told = [scores[row, item] if item else -np.inf for item in items]
        assert scores_BK[row].tolist() == told


@pytest.mark.parametrize("steps", [1, 7, 400, 10**6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64])
def test_long_rows_with_few_and_many_ties(steps, dtype):
    rng = np.random.default_rng(steps)
    # More rows than are sorted at a time.
    scores = torch.from_numpy(rng.integers(0, steps, (700, 300)) * 1000 / steps).to(dtype)
    history = histories([rng.integers(1, 300, 5).tolist() for _ in range(700)])
    expected = sorted_lists(scores.double().numpy(), history, 20)
    assert best_items(comparable(scores), history, 20).tolist() == expected
    assert topk(scores, history, 20)[0].tolist() == expected
