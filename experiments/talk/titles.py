"""Titles of a catalogue in a message: exact, with the article in its place, abbreviated or misspelt.

A title is compared word by word in a normal form: no case, accents or marks, "&" as "and", numbers as
digits. One common word is a title only where it is written or used like one, so that "I love speed
dating" names no film.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rapidfuzz import fuzz, process

from experiments.talk.catalogue import Catalogue
from experiments.talk.title_use import LONGEST, SHORTEST, TitleUse
from experiments.talk.tokens import (
    Token,
    content_words,
    forms_of,
    is_hangul,
    letters_of,
    tokens_of,
    without_particle,
)
from experiments.talk.words import lexicon

LEAST = 87.0
"""The likeness of 100, by edit distance, from which a misspelt title is taken for the title."""

_INVERTED = re.compile(
    r"^(.*), (the|an?|il|la|le|les|das|der|die|el|los|las|une?|l')$", re.IGNORECASE
)
_YEAR = re.compile(r"\s*\((?:18|19|20)\d\d\)\s*$")
_ASIDE = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True)
class Found:
    """A title in a message.

    Attributes
    ----------
    row : int
        The item's row in the catalogue.
    start, end : int
        Where it stands in the message.
    likeness : float
        100 where it is spelt as the catalogue spells it, but for case and marks.
    """

    row: int
    start: int
    end: int
    likeness: float


class Titles:
    """Finds the titles of a catalogue.

    Parameters
    ----------
    catalogue : Catalogue
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._years = _item_years(catalogue)
        self._popularity = catalogue.popularity
        whole: defaultdict[str, list[int]] = defaultdict(list)
        part: defaultdict[str, list[int]] = defaultdict(list)
        for row, title in enumerate(catalogue.titles):
            names, parts = _names(title)
            for name in dict.fromkeys(names):
                whole[name].append(row)
            for name in dict.fromkeys(parts):
                part[name].append(row)
        # A part of a title stands for it where no other item has that part.
        own = {
            name: rows
            for name, rows in part.items()
            if len(rows) == 1 and name not in whole and len(content_words(name.split())) > 1
        }
        self._rows: dict[str, list[int]] = {**own, **whole}
        self._longest = max((len(name.split()) for name in self._rows), default=0)
        self._long_names = [name for name in self._rows if len(letters_of(name)) >= SHORTEST]
        self._letters = list(map(letters_of, self._long_names))

    def find(self, message: str) -> list[Found]:
        """The titles that a message names, in the order in which they stand.

        Parameters
        ----------
        message : str
        """
        tokens = tokens_of(message)
        strong: list[tuple[int, int, str, float]] = []
        weak: list[tuple[int, int, str, float]] = []
        at = 0
        while at < len(tokens):
            hit = None if _numbers_a_list(message, tokens[at]) else self._exact(tokens, at)
            if hit is None:
                at += 1
                continue
            (weak if _is_weak(hit[2]) else strong).append((at, *hit[1:], 100.0))
            at = hit[1]
        words = TitleUse(message, tokens)
        strong = words.confirmed(strong, weak)
        strong += self._misspelt(words, strong)
        found = []
        for first, end, name, likeness in sorted(strong):
            start, stop = tokens[first].start, _end(tokens[end - 1], name)
            row = self._choose(self._rows[name], message, start, stop)
            found.append(Found(row, start, stop, likeness))
        return found

    def named(self, title: str) -> int | None:
        """The row of the item whose title a text is, with or without its year; None where there is none."""
        bare = _YEAR.sub("", title.strip())
        for name in (form for forms in _names(bare) for form in forms):
            if name in self._rows:
                return self._choose(self._rows[name], title.strip(), 0, len(bare))
        return None

    def nearest(self, text: str, *, n: int = 3) -> list[int]:
        """The rows of the titles that are spelt most like a text, the nearest first."""
        name = " ".join(token.form for token in tokens_of(text))
        near = process.extract(name, [*self._rows], scorer=fuzz.WRatio, limit=n)
        return list(dict.fromkeys(self._rows[alias][0] for alias, *_ in near))

    def _exact(self, tokens: Sequence[Token], at: int) -> tuple[int, int, str] | None:
        """The longest title that begins at a word: (first, end, name)."""
        for end in range(min(len(tokens), at + self._longest), at, -1):
            forms = [token.form for token in tokens[at:end]]
            for last in without_particle(forms[-1]):
                name = " ".join([*forms[:-1], last])
                if name in self._rows:
                    return at, end, name
        return None

    def _misspelt(
        self, words: "TitleUse", found: Sequence[tuple[int, int, str, float]]
    ) -> Iterator[tuple[int, int, str, float]]:
        taken = {place for first, end, *_ in found for place in range(first, end)}
        windows = [each for each in words.title_like(taken) if each[1] - each[0] <= self._longest]
        if not windows or not self._long_names:
            return
        texts = [" ".join(forms_of(words.tokens[a:b])) for a, b in windows]
        likeness = process.cdist(
            list(map(letters_of, texts)),
            self._letters,
            scorer=fuzz.ratio,
            score_cutoff=LEAST,
            dtype=np.float32,
        )
        best = likeness.argmax(1)
        scores = likeness[np.arange(len(texts)), best]
        for place in np.lexsort(([a - b for a, b in windows], -scores)):
            first, end = windows[place]
            name = self._long_names[best[place]]
            if scores[place] < LEAST or taken & set(range(first, end)):
                continue
            if re.findall(r"\d+", name) != re.findall(r"\d+", texts[place]):
                continue
            taken |= set(range(first, end))
            yield first, end, name, float(scores[place])

    def _choose(self, rows: Sequence[int], message: str, start: int, end: int) -> int:
        """Of items with one title that of the year beside it, else the best known."""
        beside = re.match(r"\W{0,3}((?:18|19|20)\d\d)\b", message[end:]) or re.search(
            r"\b((?:18|19|20)\d\d)\W{0,2}(?:version of )?$", message[:start]
        )
        if beside:
            right = [row for row in rows if self._years[row] == beside[1]]
            rows = right or rows
        return max(rows, key=lambda row: (self._popularity[row], -row))


def _numbers_a_list(message: str, token: Token) -> bool:
    """Whether a word is the number of a line: "2. Much Ado About Nothing" does not name "Two Much"."""
    return token.form.isdigit() and bool(re.match(r"[.)]\s", message[token.end :]))


def _end(token: Token, name: str) -> int:
    """Where a title ends whose last word may have a Korean particle behind it."""
    last = name.rpartition(" ")[2]
    particle = len(token.form) - len(last) if is_hangul(token.form[-1]) else 0
    return token.end - max(0, particle)


def _is_weak(name: str) -> bool:
    """Whether a name may well be no title: one word, or a few that say nothing."""
    words = name.split()
    content = content_words(words)
    return (len(content) < 2 and len(words) - (words[0] in lexicon().articles) < 2) or (
        not content and len(words) < 4
    )


def _names(title: str) -> tuple[list[str], list[str]]:
    """The normal forms of a title's names, and of the parts by which people call it."""
    title = _YEAR.sub("", title).strip()
    asides = [each for each in _ASIDE.findall(title) if len(each) > 2]
    main = _ASIDE.sub(" ", title).strip(" ,")
    whole = [each for text in (main, *asides) for each in _forms(text)]
    parts: list[str] = []
    if ":" in main:
        head, _, tail = _upright(main).partition(":")
        parts = [*_forms(head.removesuffix(" or")), *_forms(tail)]
    return whole, parts


def _upright(text: str) -> str:
    inverted = _INVERTED.match(text.strip())
    return f"{inverted[2]} {inverted[1]}" if inverted else text.strip()


def _forms(text: str) -> list[str]:
    words = [token.form for token in tokens_of(_upright(text))][:LONGEST]
    if not words:
        return []
    bare = words[1:] if words[0] in lexicon().articles and len(words) > 1 else words
    return [" ".join(words), " ".join(bare)]


def _item_years(catalogue: Catalogue) -> list[Any]:
    """The year of each item as text; None where the data has none."""
    if catalogue.years:
        cells = catalogue.items[catalogue.years[0]].to_list()
        return [None if cell is None else str(cell).removesuffix(".0") for cell in cells]
    in_titles = (re.search(r"\(((?:18|19|20)\d\d)\)", title) for title in catalogue.titles)
    return [None if found is None else found[1] for found in in_titles]
