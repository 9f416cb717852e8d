"""A tracked run ranks: the likes of a conversation are the history that its model reads.

A model that learns a vector a user and reads no history can rank for its own users alone; for anybody else, and where
nothing is liked yet, the neighbours answer (`ranking.py`), and the rule says so. A model of the users' columns ranks by
the profile where nothing is liked yet.

I items (the padding left out).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.talk.catalogue import Catalogue
from experiments.talk.ranking import ByNeighbours, Ranked

if TYPE_CHECKING:
    from experiments.serving.recommender import Recommender


class ByRun:
    """Ranks by the model of a finished run.

    Parameters
    ----------
    recommender : Recommender
    catalogue : Catalogue
        Of the recommender's data.
    neighbours : ByNeighbours, optional
        Answers where the model knows nothing; by default of all interactions.
    """

    def __init__(
        self,
        recommender: "Recommender",
        catalogue: Catalogue,
        neighbours: ByNeighbours | None = None,
    ) -> None:
        self._recommender = recommender
        self._neighbours = neighbours or ByNeighbours.of(recommender.data, catalogue)

    @property
    def origin(self) -> Mapping[str, str]:
        """The run, its model and the data."""
        origin = self._recommender.origin
        return {name: str(value or "") for name, value in vars(origin).items()}

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
        able = self._recommender.reads_histories
        columns: tuple[str, ...] = ()
        if user is None and profile and not history and self._recommender.reads_profiles:
            made = self._recommender.profile_scores(profile)[1:].astype(float)
            columns = tuple(f"{column}={value}" for column, value in profile.items())
        elif user is None and not (history and able):
            return self._neighbours.rank(history, dislikes, profile, user)
        else:
            number = None if user is None else user + 1
            later = [row + 1 for row in history] if able else []
            made = self._recommender.scores(number, later)[1:].astype(float)
        least, most = made.min(), made.max()
        scores = (made - least) / max(float(most - least), 1e-12)
        for row in dislikes:
            scores = scores * (1.0 - np.minimum(self.similar(row), 1.0))
        return Ranked(scores, "run", columns=columns)

    def similar(self, row: int) -> np.ndarray:
        """As the neighbours count it."""
        return self._neighbours.similar(row)

    def shared(self, row: int, other: int) -> int:
        """How many users have both items."""
        return self._neighbours.shared(row, other)

    def taken(self, user: int) -> np.ndarray:
        """The rows of a known user's items."""
        return self._neighbours.taken(user)
