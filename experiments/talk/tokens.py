"""Words of a text in the normal form by which titles and queries are compared: no case, accents or marks, numbers as digits."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.talk.words import lexicon

_TOKEN = re.compile(
    r"(?:[A-Za-z]\.){2,}[A-Za-z]?"  # L.A., E.T.
    r"|(?:[A-Za-z]\*)+[A-Za-z]"  # M*A*S*H
    r"|[A-Za-zÀ-ɏ]+(?:['’][A-Za-zÀ-ɏ]+)*\d*[A-Za-z]*"
    r"|\d+[A-Za-z]*"
    r"|[가-힣]+"
    r"|[^\W\d_]+"
    r"|&"
)


@dataclass(frozen=True)
class Token:
    """A word of a text: its normal form and where it stands."""

    form: str
    start: int
    end: int


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


def without_particle(form: str) -> tuple[str, ...]:
    """A word, and where it is Korean with a particle, the word without it."""
    if is_hangul(form[-1]):
        for particle in lexicon().particles:
            if len(form) > len(particle) + 1 and form.endswith(particle):
                return form, form[: -len(particle)]
    return (form,)


def forms_of(tokens: Sequence[Token]) -> list[str]:
    """The words of a run, the last one without a Korean particle."""
    return [*(token.form for token in tokens[:-1]), without_particle(tokens[-1].form)[-1]]


def content_words(words: Sequence[str]) -> list[str]:
    """The words that are not said in any sentence."""
    return [word for word in words if word not in lexicon().stop]
