"""Whether words of a message are used like a title: one common word is one only where it is written or used so."""

import re

from experiments.talk.tokens import Token, content_words, is_hangul, letters_of, without_particle
from experiments.talk.words import lexicon

Span = tuple[int, int, str, float]
"""First word, end, name of the title, likeness."""

LONGEST = 14
"""Words of a title that are compared; what follows does not tell titles apart."""

SHORTEST = 6
"""Letters of a title, or of words, that are compared as misspelt."""


class TitleUse:
    """The words of a message and what they say of being a title."""

    def __init__(self, message: str, tokens: list[Token]) -> None:
        self.message = message
        self.tokens = tokens
        cased = [each for each in tokens if message[each.start].isalpha()]
        capitals = sum(message[each.start].isupper() for each in cased)
        # Where everything is capitalised, capitals say nothing.
        self._cased = bool(capitals) and (len(cased) < 4 or capitals < 0.8 * len(cased))
        self._korean = any(map(is_hangul, message))

    def confirmed(self, strong: list[Span], weak: list[Span]) -> list[Span]:
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
        content = content_words(forms)
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

    def _beside(self, one: Span, other: Span) -> bool:
        """Whether two titles are named in one breath: A and B, A or B, A, B."""
        first, second = sorted((one, other))
        if self.tokens[one[1] - 1].form in lexicon().plain | lexicon().stop:
            return False
        gap = self.message[self.tokens[first[1] - 1].end : self.tokens[second[0]].start]
        return bool(
            re.fullmatch(r"\s*(?:,|/|&|and|or|vs\.?|versus|, and|, or)\s*(?:the )?", gap, re.I)
        )
