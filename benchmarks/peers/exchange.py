"""What goes to a library and what comes back: interactions there, scores here, one evaluator.

The evaluator is Paddock's: a target is ranked among all items but the user's history, which at test
holds the valid item; equal scores count in expectation.

U scored users, B users of a block, N items.
"""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.config.schema import RankingConfig
from experiments.evaluation.evaluate import RankingTask, evaluate
from experiments.protocol.split import TRAIN, VALID, Phase, Split

METRICS = ("ndcg_at_10", "hit_at_1")
"""What is kept of the ranking."""


def write_interactions(split: Split, path: Path) -> None:
    """The training and the valid interactions, numbered from 0, and the users of each phase.

    The targets of the test stay here. An interaction's place in its user's history stands for its
    time: libraries break ties of equal times each in their own way.
    """
    users, items = split.row_users.astype(np.int64) - 1, split.row_items.astype(np.int64) - 1
    places = np.arange(len(users)) - np.searchsorted(users, users)
    content: dict[str, Any] = {"n_users": split.n_users, "n_items": split.n_items}
    for name, part in (("train", TRAIN), ("valid", VALID)):
        rows = split.rows(part)
        content |= {
            f"{name}_users": users[rows],
            f"{name}_items": items[rows],
            f"{name}_places": places[rows],
        }
    for phase in ("valid", "test"):
        content[f"{phase}_scored"] = split.users(cast(Phase, phase)) - 1
    np.savez(path, **content)


def measured(split: Split, phase: Phase, path: Path) -> dict[str, float]:
    """The metrics of the scores in a file: float32, (U, N), row by row."""
    task = RankingTask(
        split=split,
        phase=phase,
        rankings={"full": RankingConfig(cutoffs=[1, 10])},
        candidates={},
        metrics=["ndcg", "hit"],
    )
    means = evaluate(_Scores(path, split.users(phase), split.n_items), task).means
    return {name: means[f"full/{name}"] for name in METRICS}


class _Scores:
    """Scores that were computed elsewhere, as a scorer of users."""

    def __init__(self, path: Path, users_U: NDArray[np.int64], n_items: int) -> None:
        self._users_U = users_U
        self._scores_UN = np.memmap(path, dtype=np.float32, mode="r").reshape(-1, n_items)
        assert len(self._scores_UN) == len(users_U)

    def score(self, users_B: NDArray[np.int64]) -> torch.Tensor:
        rows_B = np.searchsorted(self._users_U, users_B)
        scores_BN = torch.from_numpy(self._scores_UN[rows_B])
        return torch.nn.functional.pad(scores_BN, (1, 0))
