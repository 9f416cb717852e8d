"""A tracked run ranks: the likes of a conversation are the history that its model reads.

A model that learns a vector a user and reads no history can rank for its own users alone; for anybody else, and where
nothing is liked yet, the neighbours answer (`ranking.py`), and the rule says so. A model of the users' columns ranks by
the profile where nothing is liked yet.

I items (the padding left out).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scipy import sparse

from experiments.talk.catalogue import Catalogue
from experiments.talk.ranking import ByNeighbours, Ranked

if TYPE_CHECKING:
    from experiments.serving.recommender import Recommender


class ByRun(ByNeighbours):
    """Ranks by the model of a finished run; the neighbours answer where it knows nothing, and count what items share.

    Parameters
    ----------
    interactions, catalogue, data_hash
        As of `ByNeighbours`.
    recommender : Recommender
    """

    def __init__(
        self,
        interactions: sparse.csr_matrix,
        catalogue: Catalogue,
        *,
        data_hash: str,
        recommender: "Recommender",
    ) -> None:
        super().__init__(interactions, catalogue, data_hash=data_hash)
        self._recommender = recommender

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
        """Scores of all items by the model, between 0 and 1.

        Parameters
        ----------
        history, dislikes, profile, user
            As of `ByNeighbours`.
        """
        able = self._recommender.reads_histories
        columns: tuple[str, ...] = ()
        if user is None and profile and not history and self._recommender.reads_profiles:
            made = self._recommender.profile_scores(profile)[1:].astype(float)
            columns = tuple(f"{column}={value}" for column, value in profile.items())
        elif user is None and not (history and able):
            return super().rank(history, dislikes, profile, user)
        else:
            number = None if user is None else user + 1
            later = [row + 1 for row in history] if able else []
            made = self._recommender.scores(number, later)[1:].astype(float)
        least, most = made.min(), made.max()
        scores = (made - least) / max(float(most - least), 1e-12)
        return Ranked(self.pushed(scores, dislikes), "run", columns=columns)
