"""Evaluation: full ranking of every test user by RecBole's trainer and by our evaluator, same model.

    python -m benchmarks evaluation

RecBole's side is its Trainer.evaluate over its FullSortEvalDataLoader, made beforehand, with its
default metrics at 10: it scores eval_batch_size // n_items users at a time, which by default are one
or two. The same is measured with an eval_batch_size of 256 users, which its users may set. One
process, one thread, by turns. The model is an untrained BPR with D=64; both rank the same targets
among all items but the user's history.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader.general_dataloader import FullSortEvalDataLoader
from recbole.sampler import Sampler
from recbole.trainer import Trainer

from benchmarks.data import available, overrides
from benchmarks.measure import Measured, Seconds, timed
from benchmarks.setup_model import Setup, untrained_peer
from experiments.bridge.dataset import TrainingRows
from experiments.bridge.scorer import RecBoleScorer
from experiments.config.schema import RankingConfig
from experiments.evaluation.evaluate import RankingTask, evaluate
from experiments.protocol.split import TEST, TRAIN, VALID
from experiments.training.memory import keep_freed_memory

REPEATS = 5
METRICS = {"recall": "Recall", "mrr": "MRR", "ndcg": "NDCG", "hit": "Hit", "precision": "Precision"}
"""Our names and RecBole's, of its default metrics."""

USERS_AT_ONCE = {"as by default": None, "256 users a batch": 256}
"""How many users RecBole scores at a time."""


def measure() -> Iterator[Measured]:
    """Every data set that is at hand, with both sizes of RecBole's batches."""
    torch.set_num_threads(1)
    keep_freed_memory()
    for dataset in available():
        with TemporaryDirectory() as folder:
            made = untrained_peer([*overrides(dataset), "model=bpr"], Path(folder))
            for label, users in USERS_AT_ONCE.items():
                yield _measure(made, dataset, label, users)


def _measure(made: Setup, dataset: str, label: str, users: int | None) -> Measured:
    print(f"evaluation: {dataset}, RecBole {label}", file=sys.stderr)
    theirs, ours = recboles_evaluation(made, users), our_evaluation(made)
    expected, found = theirs(), ours()
    for our, their in METRICS.items():
        difference = abs(expected[f"{their.lower()}@10"] - found[f"full/{our}_at_10"])
        assert difference < 1e-4, f"the two evaluators disagree on {our}: {expected}, {found}"
    measured = Measured(
        name=f"evaluation {dataset} RecBole {label}, seconds for all users, one thread"
    )
    for _ in range(REPEATS):
        both: list[Seconds] = []
        for run in (theirs, ours):
            with timed() as seconds:
                run()
            both.append(seconds)
        measured.add(*both)
    measured.facts = {"users": len(made.shared.split.users("test")), "model": "BPR, D=64"}
    return measured


def recboles_evaluation(made: Setup, users_at_once: int | None) -> Callable[[], dict[str, float]]:
    """RecBole's evaluation of the test targets, ready to run."""
    config = made.recbole
    config["metrics"], config["topk"] = list(METRICS.values()), [10]
    config["metric_decimal_place"] = 8
    if users_at_once is not None:
        config["eval_batch_size"] = users_at_once * made.dataset.item_num
    train, valid, test = (_rows(made, part) for part in (TRAIN, VALID, TEST))
    sampler = Sampler(["train", "valid", "test"], [train, valid, test]).set_phase("test")
    loader = FullSortEvalDataLoader(config, test, sampler)
    trainer = Trainer(config, made.model)
    return lambda: dict(trainer.evaluate(loader, load_best_model=False))


def our_evaluation(made: Setup) -> Callable[[], dict[str, float]]:
    """Our evaluation of the same targets and metrics."""
    split = made.shared.split
    history = split.history("test")
    task = RankingTask(
        split=split,
        phase="test",
        rankings={"full": RankingConfig(cutoffs=[10])},
        candidates={},
        metrics=list(METRICS),
    )
    return lambda: (
        evaluate(RecBoleScorer(made.model, dataset=made.dataset, history=history), task).means
    )


def _rows(made: Setup, part: int) -> Any:
    """One part of the split as a RecBole Dataset."""
    split = made.shared.split
    alone = replace(split, part=np.where(split.part == part, TRAIN, VALID).astype(np.int8))
    return TrainingRows(made.recbole, data=made.shared.data, split=alone)
