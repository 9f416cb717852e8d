"""A tracked run ranks: the likes of a conversation are the history that its model reads.

A model that learns a vector a user and reads no history can rank for its own users alone; for anybody else, and where
nothing is liked yet, the neighbours answer (`ranking.py`), and the rule says so.

I items (the padding left out).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments import checkpoint
from experiments.bridge.inputs import reads_histories
from experiments.bridge.scorer import RecBoleScorer
from experiments.config.resolve import resolve_model
from experiments.protocol.sequences import Sequences
from experiments.protocol.split import Split
from experiments.talk.catalogue import Catalogue
from experiments.talk.ranking import ByNeighbours, Ranked
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.device import device_of
from experiments.training.state import load_model_state

if TYPE_CHECKING:
    from experiments.data.prepared import Prepared
    from experiments.runs.folder import RunFolder


class ByRun:
    """Ranks by the model of a finished run.

    Parameters
    ----------
    folder : RunFolder
        Of the run, trained on this split.
    data : Prepared
    split : Split
    catalogue : Catalogue
    device : str
        As the configuration says it.
    """

    def __init__(
        self,
        folder: "RunFolder",
        data: "Prepared",
        split: Split,
        catalogue: Catalogue,
        *,
        device: str = "auto",
    ) -> None:
        self._neighbours = ByNeighbours.of(data, catalogue)
        self._data = data
        run = folder.run
        self._origin = {
            "model": str(run["model_key"]),
            "run_id": str(folder.tracking.get("run_id", "")),
            "folder": folder.path.name,
            "dataset": str(run["dataset"]),
            "protocol": str(run["protocol"]),
            "data": data.hash,
        }
        sections, values = checkpoint.load(folder.path / "model" / "model.safetensors")
        context = TrainingContext(
            data=data, split=split, seed=run["seed"], device=device_of(device), folder=folder.path
        )
        self._model, self._dataset, _ = build(resolve_model(values).values, context)
        load_model_state(self._model, *sections["model"])
        self.reads_histories = reads_histories(self._model)

    @property
    def origin(self) -> Mapping[str, str]:
        """The run, its model and the data."""
        return self._origin

    def rank(
        self,
        history: Sequence[int],
        dislikes: Sequence[int],
        profile: Mapping[str, str],
        user: int | None,
    ) -> Ranked:
        """Scores of all items by the model, between 0 and 1; the neighbours' where it knows nothing.

        Parameters
        ----------
        history, dislikes : sequence of int
            Rows of items.
        profile : mapping of str to str
            User column to value.
        user : int or None
            Row of a user of the data set.
        """
        knows = user is not None or (bool(history) and self.reads_histories)
        if not knows:
            return self._neighbours.rank(history, dislikes, profile, user)
        scores = self._scores(history, user)
        for row in dislikes:
            scores = scores * (1.0 - np.minimum(self.similar(row), 1.0))
        return Ranked(scores, "run")

    def similar(self, row: int) -> np.ndarray:
        """As the neighbours count it."""
        return self._neighbours.similar(row)

    def shared(self, row: int, other: int) -> int:
        """How many users have both items."""
        return self._neighbours.shared(row, other)

    def taken(self, user: int) -> np.ndarray:
        """The rows of a known user's items."""
        return self._neighbours.taken(user)

    def _scores(self, history: Sequence[int], user: int | None) -> np.ndarray:
        # Whoever is not of the data set stands in the first user's place, with a history of their own.
        place = 1 if user is None else user + 1
        start, stop = self._data.indptr[place], self._data.indptr[place + 1]
        own = self._data.items[start:stop] if user is not None else np.empty(0, dtype=np.int32)
        items = np.concatenate([own, np.asarray(history, dtype=np.int32) + 1]).astype(np.int32)
        indptr = np.zeros(self._data.n_users + 2, dtype=np.int64)
        indptr[place + 1 :] = len(items)
        scorer = RecBoleScorer(
            self._model, dataset=self._dataset, history=Sequences(indptr=indptr, items=items)
        )
        scores = scorer.score(np.array([place]))[0, 1:].double().cpu().numpy()
        least, most = scores.min(), scores.max()
        return (scores - least) / max(float(most - least), 1e-12)
