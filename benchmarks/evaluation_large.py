"""Our evaluation at scale: a million users by a hundred thousand items, scores made as they are read.

    python -m benchmarks.evaluation_large [--users N] [--items N] [--beyond] [--share S]

A generated split (popularity by a power law, 20 interactions a user on average, leave-one-out) is
ranked in full by a scorer of rank 8. What is measured is the evaluator: its seconds and the most
memory that the process held; the scores would be 400 GB. --beyond collects every user's list too, for
coverage, popularity and novelty. --share scores only the first users, and the seconds are those of
them. RecBole has no part in this: its collector keeps every user's list in memory, and it scores one
user at a time.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import machine, now, peak_megabytes, since
from experiments.config.schema import RankingConfig
from experiments.evaluation.catalogue import catalogue
from experiments.evaluation.evaluate import RankingTask, evaluate
from experiments.files import write_json
from experiments.protocol.split import TEST, TRAIN, VALID, Split
from experiments.runs.provenance import packages
from experiments.training.memory import keep_freed_memory

OUT = Path(__file__).resolve().parent / "out" / "evaluation-large.json"
USERS, ITEMS, RANK = 1_000_000, 100_000, 8
SHORTEST, LONGEST = 3, 38
"""Interactions of a user, drawn evenly."""

PRINT_EVERY = 30.0


class LowRank:
    """A scorer by the product of random factors, which costs little beside the ranking."""

    def __init__(self, *, n_users: int, n_items: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self._users_UD = torch.randn(n_users + 1, RANK, generator=generator)
        self._items_DN = torch.randn(RANK, n_items + 1, generator=generator)

    def score(self, users_B: np.ndarray) -> torch.Tensor:
        return self._users_UD[torch.from_numpy(users_B)] @ self._items_DN


def generated_split(*, n_users: int, n_items: int, scored: float = 1.0) -> Split:
    """Leave-one-out over generated interactions.

    `scored` is the share of the users, the first ones, that have a test target; the others only
    train.
    """
    random = np.random.default_rng(0)
    lengths_U = random.integers(SHORTEST, LONGEST, n_users)
    users_R = np.repeat(np.arange(1, n_users + 1, dtype=np.int32), lengths_U)
    drawn_R = random.random(len(users_R), dtype=np.float32)
    items_R = np.minimum((n_items * drawn_R**3).astype(np.int32), n_items - 1) + 1
    part_R = np.full(len(users_R), TRAIN, dtype=np.int8)
    ends_U = np.cumsum(lengths_U)[: round(scored * n_users)]
    part_R[ends_U - 1], part_R[ends_U - 2] = TEST, VALID
    return Split(
        name="generated",
        n_users=n_users,
        n_items=n_items,
        row_users=users_R,
        row_items=items_R,
        part=part_R,
        hash="generated",
        parts_hash="generated",
    )


def measure(*, n_users: int, n_items: int, beyond: bool, share: float) -> dict[str, Any]:
    """Seconds, memory and a metric; of a scorer that knows nothing Hit@10 is about 10 / items."""
    torch.set_num_threads(1)
    keep_freed_memory()
    split = generated_split(n_users=n_users, n_items=n_items, scored=share)
    scorer = LowRank(n_users=n_users, n_items=n_items)
    made = peak_megabytes()
    printed = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal printed
        if time.monotonic() - printed > PRINT_EVERY:
            printed = time.monotonic()
            print(f"{done:,} of {total:,} users", file=sys.stderr, flush=True)

    begin = now()
    task = RankingTask(
        split=split,
        phase="test",
        rankings={"full": RankingConfig(cutoffs=[10])},
        candidates={},
        metrics=["ndcg", "hit"],
        catalogue=catalogue(split, None) if beyond else None,
    )
    found = evaluate(scorer, task, progress=tell)
    seconds = since(begin)
    return {
        "users": n_users,
        "items": n_items,
        "users_scored": found.n_users,
        "interactions": len(split.part),
        "beyond": beyond,
        "cpu_seconds": seconds.cpu,
        "wall_seconds": seconds.wall,
        "users_a_cpu_second": found.n_users / seconds.cpu,
        "megabytes_before": made,
        "peak_megabytes": peak_megabytes(),
        "hit_at_10": found.means["full/hit_at_10"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluation_large",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--share", type=float, default=1.0, help="of the users that are scored")
    parser.add_argument("--beyond", action="store_true", help="collect the lists too")
    given = parser.parse_args()
    found = measure(
        n_users=given.users, n_items=given.items, beyond=given.beyond, share=given.share
    )
    write_json(OUT, {**found, "packages": packages(), "host": machine()})
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
