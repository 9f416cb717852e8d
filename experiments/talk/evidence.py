"""What may be said of an item: facts of its columns, reasons with what they rest on, quotes with their ids."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from experiments.talk.catalogue import Catalogue
from experiments.talk.conditions import value_words
from experiments.talk.titles import Titles
from experiments.talk.tokens import tokens_of
from experiments.talk.words import lexicon


@dataclass(frozen=True)
class Reason:
    """Why an item is recommended.

    Attributes
    ----------
    kind : str
        "history", "query", "profile", "popular" or "column".
    text : str
    evidence : tuple of str
        Item ids, ids of texts, or "column=value".
    """

    kind: str
    text: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Quote:
    """A piece of a text on an item, word for word.

    Attributes
    ----------
    id : str
        Of the text, and the piece's number in it.
    text : str
    """

    id: str
    text: str


@dataclass(frozen=True)
class Card:
    """An item as it is shown: what is said of it is in here."""

    rank: int
    item: str
    title: str
    score: float
    facts: tuple[tuple[str, str], ...]
    reasons: tuple[Reason, ...]
    quotes: tuple[Quote, ...] = ()

    def as_plain(self) -> dict[str, Any]:
        """Plain content, for JSON."""
        return {**asdict(self), "facts": dict(self.facts)}


def facts_of(row: int, catalogue: Catalogue, *, most: int = 6) -> tuple[tuple[str, str], ...]:
    """The filled columns of an item, its title aside: column and value as text."""
    title, found = catalogue.titles[row], []
    for name in catalogue.items.columns[1:]:
        cell = catalogue.items[name][row]
        if cell is None:
            continue
        parts = cell.to_list() if hasattr(cell, "to_list") else [cell]
        value = ", ".join(_number(each) for each in parts)
        if value and " ".join(map(str, parts)) != title and value != title:
            found.append((name, value[:200]))
    return tuple(found[:most])


def unfounded(
    words: str, cards: Sequence[Card], titles: Titles, catalogue: Catalogue, *, also: str = ""
) -> list[str]:
    """What a text says that its evidence does not hold.

    Titles of the catalogue that are none of the cards', names that stand nowhere in the evidence, in the catalogue or
    not, numbers and quoted passages that do not either, and values of item columns that no card has.

    Parameters
    ----------
    words : str
        What is to be said.
    cards : sequence of Card
        The evidence.
    titles : Titles
    catalogue : Catalogue
    also : str
        Further evidence: the message, the state's titles and filters.

    Returns
    -------
    list of str
        Empty where every title and fact is in the evidence.
    """
    # What a quote says is no fact: it may be repeated word for word, and proves nothing else.
    for quote in (each for card in cards for each in card.quotes):
        words, also = words.replace(quote.text, " "), also.replace(quote.text, " ")
    evidence = "\n".join([also, *(_all_of(card) for card in cards)])
    lowered = evidence.casefold()
    wrong = []
    for found in titles.find(words):
        title = catalogue.titles[found.row]
        if (
            title.casefold() not in lowered
            and words[found.start : found.end].casefold() not in lowered
        ):
            wrong.append(title)
    numbers = set(re.findall(r"\d+(?:[.,]\d+)*", evidence)) | {str(card.rank) for card in cards}
    numbers |= {str(len(cards))}
    wrong += [each for each in re.findall(r"\d+(?:[.,]\d+)*", words) if each not in numbers]
    wrong += [
        each
        for each in re.findall(r"[\"“«]([^\"“”«»]{12,})[\"”»]", words)
        if each.casefold() not in lowered
    ]
    wrong += _unknown_names(words, evidence)
    spoken = words.casefold()
    for card in cards:
        spoken = spoken.replace(card.title.casefold(), " ")
    for values in catalogue.words.values():
        wrong += [
            value
            for value in values
            if value.casefold() not in lexicon().never
            and re.search(rf"(?<!\w){re.escape(value.casefold())}(?!\w)", spoken)
            and not any(word in lowered for word in value_words(value))
        ]
    return wrong


def _unknown_names(words: str, evidence: str) -> list[str]:
    """Words that are written like names and stand nowhere in the evidence.

    Within a sentence a capital makes a name; at its beginning everything but common words counts as one.
    """
    known = {token.form for token in tokens_of(evidence)}
    common = lexicon().stop | lexicon().plain | lexicon().cues | lexicon().openers
    return [
        words[token.start : token.end]
        for token in tokens_of(words)
        if words[token.start].isupper() and token.form not in known | common
    ]


def evidence_of(card: Card) -> str:
    """All that may be said of a card, in one line."""
    facts = [f"{name}: {value}" for name, value in card.facts]
    reasons = [reason.text for reason in card.reasons]
    quotes = [f"quote [{quote.id}]: {quote.text}" for quote in card.quotes]
    return "; ".join([f"{card.rank}. {card.title}", *facts, *reasons, *quotes])


def _all_of(card: Card) -> str:
    facts = "\n".join(f"{name} {value}" for name, value in card.facts)
    reasons = "\n".join(reason.text for reason in card.reasons)
    quotes = "\n".join(quote.id for quote in card.quotes)
    return "\n".join([card.title, facts, reasons, quotes])


def _number(value: object) -> str:
    text = str(value)
    return text.removesuffix(".0") if isinstance(value, float) else text
