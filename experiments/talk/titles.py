"""Titles of a catalogue in a message: exact, with the article in its place, abbreviated or misspelt.

A title is compared word by word in a normal form: no case, accents or marks, "&" as "and", numbers as
digits. One common word is a title only where it is written or used like one, so that "I love speed
dating" names no film.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rapidfuzz import fuzz, process

from experiments.talk.catalogue import Catalogue
from experiments.talk.words import lexicon

LEAST = 87.0
"""The likeness of 100, by edit distance, from which a misspelt title is taken for the title."""

SHORTEST = 6
"""Letters of a title, or of words, that are compared as misspelt."""

LONGEST = 14
"""Words of a title that are compared; what follows does not tell titles apart."""

_TOKEN = re.compile(
    r"(?:[A-Za-z]\.){2,}[A-Za-z]?"  # L.A., E.T.
    r"|(?:[A-Za-z]\*)+[A-Za-z]"  # M*A*S*H
    r"|[A-Za-zÀ-ɏ]+(?:['’][A-Za-zÀ-ɏ]+)*\d*[A-Za-z]*"
    r"|\d+[A-Za-z]*"
    r"|[가-힣]+"
    r"|[^\W\d_]+"
    r"|&"
)
_INVERTED = re.compile(
    r"^(.*), (the|an?|il|la|le|les|das|der|die|el|los|las|une?|l')$", re.IGNORECASE
)
_YEAR = re.compile(r"\s*\((?:18|19|20)\d\d\)\s*$")
_ASIDE = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True)
class Token:
    """A word of a text: its normal form and where it stands."""

    form: str
    start: int
    end: int


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


def tokens_of(text: str) -> list[Token]:
    """The words of a text."""
    return [
        Token(normal_word(found[0]), found.start(), found.end()) for found in _TOKEN.finditer(text)
    ]


def normal_word(word: str) -> str:
    """The form of a word by which words are compared."""
    if word == "&":
        return "and"
    decomposed = unicodedata.normalize("NFKD", re.sub(r"['’.*]", "", word))
    plain = "".join(each for each in decomposed if not unicodedata.combining(each))
    # Hangul was taken apart along with the accents.
    folded = unicodedata.normalize("NFC", plain).casefold()
    return lexicon().numbers.get(folded, folded)


def is_hangul(letter: str) -> bool:
    """Whether a character is a Korean syllable."""
    return "가" <= letter <= "힣"


def letters_of(form: str) -> str:
    """A normal form by its letters: a Korean syllable is two or three of them."""
    return unicodedata.normalize("NFD", form)


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
            if len(rows) == 1 and name not in whole and len(_content(name.split())) > 1
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
        words = _Words(message, tokens)
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
        self, words: "_Words", found: Sequence[tuple[int, int, str, float]]
    ) -> Iterator[tuple[int, int, str, float]]:
        taken = {place for first, end, *_ in found for place in range(first, end)}
        windows = [each for each in words.title_like(taken) if each[1] - each[0] <= self._longest]
        if not windows or not self._long_names:
            return
        texts = [" ".join(_forms_of(words.tokens[a:b])) for a, b in windows]
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


class _Words:
    """The words of a message and what they say of being a title."""

    def __init__(self, message: str, tokens: list[Token]) -> None:
        self.message = message
        self.tokens = tokens
        cased = [each for each in tokens if message[each.start].isalpha()]
        capitals = sum(message[each.start].isupper() for each in cased)
        # Where everything is capitalised, capitals say nothing.
        self._cased = bool(capitals) and (len(cased) < 4 or capitals < 0.8 * len(cased))
        self._korean = any(map(is_hangul, message))

    def confirmed(
        self, strong: list[tuple[int, int, str, float]], weak: list[tuple[int, int, str, float]]
    ) -> list[tuple[int, int, str, float]]:
        """The sure titles and those of one word that are used as titles."""
        sure = [*strong, *(each for each in weak if self._is_used_as_title(each[0], each[1]))]
        left = [each for each in weak if each not in sure]
        while more := [each for each in left if any(self._beside(each, one) for one in sure)]:
            sure += more
            left = [each for each in left if each not in more]
        return sure

    def title_like(self, taken: set[int]) -> list[tuple[int, int]]:
        """Runs of words that may be a misspelt title: (first, end)."""
        found = []
        for first in range(len(self.tokens)):
            for end in range(first + 1, min(len(self.tokens), first + LONGEST) + 1):
                if end - 1 in taken or self._breaks(first, end):
                    break
                forms = [token.form for token in self.tokens[first:end]]
                if len(letters_of(" ".join(forms))) >= SHORTEST and self._may_be_title(
                    first, end, forms
                ):
                    found.append((first, end))
        return found

    def _may_be_title(self, first: int, end: int, forms: list[str]) -> bool:
        content = _content(forms)
        if not content or forms[-1] in lexicon().stop:
            return False
        if len(forms) > 1:
            return True
        if is_hangul(forms[0][-1]):
            # Korean has no capitals: a long word that nothing else explains.
            word = without_particle(forms[0])[-1]
            return len(word) > 2 and not lexicon().korean_plain.match(word)
        return forms[0] not in lexicon().plain and self._is_used_as_title(first, end, misspelt=True)

    def _breaks(self, first: int, end: int) -> bool:
        """Whether a sentence ends between the last word and the one before it."""
        if end - first < 2:
            return False
        between = self.message[self.tokens[end - 2].end : self.tokens[end - 1].start]
        return bool(re.search(r"[.!?;]\s", between))

    def _is_used_as_title(self, first: int, end: int, *, misspelt: bool = False) -> bool:
        start, stop = self.tokens[first].start, self.tokens[end - 1].end
        form = self.tokens[end - 1].form
        if form in lexicon().stop or self._names_a_person(first):
            return False
        before, after = self.message[:start], self.message[stop:]
        if re.search(r"[\"“'‘《<]\s*$", before) and re.match(r"\s*[\"”'’》>]", after):
            return True
        if re.match(r"\s*\((?:18|19|20)\d\d\)", after):
            return True
        if form in lexicon().plain:
            return False
        starts = first == 0 or bool(re.search(r"(?:^|[.!?:;])\W*$", before))
        capital = self.message[start].isupper() and self._cased
        # Korean messages write a foreign title in its own letters; of Korean ones a long word is a title.
        if (capital and not starts) or (
            self._korean and (self.message[start].isascii() or stop - start > 2)
        ):
            return not misspelt or capital
        if self._follows_cue(first, less=lexicon().copulas if misspelt else frozenset()):
            return self._ends(end)
        return starts and not misspelt and self._is_subject(end)

    def _names_a_person(self, first: int) -> bool:
        return bool(
            re.search(
                r"(?:\bI['’]?m|\bname is|\bI am)\s+$", self.message[: self.tokens[first].start]
            )
        )

    def _follows_cue(self, first: int, *, less: frozenset[str]) -> bool:
        place = first - 1
        while place >= 0 and self.tokens[place].form in lexicon().between:
            place -= 1
        return place >= 0 and self.tokens[place].form in lexicon().cues - less

    def _ends(self, end: int) -> bool:
        if end == len(self.tokens):
            return True
        between = self.message[self.tokens[end - 1].end : self.tokens[end].start]
        return bool(re.search(r"[^\w\s'’]", between)) or self.tokens[end].form in lexicon().stop

    def _is_subject(self, end: int) -> bool:
        if end == len(self.tokens):
            return True
        between = self.message[self.tokens[end - 1].end : self.tokens[end].start]
        return bool(re.match(r"\s*[:?!,]", between)) or self.tokens[end].form in lexicon().verbs

    def _beside(self, one: tuple[int, int, str, float], other: tuple[int, int, str, float]) -> bool:
        """Whether two titles are named in one breath: A and B, A or B, A, B."""
        first, second = sorted((one, other))
        if self.tokens[one[1] - 1].form in lexicon().plain | lexicon().stop:
            return False
        gap = self.message[self.tokens[first[1] - 1].end : self.tokens[second[0]].start]
        return bool(
            re.fullmatch(r"\s*(?:,|/|&|and|or|vs\.?|versus|, and|, or)\s*(?:the )?", gap, re.I)
        )


def _forms_of(tokens: Sequence[Token]) -> list[str]:
    """The words of a run, the last one without a Korean particle."""
    return [*(token.form for token in tokens[:-1]), without_particle(tokens[-1].form)[-1]]


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
    content = _content(words)
    return (len(content) < 2 and len(words) - (words[0] in lexicon().articles) < 2) or (
        not content and len(words) < 4
    )


def _content(words: Sequence[str]) -> list[str]:
    return [word for word in words if word not in lexicon().stop]


def without_particle(form: str) -> tuple[str, ...]:
    """A word, and where it is Korean with a particle, the word without it."""
    if is_hangul(form[-1]):
        for particle in lexicon().particles:
            if len(form) > len(particle) + 1 and form.endswith(particle):
                return form, form[: -len(particle)]
    return (form,)


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
