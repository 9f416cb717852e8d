"""Ours: what `python run.py model=NAME` trains, by the same strategy, with the passes told.

The model and the data as RecBole's classes want them are made before the clock starts, as those of
the other libraries are; models in closed form are solved while they are made, and their making counts.
"""

from pathlib import Path

import numpy as np
import torch

from benchmarks.setup_model import untrained
from experiments.bridge.inputs import reads_histories
from experiments.bridge.scorer import RecBoleScorer
from experiments.components.registry import strategy_config
from experiments.training.memory import keep_freed_memory

PACKAGES = ("paddock", "recbole", "torch", "implicit", "numpy", "scipy")


def train(task):
    torch.set_num_threads(task.threads)
    keep_freed_memory()  # as every run does
    made = untrained(task.context["overrides"], Path(task.folder), seed=task.seed)
    split = made.shared.split
    assert np.array_equal(split.train_items - 1, task.items), "the others have other data"
    model = made.model

    def score(phase, users_B):
        scorer = RecBoleScorer(model, dataset=made.dataset, history=split.history(phase))
        return scorer.score(users_B + 1)[:, 1:].numpy()

    task.facts["reads_valid_item"] = reads_histories(model)
    strategy = strategy_config(made.values["strategy"])
    task.facts["hyperparameters"] = made.values
    if strategy.name == "recbole":  # EASE, neighbours, counts: nothing is left to train
        task.start()
        model = type(made.model)(made.recbole, made.dataset)
        task.after_pass(score)
        return
    task.start()
    strategy = made.strategy()
    for epoch in range(task.passes):
        strategy.train_epoch(epoch, lambda done, total: None)
        task.after_pass(score)


class Any(dict):
    """Every model is trained in the same way."""

    def __missing__(self, name):
        return train


MODELS = Any()
