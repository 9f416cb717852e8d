"""Why items are in an answer, looked up in the data; no model writes a word of it.

M items of a history, K items of the answer.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.serving.names import Names
from experiments.serving.requests import Reason, Request
from experiments.serving.spaces import ItemSpace
from experiments.serving.texts import Found, TextSearch

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
    items : sequence of int
        Those of the answer.
    rule : str
        Which way answered.
    names : Names
    past : str
        What users did with an item, such as "watched".
    space : ItemSpace
        How near items are.
    popularity_N : ndarray of int
        Interactions of each item.
    found : Found, optional
        What the query found.
    search : TextSearch, optional
        What it was searched in.
    """

    def __init__(
        self,
        request: Request,
        history: Sequence[int],
        items: Sequence[int],
        *,
        rule: str,
        names: Names,
        past: str,
        space: ItemSpace,
        popularity_N: NDArray[np.int64],
        found: Found | None = None,
        search: TextSearch | None = None,
    ) -> None:
        self._request = request
        self._rule = rule
        self._names = names
        self._past = past
        self._search = search
        self._found = found
        self._popularity_N = popularity_N
        self._history = list(dict.fromkeys(history))[-READ:]
        self._items = items
        self._near_MK = None
        if self._history and rule != "query":
            self._near_MK = space.similar(self._history, items)

    def of(self, place: int) -> tuple[Reason, ...]:
        """Why an item is in the answer: the nearest of the history, words, columns; else how many have it.

        Parameters
        ----------
        place : int
            Of the item in the answer, from 0.
        """
        item = self._items[place]
        found = [self._by_history(place), self._by_query(item), self._by_profile()]
        reasons = tuple(reason for reason in found if reason is not None)
        return reasons or (self._by_popularity(item),)

    def _by_history(self, place: int) -> Reason | None:
        if self._near_MK is None:
            return None
        row = int(self._near_MK[:, place].argmax())
        if self._near_MK[row, place] < NEAR:
            return None
        nearest = self._history[row]
        whose = "the user" if self._request.user is not None else "you"
        sentence = f'{whose} {self._past} "{self._names.title(nearest)}"'
        return Reason("history", sentence, (self._names.token(nearest),))

    def _by_query(self, item: int) -> Reason | None:
        if self._found is None or self._search is None:
            return None
        words = self._search.words.matching(self._found.query, item)
        said = [f"its text has {', '.join(words)}"] if words else []
        evidence = list(words)
        cosines_N, meaning = self._found.cosines_N, self._search.meaning
        if cosines_N is not None and meaning is not None and cosines_N[item] > 0:
            said.append(
                f"its text is near the query (cosine {cosines_N[item]:.2f} of {meaning.name})"
            )
            evidence.append(f"cosine={cosines_N[item]:.4f}")
        return Reason("query", "; ".join(said), tuple(evidence)) if said else None

    def _by_profile(self) -> Reason | None:
        if self._rule != "profile":
            return None
        columns = tuple(f"{column}={value}" for column, value in self._request.profile.items())
        return Reason("profile", f"what users of {', '.join(columns)} have", columns)

    def _by_popularity(self, item: int) -> Reason:
        count, users = int(self._popularity_N[item]), self._names.users
        return Reason("popular", f"{count} interactions of {users} users", (str(count),))
