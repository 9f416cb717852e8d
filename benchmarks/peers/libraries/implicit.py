"""The package implicit: ALS, BPR and item neighbours, in C++ and Cython."""

import implicit.cpu.als
import implicit.cpu.bpr
import implicit.nearest_neighbours
import numpy as np

PACKAGES = ("implicit", "numpy", "scipy")


def als(task):
    """At test a user's factors are solved for the whole history, as ours are."""
    rows = {phase: task.rows(phase) for phase in ("valid", "test")}
    model = implicit.cpu.als.AlternatingLeastSquares(
        iterations=task.passes, num_threads=task.threads, random_state=task.seed, **task.settings
    )

    task.facts["reads_valid_item"] = True

    def score(phase, users_B):
        model._YtY = None  # it is kept from the pass before
        if phase == "valid":
            return model.user_factors[users_B] @ model.item_factors.T
        return model.recalculate_user(users_B, rows[phase][users_B]) @ model.item_factors.T

    def after_pass(iteration, seconds, loss):
        task.after_pass(score)

    task.start()
    model.fit(rows["valid"], show_progress=False, callback=after_pass)


def bpr(task):
    rows = task.rows()
    model = implicit.cpu.bpr.BayesianPersonalizedRanking(
        iterations=task.passes, num_threads=task.threads, random_state=task.seed, **task.settings
    )

    task.facts["reads_valid_item"] = False

    def score(phase, users_B):
        return model.user_factors[users_B] @ model.item_factors.T

    def after_pass(*progress):
        task.after_pass(score)

    task.start()
    model.fit(rows, show_progress=False, callback=after_pass)


def itemknn(task):
    rows = {phase: task.rows(phase, dtype=np.float64) for phase in ("valid", "test")}
    model = implicit.nearest_neighbours.CosineRecommender(num_threads=task.threads, **task.settings)
    task.facts["reads_valid_item"] = True
    task.start()
    model.fit(rows["valid"], show_progress=False)
    task.after_pass(lambda phase, users_B: (rows[phase][users_B] @ model.similarity).toarray())


def pop(task):
    """How often an item was interacted with: what the benchmark's own test runs."""
    task.start()
    counts = np.bincount(task.items, minlength=task.n_items)
    for _ in range(task.passes):
        task.after_pass(lambda phase, users_B: np.tile(counts, (len(users_B), 1)))


MODELS = {"als": als, "bpr": bpr, "itemknn": itemknn, "pop": pop}
