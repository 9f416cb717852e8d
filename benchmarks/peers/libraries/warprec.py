"""WarpRec: its SASRec on Lightning, a row for every prefix; without Ray, which would start processes."""

import lightning
import narwhals as nw
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from warprec.data.entities import Sessions
from warprec.recommenders.sequential_recommender.sasrec import SASRec

PACKAGES = ("warprec", "lightning", "torch", "numpy")


def sasrec(task):
    torch.set_num_threads(task.threads)
    task.facts["reads_valid_item"] = True
    frame = pd.DataFrame({"user_id": task.users, "item_id": task.items, "timestamp": task.places})
    same = [{number: number for number in range(n)} for n in (task.n_users, task.n_items)]
    sessions = Sessions(nw.from_native(frame, eager_only=True), *same, task.rows())
    model = SASRec(
        {**task.settings, "epochs": task.passes},
        {"n_users": task.n_users, "n_items": task.n_items},
        seed=task.seed,
    )
    longest = task.settings["max_seq_len"]

    @torch.no_grad()
    def score(phase, users_B):
        model.eval()
        items_BL = task.padded(phase, users_B, longest, left=False)
        lengths_B = np.maximum((items_BL != task.n_items).sum(axis=1), 1)
        return model.predict(torch.from_numpy(items_BL), torch.from_numpy(lengths_B)).numpy()

    trainer = lightning.Trainer(**task.lightning(Callback, score))
    trainer.fit(model, model.get_dataloader(interactions=None, sessions=sessions, seed=task.seed))


MODELS = {"sasrec": sasrec}
