"""Cornac: BPR in Cython, and EASE.

Its item neighbours predict a mean of ratings, which ranks nothing where all ratings are 1; its weighted
matrix factorisation wants TensorFlow 2.12.
"""

import cornac.models.bpr.recom_bpr as bpr_module
import numpy as np
from cornac.data import Dataset
from cornac.models import BPR, EASE

PACKAGES = ("cornac", "numpy", "scipy")


def dataset(task):
    return Dataset.from_uir(
        list(zip(task.users.tolist(), task.items.tolist(), [1.0] * len(task.users), strict=True)),
        seed=task.seed,
    )


def scorer_of(task, model, data):
    """Scores by the user's number in its data set; it reads no history at test."""
    users = [data.uid_map.get(user) for user in range(task.n_users)]
    columns = np.array(list(data.iid_map), dtype=np.int64)
    task.facts["reads_valid_item"] = False

    def score(phase, users_B):
        scores_BN = np.full((len(users_B), task.n_items), -np.inf, dtype=np.float32)
        for row, user in enumerate(users_B):
            scores_BN[row, columns] = np.asarray(model.score(users[user])).ravel()
        return scores_BN

    return score


def bpr(task):
    data = dataset(task)
    model = BPR(max_iter=task.passes, num_threads=task.threads, seed=task.seed, **task.settings)
    score = scorer_of(task, model, data)

    class Passes:
        """Stands in for the progress bar of its loop, which is at its next epoch after each."""

        def __init__(self, passes, **options):
            self._passes = passes

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return False

        def __iter__(self):
            task.start()
            for number in range(self._passes):
                yield number
                task.after_pass(score)

        def set_postfix(self, values):
            pass

    bpr_module.trange = Passes
    model.fit(data)


def _closed(task, model):
    data = dataset(task)
    task.start()
    model.fit(data)
    task.after_pass(scorer_of(task, model, data))


def ease(task):
    _closed(task, EASE(verbose=False, **task.settings))


MODELS = {"bpr": bpr, "ease": ease}
