"""Small stand-ins for prepared data, splits and scorers, and metrics written the naive way."""

from dataclasses import dataclass
from math import log2
from typing import Any

import numpy as np
import torch

from experiments.config.schema import ProtocolConfig
from experiments.protocol.split import Split, split_interactions


@dataclass(frozen=True)
class Toy:
    users: np.ndarray
    items: np.ndarray
    indptr: np.ndarray
    n_users: int
    n_items: int
    hash: str = "toy"
    timestamps: np.ndarray | None = None


def toy(
    histories: list[list[int]],
    n_items: int,
    hash: str = "toy",
    times: list[list[int]] | None = None,
) -> Toy:
    """Data of the users 1, 2, ... with the given items in time order, at the given times if any."""
    lengths = [len(history) for history in histories]
    return Toy(
        users=np.repeat(np.arange(1, len(histories) + 1), lengths).astype(np.int32),
        items=np.array([item for history in histories for item in history], dtype=np.int32),
        indptr=np.concatenate(([0, 0], np.cumsum(lengths))).astype(np.int64),
        n_users=len(histories),
        n_items=n_items,
        hash=hash,
        timestamps=None if times is None else np.array([t for line in times for t in line]),
    )


def random_toy(seed: int, *, n_users: int, n_items: int, longest: int, shortest: int = 3) -> Toy:
    """Histories of different items, at random times of one clock."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest + 1, n_users)
    lengths[::10] = shortest
    histories = [list(rng.permutation(n_items)[:n] + 1) for n in lengths]
    times = [sorted(rng.integers(0, 1000, n).tolist()) for n in lengths]
    return toy(histories, n_items, times=times)


def loo(data: Toy) -> Split:
    return split_interactions(data, ProtocolConfig(name="loo", split="loo"))


PROTOCOLS = {
    "loo": ProtocolConfig(name="loo", split="loo"),
    "cold_items": ProtocolConfig(
        name="cold", split="cold_items", seed=2024, settings={"share": 0.3}
    ),
    "cold_users": ProtocolConfig(
        name="cold", split="cold_users", seed=2024, history=1, settings={"share": 0.3}
    ),
    "temporal": ProtocolConfig(name="temporal", split="temporal", ratios=[0.8, 0.1, 0.1]),
    "random": ProtocolConfig(name="random", split="random", ratios=[0.8, 0.1, 0.1], seed=2024),
}


def split_of(data: Toy, part: np.ndarray) -> Split:
    """A split with parts set by hand, which may give a user several targets."""
    return Split(
        name="by hand",
        n_users=data.n_users,
        n_items=data.n_items,
        row_users=data.users,
        row_items=data.items,
        part=part.astype(np.int8),
        hash="by hand",
        parts_hash="by hand",
    )


class Table:
    """Scores read from a table with one row per user id, row 0 unused."""

    def __init__(self, scores: Any) -> None:
        self.scores = torch.as_tensor(scores)

    def score(self, users_B: np.ndarray) -> torch.Tensor:
        return self.scores[torch.from_numpy(users_B)]


class CandidateTable(Table):
    """The same scores, given for candidates alone."""

    full = False

    def score_candidates(self, users_B: np.ndarray, items_BC: np.ndarray) -> torch.Tensor:
        return self.scores[torch.from_numpy(users_B[:, None]), torch.from_numpy(items_BC)]

    def score(self, users_B: np.ndarray) -> torch.Tensor:
        raise AssertionError("a scorer of candidates is not asked for all items")


def naive_metrics(ranked: list[int], targets: set[int], k: int) -> dict[str, float]:
    """All metrics of one ranked list, straight from their definitions."""
    relevant = [item in targets for item in ranked[:k]]
    ranks = [rank for rank, is_target in enumerate(relevant, start=1) if is_target]
    ideal = sum(1 / log2(rank + 1) for rank in range(1, min(len(targets), k) + 1))
    return {
        "hit": float(bool(ranks)),
        "ndcg": sum(1 / log2(rank + 1) for rank in ranks) / ideal,
        "recall": len(ranks) / len(targets),
        "precision": len(ranks) / k,
        "mrr": 1 / ranks[0] if ranks else 0.0,
        "map": sum(n / rank for n, rank in enumerate(ranks, start=1)) / min(len(targets), k),
    }
