"""The scores of a run's model: of its users, of other histories, of profiles.

B users, N items (padding included).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.bridge.inputs import reads_histories
from experiments.bridge.scorer import RecBoleScorer
from experiments.errors import PaddockError
from experiments.protocol.sequences import Sequences
from experiments.serving.opened import Opened

CAN = "sequential models (model=sasrec), item neighbours, closed forms (model=ease, linear_text) and autoencoders can"

Scores = NDArray[np.float32]


class Scoring:
    """What a model says of all items.

    Parameters
    ----------
    opened : Opened
    name : str
        Of the model, for errors.
    """

    def __init__(self, opened: Opened, *, name: str) -> None:
        self.model = opened.model
        self._dataset = opened.dataset
        self._data = opened.data
        self._name = name

    @property
    def reads_histories(self) -> bool:
        """Whether it scores a history of somebody who is none of its users."""
        return reads_histories(self.model)

    @property
    def reads_profiles(self) -> bool:
        """Whether it scores somebody by the users' columns alone."""
        return hasattr(self.model, "scores_of")

    def items_of(self, user: int) -> list[int]:
        """The numbers of all items that a user had, in time order; of user 0 none.

        Parameters
        ----------
        user : int
        """
        start, end = self._data.indptr[user], self._data.indptr[user + 1]
        return [int(item) for item in self._data.items[start:end]]

    def scorer_of(self, history: Sequences) -> RecBoleScorer:
        """The model as a scorer of its users, with other histories.

        Parameters
        ----------
        history : Sequences
            One row a user id of its data, (n_users + 1).
        """
        return RecBoleScorer(self.model, dataset=self._dataset, history=history)

    @cached_property
    def known(self) -> RecBoleScorer:
        """The model as a scorer of its users, each by all that he had."""
        return self.scorer_of(Sequences(indptr=self._data.indptr, items=self._data.items))

    def scorer_for(self, user: int | None, later: Sequence[int]) -> RecBoleScorer:
        """What scores one user, or somebody new (user 0), with items that came later.

        Parameters
        ----------
        user : int or None
            The number of a user, whose items come first; None: somebody new.
        later : sequence of int
            Numbers of items.

        Raises
        ------
        PaddockError
            If items came later, and this model cannot score another history.
        """
        if not later:
            return self.known
        if not self.reads_histories:
            raise PaddockError(
                f"{self._name} has a vector for each of its users and cannot score another history: {CAN}"
            )
        row = user or 0  # the padding's row stands for somebody new
        return self.scorer_of(self.with_row(row, [*self.items_of(row), *later]))

    def of_history(self, user: int | None, later: Sequence[int] = ()) -> Scores:
        """Scores of all items, (N,); the padding's means nothing.

        Parameters and errors as of `scorer_for`.
        """
        scores_1N = self.scorer_for(user, later).score(np.array([user or 0]))
        made: Scores = scores_1N[0].float().cpu().numpy()
        return made

    def of_profile(self, profile: Mapping[str, Any]) -> Scores:
        """Scores of all items for somebody of whom columns are known, (N,).

        Parameters
        ----------
        profile : mapping of str to object
            User column -> value.

        Raises
        ------
        PaddockError
            If the model reads no columns, or not this one or its value.
        """
        if not self.reads_profiles:
            raise PaddockError(
                f"{self._name} reads no columns of users: take a run of model=profile, or give a history"
            )
        try:
            made: Scores = self.model.scores_of(dict(profile)).float().cpu().numpy()
        except ValueError as error:
            raise PaddockError(f"profile: {error}") from error
        return made

    def with_row(self, row: int, items: Sequence[int]) -> Sequences:
        """A history of one row; those of the others stay where the model reads all of them.

        Parameters
        ----------
        row : int
            The number of a user, or 0.
        items : sequence of int
            All of the row's items, in time order.
        """
        this = np.array(items, dtype=np.int32)
        if not getattr(self.model, "reads_all_histories", False):
            indptr = np.zeros(self._data.n_users + 2, dtype=np.int64)
            indptr[row + 1 :] = len(this)
            return Sequences(indptr=indptr, items=this)
        start, end = self._data.indptr[row], self._data.indptr[row + 1]
        indptr = np.array(self._data.indptr)
        indptr[row + 1 :] += len(this) - (end - start)
        return Sequences(
            indptr=indptr,
            items=np.concatenate([self._data.items[:start], this, self._data.items[end:]]),
        )


def spread(scores_N: Scores) -> float:
    """The standard deviation of the finite scores, padding left out; 1 where there is none.

    Parameters
    ----------
    scores_N : ndarray
    """
    return float(scores_N[1:][np.isfinite(scores_N[1:])].std()) or 1.0


def standardised(scores_N: Scores) -> Scores:
    """Scores of mean 0 and standard deviation 1.

    Parameters
    ----------
    scores_N : ndarray
    """
    left = scores_N[1:][np.isfinite(scores_N[1:])]
    made: Scores = ((scores_N - left.mean()) / (left.std() or 1.0)).astype(np.float32)
    return made
