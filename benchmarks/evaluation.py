"""Evaluation: full ranking of every user of ml-100k, RecBole's evaluator and ours, same scores."""

import logging
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from recbole.data.interaction import Interaction
from recbole.evaluator import Collector, Evaluator

from benchmarks.measure import Measured
from benchmarks.setup_model import untrained
from experiments.bridge.scorer import RecBoleScorer
from experiments.evaluate import evaluate

REPEATS = 5
EVAL_BATCH_SIZE = 4096
"""RecBole's default: it scores EVAL_BATCH_SIZE // n_items users at a time."""


def measure() -> Measured:
    """Interleave the two evaluations of one untrained BPR: NDCG and Hit at 10, history masked."""
    torch.set_num_threads(1)
    logging.getLogger().setLevel(logging.ERROR)
    with TemporaryDirectory() as folder:
        config, shared, model, dataset, recbole = untrained(["model=bpr"], Path(folder))
    recbole["metrics"], recbole["topk"] = ["NDCG", "Hit"], [10]
    model.eval()
    history, targets = shared.split.history("test"), shared.split.targets("test")
    users = shared.split.users("test")
    n_items = dataset.item_num
    step = max(1, EVAL_BATCH_SIZE // n_items)

    def theirs() -> float:
        """RecBole's Trainer.evaluate (trainer.py:560) with its batches of users."""
        collector, evaluator = Collector(recbole), Evaluator(recbole)
        for start in range(0, len(users), step):
            batch = users[start : start + step]
            seen, wanted = history.take(batch), targets.take(batch)
            with torch.no_grad():
                scores = model.full_sort_predict(
                    Interaction({"user_id": torch.from_numpy(batch)})
                ).view(-1, n_items)
            scores[:, 0] = -torch.inf
            scores[
                torch.from_numpy(seen.row_of_item()), torch.from_numpy(seen.items).long()
            ] = -torch.inf
            collector.eval_batch_collect(
                scores,
                Interaction({"user_id": torch.from_numpy(batch)}),
                torch.from_numpy(wanted.row_of_item()),
                torch.from_numpy(wanted.items).long(),
            )
        return evaluator.evaluate(collector.get_data_struct())["ndcg@10"]

    def ours() -> float:
        return evaluate(
            RecBoleScorer(model, dataset=dataset, history=history),
            split=shared.split,
            phase="test",
            rankings={"full": config.protocol.rankings["full"]},
            candidates={},
            metrics=["ndcg", "hit"],
        ).means["full/ndcg_at_10"]

    measured = Measured(name="full ranking of ml-100k's 943 users, seconds (one thread)")
    assert abs(theirs() - ours()) < 1e-4, "the two evaluators disagree"
    for _ in range(REPEATS):
        for side, run in ((measured.theirs, theirs), (measured.ours, ours)):
            started = time.perf_counter()
            run()
            side.append(time.perf_counter() - started)
    return measured
