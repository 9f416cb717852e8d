"""The committed tiny data set: reproducible, and learnable by construction."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.config.schema import DatasetConfig
from experiments.data.make_tiny import make_tiny
from experiments.data.prepare import prepare
from experiments.data.prepared import Prepared

TINY = Path(__file__).parents[2] / "datasets" / "tiny"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    dataset = DatasetConfig(source=str(TINY))
    dataset.text.title = "title"
    return prepare(dataset, data_dir=tmp_path_factory.mktemp("prepared"))


def test_the_committed_files_are_the_generated_ones(tmp_path: Path) -> None:
    make_tiny(tmp_path)
    for name in ("tiny.inter", "tiny.item", "tiny.user"):
        assert (tmp_path / name).read_bytes() == (TINY / name).read_bytes()


def test_size(tiny: Prepared) -> None:
    assert (tiny.n_users, tiny.n_items) == (200, 120)
    lengths = np.diff(tiny.indptr)[1:]
    assert (lengths.min(), lengths.max()) == (15, 40)
    assert sum(path.stat().st_size for path in TINY.iterdir()) < 200_000
    assert len(set(tiny.item_titles)) == 121
    pairs = tiny.users.astype(np.int64) * 1000 + tiny.items
    assert len(np.unique(pairs)) == tiny.n_interactions


def test_some_times_are_tied(tiny: Prepared) -> None:
    same = (np.diff(tiny.timestamps) == 0) & (np.diff(tiny.users) == 0)
    assert 0.05 < same.mean() < 0.2


def test_learning_beats_popularity_by_far(tiny: Prepared) -> None:
    """Counts of followers and of companions, against popularity, on everyone's last item."""
    histories = [
        tiny.items[tiny.indptr[user] : tiny.indptr[user + 1]] for user in range(1, tiny.n_users + 1)
    ]
    n = tiny.n_items + 1
    popularity, follows, together = np.zeros(n), np.zeros((n, n)), np.zeros((n, n))
    for history in histories:
        train = history[:-1]
        popularity[train] += 1
        np.add.at(follows, (train[:-1], train[1:]), 1)
        together[np.ix_(train, train)] += 1
    together /= np.sqrt(np.outer(popularity, popularity)) + 1

    def ndcg(score: Callable[[np.ndarray], np.ndarray]) -> float:
        gains = []
        for history in histories:
            scores = np.array(score(history[:-1]), dtype=float)
            scores[[0, *history[:-1]]] = -np.inf
            ahead = (scores > scores[history[-1]]).sum()
            gains.append(1 / np.log2(ahead + 2) if ahead < 10 else 0.0)
        return float(np.mean(gains))

    by_popularity = ndcg(lambda history: popularity)
    assert by_popularity < 0.12
    assert ndcg(lambda history: together[history].sum(axis=0)) > 3 * by_popularity
    assert ndcg(lambda history: follows[history[-1]]) > 3 * by_popularity
