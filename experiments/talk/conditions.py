"""Conditions of item columns in a message: words of a column, years, other numbers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.serving.filters import parse_where
from experiments.talk.catalogue import Catalogue
from experiments.talk.words import lexicon

NUMBER = r"(\d+(?:\.\d+)?)"
_LINK = re.compile(r"\s*(?:,\s*)?(?:\bor\b|/|(?:\s*영화)?이?나|또는|혹은)(?:\s+an?)?\s*", re.I)
_YEAR = r"((?:18|19|20)\d\d)"
_YEARS: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = (
    (
        rf"between {_YEAR} and {_YEAR}|from {_YEAR} to {_YEAR}|{_YEAR}\s?[-–]\s?{_YEAR}",
        ((">=", 0), ("<=", 0)),
    ),
    (
        rf"(?:before|prior to|older than|earlier than|until) {_YEAR}|{_YEAR}년? ?(?:이전|전)",
        (("<", 0),),
    ),
    (
        rf"since {_YEAR}|{_YEAR} (?:or|and) (?:later|newer|after)|{_YEAR}년? ?(?:이후|부터)",
        ((">=", 0),),
    ),
    (rf"{_YEAR} (?:or|and) (?:earlier|older|before)", (("<=", 0),)),
    (rf"(?:after|newer than|later than) {_YEAR}", ((">", 0),)),
    (rf"(?:from|of|in|year|made in|released in) {_YEAR}\b|{_YEAR}년(?!대)", (("=", 0),)),
)
_DECADE = re.compile(
    r"\b(?:early |late |mid[- ])?(?:(?:19|20)?(\d0)(?:'?s\b)|(\d0)년대|((?:19|20)\d0)(?:'?s\b|년대))"
)


@dataclass(frozen=True)
class Condition:
    """A condition of items and where it stands in the message."""

    column: str
    text: str
    start: int
    end: int


def conditions_of(masked: str, catalogue: Catalogue) -> list[Condition]:
    """The conditions of item columns that a message makes.

    Parameters
    ----------
    masked : str
        The message with its titles hidden.
    catalogue : Catalogue

    Returns
    -------
    list of Condition
        Their texts are those of `mode=recommend where=...`, such as `release_year < 1980`,
        `not class contains "Horror"`.
    """
    found = [*_years(masked, catalogue), *_numbers(masked, catalogue)]
    found += _words(masked, catalogue)
    unique = {each.text: each for each in found}
    return sorted(unique.values(), key=lambda each: each.start)


def merged(before: tuple[str, ...], stated: list[Condition]) -> tuple[str, ...]:
    """The filters of a state after conditions that are stated later.

    What is stated of a column takes the place of what was stated of it before; conditions that must not
    hold stay beside those that must.

    Parameters
    ----------
    before : tuple of str
    stated : list of Condition
    """

    def kind(text: str) -> tuple[bool, str]:
        bare = text.removeprefix("not ").lstrip("(")
        return text.startswith("not "), bare.split(" ")[0]

    replaced = {kind(each.text) for each in stated if not each.text.startswith("not ")}
    opposite = {_opposite(each.text) for each in stated}
    kept = [text for text in before if kind(text) not in replaced and text not in opposite]
    return tuple(dict.fromkeys([*kept, *(each.text for each in stated)]))


def fulfilled(filters: Sequence[str], catalogue: Catalogue) -> np.ndarray:
    """Which items meet all conditions.

    Parameters
    ----------
    filters : sequence of str
        As `conditions_of` writes them, or any that `experiments.serving.filters` reads.
    catalogue : Catalogue

    Returns
    -------
    ndarray of bool, shape (I,)

    Raises
    ------
    PaddockError
        A condition cannot be read, or names an unknown column.
    """
    masks = [parse_where(text).mask(catalogue.items) for text in filters]
    return np.logical_and.reduce([np.ones(len(catalogue.titles), dtype=bool), *masks])


def value_words(value: str) -> tuple[str, ...]:
    """What a column's value is called: itself, its plural, its synonyms."""
    name = value.casefold()
    return name, f"{name}s", *(word.casefold() for word in lexicon().synonyms.get(value, ()))


def any_of(column: str, values: Sequence[str], *, denied: bool) -> str:
    """The condition that a column has one of some values, or none of them where it is denied."""
    values = list(dict.fromkeys(values))
    text = " or ".join(f"{column} contains {quoted(value)}" for value in values)
    text = f"({text})" if len(values) > 1 else text
    return f"not {text}" if denied else text


def quoted(value: str) -> str:
    """A text as a condition writes it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _opposite(text: str) -> str:
    return text.removeprefix("not ") if text.startswith("not ") else f"not {text}"


def _words(masked: str, catalogue: Catalogue) -> Iterator[Condition]:
    for column, values in catalogue.words.items():
        hits = _hits(masked, values)
        groups: list[list[tuple[int, int, str]]] = []
        for hit in hits:
            linked = groups and _LINK.fullmatch(masked[groups[-1][-1][1] : hit[0]])
            groups[-1].append(hit) if linked else groups.append([hit])
        denied: tuple[int, bool] = (-1, False)
        for group in groups:
            start, end = group[0][0], group[-1][1]
            no = _denied(masked, start, end)
            joined = re.fullmatch(r"\s*(?:,|and|,? and)\s*", masked[denied[0] : start] or "-")
            no = no or bool(denied[1] and joined)
            denied = end, no
            yield _of_group(column, group, no=no)


def _of_group(column: str, group: list[tuple[int, int, str]], *, no: bool) -> Condition:
    text = any_of(column, [value for *_, value in group], denied=no)
    return Condition(column, text, group[0][0], group[-1][1])


def _denied(masked: str, start: int, end: int) -> bool:
    before = re.split(r"[.!?;,]|\bbut\b(?! no)", masked[:start])[-1] if start else ""
    return bool(
        lexicon().denies_before.search(masked[:start].rstrip() + " ")
        or lexicon().denies_before.search(before.strip() + " ")
        or lexicon().denies_after.search(masked[end:])
    )


def _hits(masked: str, values: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """Where values are named, the longest name first, none within another."""
    names = sorted(
        (
            (word, value)
            for value in values
            if value.casefold() not in lexicon().never
            for word in value_words(value)
            if len(word) > 1
        ),
        key=lambda pair: -len(pair[0]),
    )
    lowered, hits = masked.casefold(), list[tuple[int, int, str]]()
    for word, value in names:
        # Korean words have particles behind them, and no blank.
        ending = r"" if "가" <= word[-1] <= "힣" else r"(?![\w가-힣]*[a-z0-9])"
        for found in re.finditer(rf"(?<!\w){re.escape(word)}{ending}", lowered):
            if all(found.end() <= start or end <= found.start() for start, end, _ in hits):
                hits.append((found.start(), found.end(), value))
    return sorted(hits)


def _years(masked: str, catalogue: Catalogue) -> Iterator[Condition]:
    if not catalogue.years:
        return
    column = catalogue.years[0]
    taken: list[tuple[int, int]] = []

    def is_free(start: int, end: int) -> bool:
        return all(end <= first or last <= start for first, last in taken)

    for pattern, signs in _YEARS:
        for found in re.finditer(pattern, masked, re.IGNORECASE):
            if not is_free(*found.span()):
                continue
            taken.append(found.span())
            years = [each for each in found.groups() if each]
            for (sign, _), year in zip(signs, years, strict=True):
                yield Condition(column, f"{column} {sign} {year}", *found.span())
    for first, start, end in _decades(masked):
        if is_free(start, end):
            yield Condition(column, f"{column} >= {first}", start, end)
            yield Condition(column, f"{column} <= {first + 9}", start, end)


def _decades(masked: str) -> Iterator[tuple[int, int, int]]:
    for found in _DECADE.finditer(masked):
        if found[3]:
            first = int(found[3])
        else:
            short = int(found[1] or found[2])
            century = re.match(r"20", found[0])
            first = (2000 if century or short < 20 else 1900) + short
        yield first, found.start(), found.end()
    for word, first in lexicon().decades.items():
        for found in re.finditer(rf"\b{word}\b", masked, re.IGNORECASE):
            yield first, found.start(), found.end()


_BOUNDS: Mapping[str, str] = {
    "<": r"(?:below|under|less than|cheaper than|at most|up to|smaller than)",
    ">": r"(?:above|over|more than|at least|greater than|larger than)",
}


def _numbers(masked: str, catalogue: Catalogue) -> Iterator[Condition]:
    """Such as "price below 20", "less than 20 price"."""
    for column in catalogue.numbers:
        name = re.escape(column.replace("_", " "))
        for sign, words in _BOUNDS.items():
            for found in re.finditer(
                rf"\b{name}\w*\W+(?:is |of )?{words} \$?{NUMBER}", masked, re.IGNORECASE
            ):
                within = "=" if re.search(r"at (?:most|least)|up to", found[0], re.I) else ""
                yield Condition(column, f"{column} {sign}{within} {found[1]}", *found.span())
