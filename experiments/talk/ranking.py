"""Scores of all items for what a conversation knows: by history, else by profile, else by popularity.

The ladder of cold starts: user-based collaborative filtering where items are liked (Herlocker et al., 1999), the
favourites of people of the same profile where only that is known, what most people took otherwise. It needs no trained
model; a tracked run takes the first step's place where there is one.

I items, U users.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from scipy import sparse

from experiments.talk.catalogue import Catalogue

if TYPE_CHECKING:
    from experiments.data.prepared import Prepared

NEIGHBOURS = 100
"""Users whose interactions count for a history."""

FEWEST = 10
"""Users that a profile's group must have: below, its least telling column is left out."""

NEAR = 5.0
"""How far numbers of a profile may be apart, such as years of age."""


@dataclass(frozen=True)
class Ranked:
    """Scores of all items, and by which rule they came.

    Attributes
    ----------
    scores : ndarray
        (I,), higher is better, 0 to 1.
    rule : str
        "history", "profile", "popular", or the way of a run.
    people : int
        How many users the scores were counted over.
    columns : tuple of str
        The profile columns that the group shares, as "column=value".
    """

    scores: np.ndarray
    rule: str
    people: int = 0
    columns: tuple[str, ...] = ()


class ByNeighbours:
    """Ranks by the users of the data set, with no model.

    Parameters
    ----------
    interactions : sparse matrix
        (U, I), 1 where a user has an item.
    catalogue : Catalogue
    data_hash : str
        Of the data set.
    """

    def __init__(
        self, interactions: sparse.csr_matrix, catalogue: Catalogue, *, data_hash: str
    ) -> None:
        self._by_user = interactions.tocsr()
        self._by_item = interactions.tocsc()
        self._catalogue = catalogue
        self._counts = np.asarray(interactions.sum(0)).ravel()
        self._lengths = np.sqrt(np.asarray(interactions.sum(1)).ravel())
        self._hash = data_hash

    @classmethod
    def of(
        cls,
        data: "Prepared",
        catalogue: Catalogue,
        *,
        rows: np.ndarray | None = None,
        **more: Any,
    ) -> Self:
        """The ranker of the interactions of a prepared data set.

        Parameters
        ----------
        data : Prepared
        catalogue : Catalogue
        rows : ndarray of int, optional
            The interactions that count, such as those of training; None: all.
        more
            What the class takes besides.
        """
        users, items = (
            (data.users, data.items) if rows is None else (data.users[rows], data.items[rows])
        )
        ones = np.ones(len(users), dtype=np.float32)
        shape = (data.n_users, data.n_items)
        matrix = sparse.coo_matrix((ones, (users - 1, items - 1)), shape=shape).tocsr()
        matrix.data[:] = 1.0
        return cls(matrix, catalogue, data_hash=data.hash, **more)

    @property
    def origin(self) -> Mapping[str, str]:
        """What the scores come from: run, model, data. No run stands behind it."""
        return {"model": "neighbours", "data": self._hash, "run_id": ""}

    def rank(
        self,
        history: Sequence[int],
        dislikes: Sequence[int],
        profile: Mapping[str, str],
        user: int | None,
    ) -> Ranked:
        """Scores of all items; what is like a disliked item loses by its likeness.

        Parameters
        ----------
        history, dislikes : sequence of int
            Rows of items.
        profile : mapping of str to str
            User column to value.
        user : int or None
            Row of a user of the data set, whose items belong to the history.
        """
        own = self.taken(user) if user is not None else np.empty(0, dtype=int)
        rows = np.unique(np.concatenate([np.asarray(history, dtype=int), own]))
        if len(rows):
            ranked = self._by_history(rows, user)
        elif group := self._group(profile):
            ranked = group
        else:
            scores = self._counts / max(self._counts.max(), 1)
            ranked = Ranked(scores, "popular", people=self._by_user.shape[0])
        return replace(ranked, scores=self.pushed(ranked.scores, dislikes))

    def pushed(self, scores: np.ndarray, dislikes: Sequence[int]) -> np.ndarray:
        """Scores, (I,), of which every item has lost by its likeness to disliked ones."""
        for row in dislikes:
            scores = scores * (1.0 - np.minimum(self.similar(row), 1.0))
        return scores

    def similar(self, row: int) -> np.ndarray:
        """The cosine of the users of every item with those of one, (I,); 1 for itself."""
        together = np.asarray((self._by_user.T @ self._by_item[:, [row]]).todense()).ravel()
        return together / np.sqrt(np.maximum(self._counts * self._counts[row], 1.0))

    def shared(self, row: int, other: int) -> int:
        """How many users have both items."""
        pair = self._by_item[:, [row, other]]
        return int((pair[:, [0]].multiply(pair[:, [1]])).sum())

    def taken(self, user: int) -> np.ndarray:
        """The rows of a known user's items."""
        return self._by_user.indices[self._by_user.indptr[user] : self._by_user.indptr[user + 1]]

    def _by_history(self, rows: np.ndarray, user: int | None) -> Ranked:
        asked = np.zeros(self._by_user.shape[1], dtype=np.float32)
        asked[rows] = 1.0
        alike = (self._by_user @ asked) / np.maximum(self._lengths * np.sqrt(len(rows)), 1e-9)
        if user is not None:
            alike[user] = 0.0
        nearest = np.argsort(-alike, kind="stable")[:NEIGHBOURS]
        nearest = nearest[alike[nearest] > 0]
        scores = self._by_user[nearest].T @ alike[nearest]
        return Ranked(scores / max(float(scores.max(initial=0)), 1e-9), "history", len(nearest))

    def _group(self, profile: Mapping[str, str]) -> Ranked | None:
        """The favourites of the users who share as much of a profile as leaves FEWEST of them."""
        masks = {
            f"{column}={value}": mask
            for column, value in profile.items()
            if (mask := self._shares(column, value)) is not None and mask.any()
        }
        while masks:
            members = np.logical_and.reduce(list(masks.values()))
            if members.sum() >= FEWEST or len(masks) == 1:
                break
            # The column that leaves the fewest users goes.
            del masks[min(masks, key=lambda name: int(masks[name].sum()))]
        if not masks:
            return None
        counts = np.asarray(self._by_user[members].sum(0)).ravel()
        return Ranked(counts / max(counts.max(), 1), "profile", int(members.sum()), tuple(masks))

    def _shares(self, column: str, value: str) -> np.ndarray | None:
        if column not in self._catalogue.profile:
            return None
        cells = self._catalogue.users[column]
        if self._catalogue.profile[column]:
            if isinstance(cells.dtype, pl.List):
                return np.array([value in (cell or []) for cell in cells.to_list()], dtype=bool)
            return (cells.cast(pl.String) == value).fill_null(False).to_numpy()
        try:
            near = (cells.cast(pl.Float64, strict=False) - float(value)).abs() <= NEAR
        except ValueError:
            return None
        return near.fill_null(False).to_numpy()
