"""RecTools: its SASRec on Lightning, its EASE, and its wrapper of implicit's item neighbours."""

import implicit.nearest_neighbours
import numpy as np
import pandas as pd
import pytorch_lightning
import torch
from pytorch_lightning.callbacks import Callback
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import EASEModel, ImplicitItemKNNWrapperModel
from rectools.models.nn.transformers.sasrec import SASRecModel

PACKAGES = ("rectools", "pytorch-lightning", "torch", "implicit", "numpy", "scipy")
LONGEST = 10


def dataset(task, phase):
    """The interactions before the targets, one second apart."""
    users, items, places = task.history(phase)
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: users,
                Columns.Item: items,
                Columns.Weight: 1.0,
                Columns.Datetime: pd.to_datetime(places, unit="s"),
            }
        )
    )


def recommended(task, model, data, users_B):
    """Its own lists of items, the history left out, as scores."""
    found = model.recommend(users=users_B, dataset=data, k=LONGEST, filter_viewed=True)
    lists_BK = np.full((len(users_B), LONGEST), -1)
    rows = pd.Series(np.arange(len(users_B)), index=users_B)[found[Columns.User]].to_numpy()
    lists_BK[rows, found[Columns.Rank].to_numpy() - 1] = found[Columns.Item].to_numpy()
    return task.scores_of(lists_BK)


def _closed(task, model):
    data = {phase: dataset(task, phase) for phase in ("valid", "test")}
    task.facts["reads_valid_item"] = False  # it numbers items by the data that it was fitted on
    task.start()
    model.fit(data["valid"])
    task.after_pass(lambda phase, users_B: recommended(task, model, data["valid"], users_B))


def ease(task):
    _closed(task, EASEModel(recommend_n_threads=task.threads, **task.settings))


def itemknn(task):
    inner = implicit.nearest_neighbours.CosineRecommender(num_threads=task.threads, **task.settings)
    _closed(task, ImplicitItemKNNWrapperModel(inner))


def sasrec(task):
    torch.set_num_threads(task.threads)
    pytorch_lightning.seed_everything(task.seed)
    data = {phase: dataset(task, phase) for phase in ("valid", "test")}
    task.facts["reads_valid_item"] = True

    def score(phase, users_B):
        model.is_fitted = True  # it says so at the end of its fitting alone
        return recommended(task, model, data[phase], users_B)

    def trainer():
        return pytorch_lightning.Trainer(**task.lightning(Callback, score))

    model = SASRecModel(
        get_trainer_func=trainer,
        recommend_n_threads=task.threads,
        recommend_torch_device="cpu",
        **task.settings,
    )
    model.fit(data["valid"])


MODELS = {"sasrec": sasrec, "ease": ease, "itemknn": itemknn}
