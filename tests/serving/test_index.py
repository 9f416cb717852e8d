"""Approximate search, held against all products."""

import numpy as np
import pytest

from experiments.serving.index import ApproximateIndex
from experiments.serving.spaces import ItemSpace

pytest.importorskip("faiss")


def clustered(n_items: int) -> np.ndarray:
    """Vectors around fifty centres; row 0 is padding."""
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((50, 16))
    rows = centres[rng.integers(0, 50, n_items)] + 0.3 * rng.standard_normal((n_items, 16))
    return np.vstack([np.zeros(16), rows]).astype(np.float32)


def test_the_index_finds_nearly_all_and_says_how_many() -> None:
    vectors = clustered(3000)
    index = ApproximateIndex(vectors)
    queries = vectors[1:101]
    found, products = index.search(queries, 10)
    every = queries @ vectors[1:].T
    exact = np.argsort(-every, axis=1)[:, :10] + 1
    share = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)])
    assert share > 0.95
    assert index.recall() == pytest.approx(share, abs=0.03)
    np.testing.assert_allclose(products, np.take_along_axis(every, found - 1, axis=1), rtol=1e-4)
    assert found.min() >= 1


def test_a_space_asks_it_above_so_many_items() -> None:
    vectors = clustered(2000)
    exact = ItemSpace(vectors, learned=True)
    indexed = ItemSpace(vectors, learned=True, index_above=1999)
    assert ItemSpace(vectors, learned=True, index_above=2000).index is None
    assert ItemSpace(vectors, learned=False, index_above=0).index is None
    assert exact.recall is None
    assert indexed.recall is not None
    assert indexed.recall > 0.95
    shares = []
    for item in range(1, 60):
        items, cosines = exact.nearest(item, 10)
        unit = vectors[1:] / np.linalg.norm(vectors[1:], axis=1, keepdims=True)
        cosine = unit @ unit[item - 1]
        cosine[item - 1] = -2
        assert list(items) == list(np.argsort(-cosine, kind="stable")[:10] + 1)
        np.testing.assert_allclose(cosines, np.sort(cosine)[::-1][:10], rtol=1e-4)
        near, _ = indexed.nearest(item, 10)
        assert item not in near
        assert len(near) == 10
        shares.append(len(set(near) & set(items)) / 10)
    assert np.mean(shares) > 0.95


def test_no_more_than_there_are() -> None:
    for above in (None, 0):
        items, _ = ItemSpace(clustered(5), learned=True, index_above=above).nearest(2, 50)
        assert sorted(items) == [1, 3, 4, 5]
