"""What a message says of each title in it: VADER (Hutto and Gilbert, 2014) in clauses, and a few rules.

A title's own words carry no opinion ("Kill", "Love"), so that they are hidden first. A title without an opinion of its own
takes that of the list in which it stands, or of what follows about it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from experiments.talk.words import lexicon

ITEM = "ITEM"
LEAST = 0.2
"""VADER's compound score, of -1 to 1, from which a clause holds an opinion."""

_SENTENCE = re.compile(r"(?<=[.!?;\n])\s+|\n")
_PIECE = re.compile(
    r"\s*(?:,|;|\s[-–—]\s)\s*|\s+(?:and|but|although|though|however|whereas|while|yet|or)\s+(?=\S)",
    re.I,
)
_TURNS = re.compile(r"but|although|though|however|whereas|while|yet", re.I)
_REFERS = re.compile(r"\b(?:it|they|them|this|that|these|those|both|what|such)\b", re.I)
_HANGUL = re.compile(r"[가-힣]")
_PREFERS = re.compile(r"\bprefer\b.*?ITEM(.*?\b(?:to|over)\b.*?)ITEM", re.I)
_ANCHOR = re.compile(
    r"(?:\b(?:like|to|than|of|as|resembles?|with)|\b(?:vein|lines|style|spirit) of) (?:the )?(?:movie |film )?$",
    re.I,
)
_LIKES_IT = re.compile(
    r"\b(?:I|we|who|they|she|he|you|really|also|not|n't|did|do) (?:\w+ )?like (?:the )?(?:movie |film )?$",
    re.I,
)
_AGAIN = re.compile(r"보다\b")


@dataclass(frozen=True)
class _Piece:
    text: str
    titles: int
    opinion: str
    turns: bool


def opinions_of(masked: str) -> list[str]:
    """The opinion on each title of a message: "like", "dislike" or "neutral".

    Parameters
    ----------
    masked : str
        The message with ITEM in the place of each title.

    Returns
    -------
    list of str
        One for each ITEM, in order.
    """
    found: list[str] = []
    sentences = [each for each in _SENTENCE.split(masked) if each.strip()]
    parts = [_pieces(each) for each in sentences]
    for number, pieces in enumerate(parts):
        following = parts[number + 1] if number + 1 < len(parts) else []
        after = following if following and not any(each.titles for each in following) else []
        found += _of_sentence(pieces, after)
    preferred = _PREFERS.search(masked)
    if preferred:
        # The one that is left behind was compared, not judged.
        second = masked[: preferred.end()].count(ITEM) - 1
        found[second] = "neutral"
    for place, before in enumerate(masked.split(ITEM)[1:]):
        if re.match(r"\s?보다", before):
            found[place] = "neutral"
    return found


def is_anchor(before: str) -> bool:
    """Whether a title behind this text is what others are to be like, and not judged itself."""
    return bool(_ANCHOR.search(before)) and not _LIKES_IT.search(before)


def opinion_of(text: str) -> str:
    """The opinion of a clause: "like", "dislike" or "neutral"."""
    for opinion, pattern in lexicon().opinions:
        if pattern.search(text):
            return opinion
    if _HANGUL.search(text):
        return _korean(text)
    score = _vader().polarity_scores(re.sub(rf"\b{ITEM}\b", "it", text))["compound"]
    return "like" if score >= LEAST else "dislike" if score <= -LEAST else "neutral"


def _of_sentence(pieces: Sequence[_Piece], after: Sequence[_Piece]) -> list[str]:
    found: list[str] = []
    for place, piece in enumerate(pieces):
        if not piece.titles:
            continue
        opinion = piece.opinion
        if opinion == "neutral" and place and not piece.turns and pieces[place - 1].titles:
            # I loved A, B and C.
            opinion = found[-1]
        rest = [*pieces[place + 1 :], *after]
        if opinion == "neutral":
            # A and B are great; A. It made me cry.
            opinion = next((each.opinion for each in rest if each.opinion != "neutral"), "neutral")
        for each in pieces[place + 1 :]:
            if each.titles:
                break
            if each.opinion != "neutral" and _REFERS.search(each.text):
                # The last word on a title counts.
                opinion = each.opinion
        found += [opinion] * piece.titles
    return found


def _pieces(sentence: str) -> list[_Piece]:
    made, start, turns = [], 0, False
    cuts = [(found.start(), found.end(), found[0]) for found in _PIECE.finditer(sentence)]
    cuts += [
        (found.end(), found.end(), "but")
        for found in re.finditer(lexicon().korean_breaks, sentence)
    ]
    for begin, end, between in [*sorted(cuts), (len(sentence), len(sentence), "")]:
        text = sentence[start:begin]
        if text.strip():
            made.append(_Piece(text, text.count(ITEM), opinion_of(text), turns))
        start, turns = end, bool(_TURNS.search(between))
    return made


def _korean(text: str) -> str:
    score = 0
    for sign, pattern in ((1, lexicon().korean_like), (-1, lexicon().korean_dislike)):
        for found in pattern.finditer(text):
            after = text[found.end() :]
            if re.match(r"\S{0,1}(?:을까|을지|을 ?만한)", after):
                continue  # asks what would be good
            turned = lexicon().korean_negation.match(after)
            turned = turned or lexicon().korean_negation_before.search(text[: found.start()])
            score += -sign if turned else sign
    return "like" if score > 0 else "dislike" if score < 0 else "neutral"


@cache
def _vader() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()
