"""Items and users by their names, and the names nearest to one that nobody has."""

from functools import cached_property

from rapidfuzz import fuzz, process, utils

from experiments.data.prepared import Prepared
from experiments.errors import PaddockError

_LIKE = 90.0
"""Likeness (of 100) at which a title is taken for that of an item."""


class Names:
    """The ids and titles of a data set.

    Parameters
    ----------
    data : Prepared
    """

    def __init__(self, data: Prepared) -> None:
        self._data = data

    @property
    def users(self) -> int:
        """How many users there are."""
        return self._data.n_users

    def token(self, item: int) -> str:
        """The id of an item, of its internal number."""
        return str(self._data.item_tokens[item])

    def title(self, item: int) -> str:
        """The title of an item, or its id where it has none."""
        return self._data.item_titles[item] or self.token(item)

    def item(self, text: str) -> int:
        """The internal number of an item that is named by id or by title.

        Parameters
        ----------
        text : str

        Raises
        ------
        PaddockError
            If no id equals it and no title is like it, with the nearest titles; or if several are.
        """
        known = self._data.item_id(text)
        if known is not None:
            return known
        wanted = utils.default_process(text)
        if same := self.by_title.get(wanted):
            if len(same) == 1:
                return same[0]
            ids = ", ".join(self.token(item) for item in same[:5])
            raise PaddockError(f"{text!r} is the title of several items: name one by its id, {ids}")
        near = process.extract(wanted, list(self.by_title), scorer=fuzz.WRatio, limit=3)
        if near and near[0][1] >= _LIKE and len(self.by_title[near[0][0]]) == 1:
            return self.by_title[near[0][0]][0]
        offered = ", ".join(
            f'"{self.title(item)}" ({self.token(item)})'
            for title, *_ in near
            for item in self.by_title[title][:1]
        )
        raise PaddockError(
            f"item {text!r} is neither an id nor a title of {self._data.name}"
            + (f"; the nearest titles are {offered}" if offered else "")
        )

    def user(self, token: str) -> int:
        """The internal number of a user.

        Parameters
        ----------
        token : str
            Its id.

        Raises
        ------
        PaddockError
            If there is none, with the nearest ids.
        """
        found = self._data.user_id(token)
        if found is not None:
            return found
        near = nearest_ids(token, [str(each) for each in self._data.user_tokens[1:]])
        raise PaddockError(
            f"user={token} is not in {self._data.name}; the nearest ids are {', '.join(near)}. "
            "Somebody new is scored by history=[...]"
        )

    @cached_property
    def by_title(self) -> dict[str, list[int]]:
        """Title, in lower case and without marks -> the items that have it."""
        found: dict[str, list[int]] = {}
        for item, title in enumerate(self._data.item_titles):
            if item and title.strip():
                found.setdefault(utils.default_process(title), []).append(item)
        return found


def nearest_ids(token: str, known: list[str], *, n: int = 3) -> list[str]:
    """The known ids nearest to an unknown one: by value if all are numbers, else by spelling.

    Parameters
    ----------
    token : str
        The unknown id.
    known : list of str
        All ids.
    n : int
        How many to return, at most.
    """
    try:
        return sorted(known, key=lambda other: (abs(int(other) - int(token)), int(other)))[:n]
    except ValueError:
        return [name for name, *_ in process.extract(token, known, scorer=fuzz.ratio, limit=n)]
