"""What a conversation knows: all of it is visible, can be edited and travels as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from experiments.errors import PaddockError

LARGEST = 1000
"""Entries that a list of a state may hold, and characters of one of them."""


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of a conversation.

    Attributes
    ----------
    user : str or None
        A user of the data set, whose interactions are the history; None: whoever it is, the likes are.
    likes, dislikes : tuple of str
        Item ids, in the order in which they were named; no item is in both.
    filters : tuple of str
        Conditions of item columns, each of which must hold, as in `release_year < 1980`.
    profile : mapping of str to str
        User column to value.
    asked : tuple of str
        User columns that were asked for, so that no question comes twice.
    shown : tuple of str
        Item ids of the last list that was shown, in its order.
    seen : tuple of str
        Item ids that were shown before, or that the person has seen: they are not recommended again.
    """

    user: str | None = None
    likes: tuple[str, ...] = ()
    dislikes: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    profile: Mapping[str, str] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()

    def judged(self, item: str, opinion: str) -> "State":
        """The state after an opinion on an item; the last word on an item counts.

        Parameters
        ----------
        item : str
            An item id.
        opinion : str
            "like", "dislike", or "neutral": it was named, so that it is known.
        """
        if opinion == "neutral":
            return self
        likes = tuple(each for each in self.likes if each != item)
        dislikes = tuple(each for each in self.dislikes if each != item)
        if opinion == "like":
            return replace(self, likes=(*likes, item), dislikes=dislikes)
        return replace(self, likes=likes, dislikes=(*dislikes, item))

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "State":
        """The state that `to_json` wrote, or that a person edited.

        Parameters
        ----------
        text : str
            A JSON object; keys that are left out have their defaults.

        Raises
        ------
        PaddockError
            It is no JSON object, has an unknown key, or a key holds what it cannot.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PaddockError(f"the state is no JSON ({error}): give a JSON object") from None
        return cls.of(content)

    @classmethod
    def of(cls, content: Any) -> "State":
        """The state of plain content.

        Raises
        ------
        PaddockError
            As for `from_json`.
        """
        if not isinstance(content, Mapping):
            raise PaddockError("the state is no JSON object: write {} for an empty one")
        known = [each.name for each in fields(cls)]
        if unknown := sorted(set(map(str, content)) - set(known)):
            raise PaddockError(
                f"the state has no key {unknown[0]!r}; its keys are {', '.join(known)}"
            )
        state = cls(**{key: _checked(key, value) for key, value in content.items()})
        if both := sorted(set(state.likes) & set(state.dislikes)):
            raise PaddockError(
                f"the state's likes and dislikes both hold {both[0]!r}: leave it in one of them"
            )
        return state


def _checked(key: str, value: Any) -> Any:
    if key == "user":
        if value is None or _short(value):
            return value
        raise PaddockError(f"the state's user is {value!r}: give an id or null")
    if key == "profile":
        if isinstance(value, Mapping) and all(map(_short, [*value, *value.values()])):
            return dict(value)
        raise PaddockError("the state's profile is no object of texts: give column to value")
    if isinstance(value, list | tuple) and len(value) <= LARGEST and all(map(_short, value)):
        return tuple(dict.fromkeys(value))
    raise PaddockError(
        f"the state's {key} is no list of at most {LARGEST} texts of at most {LARGEST} characters"
    )


def _short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LARGEST
