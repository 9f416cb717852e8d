"""LensKit: ALS, item neighbours and EASE, in Rust and torch."""

import numpy as np
import pandas as pd
import torch
from lenskit.als import ImplicitMFScorer
from lenskit.data import ItemList, RecQuery, from_interactions_df
from lenskit.knn import EASEScorer, ItemKNNScorer
from lenskit.parallel import initialize
from lenskit.training import TrainingOptions

PACKAGES = ("lenskit", "torch", "numpy", "scipy")


def dataset(task):
    torch.set_num_threads(task.threads)
    initialize(threads=task.threads, backend_threads=task.threads)
    frame = pd.DataFrame({"user_id": task.users, "item_id": task.items})
    return from_interactions_df(frame)


def scorer_of(task, model):
    """Scores by calling the component for each user with the user's history.

    It refuses items that nobody has in training; they come last.
    """
    histories = {phase: task.lists(phase, task.n_items) for phase in ("valid", "test")}
    trained = np.unique(task.items)
    every = ItemList(item_ids=trained)
    task.facts["reads_valid_item"] = True

    def score(phase, users_B):
        scores = np.full((len(users_B), task.n_items), -np.inf, dtype=np.float32)
        for row, user in enumerate(users_B):
            known = np.intersect1d(histories[phase][user], trained)
            query = RecQuery(user_id=user, user_items=ItemList(item_ids=known))
            scores[row, trained] = model(query=query, items=every).scores("numpy")
        return np.nan_to_num(scores, nan=-np.inf)

    return score


def als(task):
    data = dataset(task)
    model = ImplicitMFScorer(epochs=task.passes, **task.settings)
    score = scorer_of(task, model)
    trainer = model.create_trainer(data, TrainingOptions(rng=task.seed))
    task.start()
    for _ in range(task.passes):
        trainer.train_epoch()
        task.after_pass(score)


def _closed(task, model):
    data = dataset(task)
    task.start()
    model.train(data, TrainingOptions(rng=task.seed, device="cpu"))
    task.after_pass(scorer_of(task, model))


def itemknn(task):
    _closed(task, ItemKNNScorer(feedback="implicit", **task.settings))


def ease(task):
    _closed(task, EASEScorer(**task.settings))


MODELS = {"als": als, "itemknn": itemknn, "ease": ease}
