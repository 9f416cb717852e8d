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
    """Scores by calling the component for each user with the user's history."""
    histories = {phase: task.lists(phase, task.n_items) for phase in ("valid", "test")}
    every = ItemList(item_ids=np.arange(task.n_items))
    task.facts["reads_valid_item"] = True

    def score(phase, users_B):
        rows = []
        for user in users_B:
            known = ItemList(item_ids=histories[phase][user])
            query = RecQuery(user_id=user, user_items=known)
            rows.append(model(query=query, items=every).scores("numpy"))
        return np.nan_to_num(np.stack(rows), nan=-np.inf)

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
