"""The lexicon of understanding, read once from words.yaml."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("words.yaml")


@dataclass(frozen=True)
class Lexicon:
    """The words and patterns of words.yaml, whose comments say what each is for."""

    articles: frozenset[str]
    particles: tuple[str, ...]
    numbers: Mapping[str, str]
    stop: frozenset[str]
    plain: frozenset[str]
    cues: frozenset[str]
    copulas: frozenset[str]
    between: frozenset[str]
    verbs: frozenset[str]
    never: frozenset[str]
    synonyms: Mapping[str, tuple[str, ...]]
    decades: Mapping[str, int]
    denies_before: re.Pattern[str]
    denies_after: re.Pattern[str]
    opinions: tuple[tuple[str, re.Pattern[str]], ...]
    korean_like: re.Pattern[str]
    korean_dislike: re.Pattern[str]
    korean_negation: re.Pattern[str]
    korean_negation_before: re.Pattern[str]
    korean_breaks: str
    korean_plain: re.Pattern[str]
    intents: tuple[tuple[str, re.Pattern[str]], ...]
    clears: tuple[tuple[str, re.Pattern[str]], ...]
    openers: frozenset[str]
    opinion_words: re.Pattern[str]
    places: Mapping[str, int]


@cache
def lexicon() -> Lexicon:
    """The lexicon."""
    read: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    for key in ("stop", "plain", "cues", "verbs", "openers"):
        read[key] = frozenset(read[key].split())
    for key in ("articles", "between", "copulas", "never"):
        read[key] = frozenset(read[key])
    for key in ("opinions", "intents", "clears"):
        read[key] = tuple((name, _pattern(pattern)) for name, pattern in read[key])
    for key in ("korean_like", "korean_dislike"):
        read[key] = _pattern(_any_of(read[key]))
    for key in ("korean_plain", "korean_negation", "korean_negation_before", "opinion_words"):
        read[key] = _pattern(read[key])
    read["synonyms"] = {value: tuple(words) for value, words in read["synonyms"].items()}
    read["particles"] = tuple(read["particles"])
    read["denies_before"] = _pattern(
        rf"\b(?:{_any_of(read['denies_before'])})(?:\s+(?:any|a|an|the|more|really))?\s*$"
    )
    read["denies_after"] = _pattern(
        rf"^(?:\s?(?:영화|은|는|을|를|이|가))*\s*(?:{_any_of(read['denies_after'])})"
    )
    return Lexicon(**read)


def _any_of(words: list[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)
