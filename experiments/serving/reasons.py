"""Why items are in an answer, looked up in the data; no model writes a word of it.

M items of a history, N items (padding included).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.serving.names import Names
from experiments.serving.requests import Reason, Request
from experiments.serving.spaces import ItemSpace
from experiments.serving.texts import TextIndex

READ = 50
"""Items at the end of a history among which reasons are looked for."""

NEAR = 0.1
"""Cosine below which an item of the history is no reason."""


class Reasons:
    """The reasons of one answer.

    Parameters
    ----------
    request : Request
    history : sequence of int
        What the scores were made of, in time order.
    rule : str
        Which way answered.
    names : Names
    past : str
        What users did with an item, such as "watched".
    space : ItemSpace
        How near items are.
    texts : TextIndex or None
        What a query was searched in; None without one.
    popularity_N : ndarray of int
        Interactions of each item.
    """

    def __init__(
        self,
        request: Request,
        history: Sequence[int],
        *,
        rule: str,
        names: Names,
        past: str,
        space: ItemSpace,
        texts: TextIndex | None,
        popularity_N: NDArray[np.int64],
    ) -> None:
        self._request = request
        self._rule = rule
        self._names = names
        self._past = past
        self._texts = texts
        self._popularity_N = popularity_N
        self._history = list(dict.fromkeys(history))[-READ:]
        self._near_MN = None
        if self._history and rule != "query":
            self._near_MN = space.similar(self._history)

    def of(self, item: int) -> tuple[Reason, ...]:
        """Why an item is in the answer: the nearest of the history, words, columns; else how many have it.

        Parameters
        ----------
        item : int
            Its internal number.
        """
        found = [self._by_history(item), self._by_query(item), self._by_profile()]
        reasons = tuple(reason for reason in found if reason is not None)
        return reasons or (self._by_popularity(item),)

    def _by_history(self, item: int) -> Reason | None:
        if self._near_MN is None:
            return None
        place = int(self._near_MN[:, item].argmax())
        if self._near_MN[place, item] < NEAR:
            return None
        nearest = self._history[place]
        whose = "the user" if self._request.user is not None else "you"
        sentence = f'{whose} {self._past} "{self._names.title(nearest)}"'
        return Reason("history", sentence, (self._names.token(nearest),))

    def _by_query(self, item: int) -> Reason | None:
        if self._texts is None or not self._request.query or "query" not in self._rule:
            return None
        words = self._texts.matching(self._request.query, item)
        return Reason("query", f"its text has {', '.join(words)}", words) if words else None

    def _by_profile(self) -> Reason | None:
        if self._rule != "profile":
            return None
        columns = tuple(f"{column}={value}" for column, value in self._request.profile.items())
        return Reason("profile", f"what users of {', '.join(columns)} have", columns)

    def _by_popularity(self, item: int) -> Reason:
        count, users = int(self._popularity_N[item]), self._names.users
        return Reason("popular", f"{count} interactions of {users} users", (str(count),))
