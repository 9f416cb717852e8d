"""Facts that people tell of themselves, by the columns of the data set's users."""

import re
from collections.abc import Iterator

from experiments.talk.catalogue import Catalogue
from experiments.talk.conditions import value_words
from experiments.talk.words import lexicon

_SELF = r"\b(?:I['’]?m|I am|as|we are|I work as|work as|I['’]?ve been)\s+(?:both\s+)?(?:an?\s+)?(?:[\w-]+\s+){0,4}?"
_AGE = re.compile(
    r"\b(\d{1,3})[- ]?(?:years?|yrs?)[- ]?old|\bI(?:['’]?m| am)(?: a[n]?(?: \w+)?,?| \w+,)? (\d{1,3})\b(?! ?(?:%|movies|films))|\bage(?:d| is|:)? (\d{1,3})\b"
    r"|(\d{1,3}) ?(?:살|세)(?![가-힣]*기)",
    re.IGNORECASE,
)
_LIST = re.compile(r"^\W*(?:[\w가-힣 ]{1,30}(?:,|$)\s*){2,}$")
_KOREAN_END = r"(?=이에요|예요|입니다|이야|야|이고|고|인데|이라|라서|[\s,.!]|$)"


def profile_of(masked: str, catalogue: Catalogue) -> dict[str, str]:
    """What a message says of the person who writes it.

    Parameters
    ----------
    masked : str
        The message with its titles hidden.
    catalogue : Catalogue

    Returns
    -------
    dict
        User column to value, as the data set writes it.
    """
    facts: dict[str, str] = {}
    for column, values in catalogue.profile.items():
        value = _number(masked, column) if not values else _value(masked, column, values)
        if value is not None:
            facts[column] = value
    return facts


def _number(masked: str, column: str) -> str | None:
    if column.casefold() in ("age", "나이"):
        for found in _AGE.finditer(masked):
            age = next(each for each in found.groups() if each)
            if 3 <= int(age) <= 120:
                return age
        return None
    name = re.escape(column.replace("_", " "))
    named = re.search(rf"\bmy {name}(?: is|:)? (\d+(?:\.\d+)?)", masked, re.IGNORECASE)
    return named[1] if named else None


def _value(masked: str, column: str, values: tuple[str, ...]) -> str | None:
    name = re.escape(column.replace("_", " "))
    found = [(at, value) for value in values for at in _places(masked, name, value)]
    return min(found)[1] if found else None


def _places(masked: str, name: str, value: str) -> Iterator[int]:
    for word in value_words(value):
        escaped = re.escape(word)
        named = re.search(
            rf"\b(?:my )?{name}(?: is|:| =) {escaped}(?!\w)|\bmy {escaped} {name}", masked, re.I
        )
        if named:
            yield named.start()
        # A code of two letters is a word by chance.
        if (len(word) < 3 and word.isascii()) or word in lexicon().never:
            continue
        if not word.isascii():
            stated = re.search(rf"(?:^|[\s,0-9세살]){escaped}{_KOREAN_END}", masked)
            if stated:
                yield stated.start()
            continue
        about = re.search(rf"{_SELF}{escaped}(?!\w)", masked, re.I)
        if about and not re.search(r"\b(?:of|for|fan|film|movie|about|watch\w*)\b", about[0], re.I):
            yield about.start()
        elif _LIST.match(masked) and re.search(rf"(?:^|,)\s*{escaped}\s*(?:,|$)", masked, re.I):
            yield masked.casefold().index(word)
