"""What a message means: titles with an opinion on each, conditions, facts of oneself, and the intent."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from experiments.errors import PaddockError
from experiments.talk.catalogue import Catalogue
from experiments.talk.conditions import Condition, conditions_of, merged
from experiments.talk.opinions import ITEM, is_anchor, opinion_of, opinions_of
from experiments.talk.profile import profile_of
from experiments.talk.state import State
from experiments.talk.titles import Titles
from experiments.talk.tokens import is_hangul, tokens_of
from experiments.talk.words import lexicon

LONGEST = 4000
"""Characters of a message."""

INTENTS = ("recommend", "similar", "search", "explain", "compare", "ask", "feedback", "other")
UNJUDGED = frozenset({"compare", "ask", "search", "explain"})
"""Intents that name titles without an opinion on them."""


@dataclass(frozen=True)
class Mention:
    """An item that a message names, or points to as "the second one".

    Attributes
    ----------
    item : str
        The item's id.
    opinion : str
        "like", "dislike" or "neutral".
    likeness : float
        Of the title as it is written and as the catalogue writes it, up to 100.
    """

    item: str
    opinion: str
    likeness: float


@dataclass(frozen=True)
class Understood:
    """What was understood of a message.

    Attributes
    ----------
    intent : str
        One of INTENTS.
    mentions : tuple of Mention
    conditions : tuple of Condition
    profile : dict
        User column to value.
    query : str
        The words that are none of the others: what to search for; "" where nothing is left.
    clears : str
        What is to be forgotten first: "all", "filters" or "".
    by : str
        Who read the message: "rules" or "llm".
    note : str
        Why the rules read it where a language model was asked to.
    outside : tuple of str
        Passages that name something which the catalogue does not have.
    """

    intent: str
    mentions: tuple[Mention, ...]
    conditions: tuple[Condition, ...]
    profile: dict[str, str]
    query: str
    clears: str = ""
    by: str = "rules"
    note: str = ""
    outside: tuple[str, ...] = ()

    def as_plain(self) -> dict[str, Any]:
        """Plain content, for a trace."""
        return {
            "intent": self.intent,
            "items": [vars(each) for each in self.mentions],
            "filters": [each.text for each in self.conditions],
            "profile": dict(self.profile),
            "query": self.query,
            "by": self.by,
            "note": self.note,
            "outside": list(self.outside),
        }

    def applied(self, state: State) -> State:
        """The state after the message: opinions, conditions and facts are taken over."""
        if self.clears == "all":
            state = State(user=state.user)
        elif self.clears == "filters":
            state = replace(state, filters=())
        for mention in self.mentions:
            state = state.judged(mention.item, mention.opinion)
        if self.intent in ("recommend", "similar", "feedback"):
            state = replace(state, filters=merged(state.filters, list(self.conditions)))
        return replace(state, profile={**state.profile, **self.profile})


class Understanding:
    """Understands messages about the items of a catalogue, by rules and without a language model.

    Parameters
    ----------
    catalogue : Catalogue
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    @cached_property
    def titles(self) -> Titles:
        """The finder of titles."""
        return Titles(self.catalogue)

    def understand(self, message: str, state: State | None = None) -> Understood:
        """What a message means.

        Parameters
        ----------
        message : str
            English or Korean, or both.
        state : State, optional
            Its list of shown items is what "the first one" points into.

        Raises
        ------
        PaddockError
            If the message is empty or longer than LONGEST characters.
        """
        message = checked(message)
        found = self.titles.find(message)
        masked, hidden, at = "", "", 0
        for each in found:
            masked += message[at : each.start] + ITEM
            hidden += message[at : each.start] + " " * len(ITEM)
            at = each.end
        masked, hidden = masked + message[at:], hidden + message[at:]
        conditions = tuple(conditions_of(hidden, self.catalogue))
        profile = profile_of(hidden, self.catalogue)
        intent = intent_of(
            masked, named=bool(found), conditions=bool(conditions), profile=bool(profile)
        )
        if intent == "feedback" and found:
            # "Scream is no comedy" describes a title, and asks for nothing.
            conditions = ()
        tokens = self.catalogue.tokens
        mentions = once_an_item(
            Mention(tokens[each.row], opinion, each.likeness)
            for each, opinion in zip(found, _opinions(masked, intent), strict=True)
        )
        if state is not None and not mentions:
            mentions = _pointed(hidden, state, intent)
        clears = next((what for what, each in lexicon().clears if each.search(hidden)), "")
        if clears and intent == "other":
            intent = "recommend"
        query = "" if clears else query_of(hidden, conditions)
        return Understood(intent, mentions, conditions, profile, query, clears)


def checked(message: str) -> str:
    """A message as it is read: without control characters, apostrophes straight.

    Raises
    ------
    PaddockError
        If it is empty or too long.
    """
    if len(message) > LONGEST:
        raise PaddockError(
            f"the message has {len(message):,} characters; {LONGEST:,} are the most: say it shorter"
        )
    plain = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", " ", message)
    plain = re.sub(r"[’‘]", "'", plain).strip()
    if not plain:
        raise PaddockError("the message is empty: say what you like, or ask for something")
    return plain


def intent_of(masked: str, *, named: bool, conditions: bool, profile: bool) -> str:
    """The intent of a message.

    Parameters
    ----------
    masked : str
        The message with ITEM in the place of each title.
    named, conditions, profile : bool
        Whether it names titles, conditions of items, facts of the person.
    """
    for intent, pattern in lexicon().intents:
        if pattern.search(masked):
            return intent
    if named:
        return "feedback"
    if conditions:
        return "recommend"
    return "feedback" if profile or lexicon().opinion_words.search(masked) else "other"


def query_of(hidden: str, conditions: tuple[Condition, ...]) -> str:
    """The words of a message that are left to search for."""
    for each in sorted(conditions, key=lambda one: -one.start):
        hidden = hidden[: each.start] + " " + hidden[each.end :]
    return sought(hidden, within=hidden)


def sought(text: str, *, within: str) -> str:
    """The words of a text that can be searched for, and that another text has, too.

    Parameters
    ----------
    text, within : str
    """
    common = lexicon().stop | lexicon().plain | lexicon().cues
    known = {token.form for token in tokens_of(within)} - common

    def is_known(form: str) -> bool:
        if is_hangul(form[0]):
            # A Korean word may have a particle behind it.
            return not _asks_in_korean(form) and any(map(_begins(form), known))
        return form in known

    return " ".join(token.form for token in tokens_of(text) if is_known(token.form))


def _asks_in_korean(word: str) -> bool:
    """Whether a Korean word is a particle, or of asking and telling: it says nothing to search for."""
    return word in lexicon().particles or bool(lexicon().korean_plain.match(word))


def _begins(form: str) -> Callable[[str], bool]:
    return lambda word: word.startswith(form)


def once_an_item(mentions: Iterable[Mention]) -> tuple[Mention, ...]:
    """One mention an item: the last opinion on it counts."""
    found: dict[str, Mention] = {}
    for each in mentions:
        if each.item not in found or each.opinion != "neutral":
            found[each.item] = each
    return tuple(found.values())


def _opinions(masked: str, intent: str) -> list[str]:
    count = masked.count(ITEM)
    if intent in UNJUDGED:
        return ["neutral"] * count
    opinions = opinions_of(masked)
    if intent == "similar":
        before = masked.split(ITEM)[:-1]
        korean = masked.split(ITEM)[1:]
        for place in range(count):
            like_this = re.match(r"\S{0,2} ?(?:같은|비슷|유사|느낌|스러운)", korean[place])
            if is_anchor(before[place]) or like_this:
                opinions[place] = "neutral"
    return opinions


def _pointed(hidden: str, state: State, intent: str) -> tuple[Mention, ...]:
    """The items of the list before that "the second one" and the like point to."""
    places = "|".join(map(re.escape, lexicon().places))
    pattern = rf"\b(?:the |your )?({places})(?:\b| ?번째)|(?:#|\bnumber )(\d{{1,3}})\b"
    found = []
    for each in re.finditer(pattern, hidden, re.IGNORECASE):
        place = int(each[2]) if each[2] else lexicon().places[each[1].casefold()]
        if place <= len(state.shown) and place > 0:
            found.append(state.shown[place - 1])
    opinion = "neutral" if intent in UNJUDGED | {"similar"} else opinion_of(hidden)
    return tuple(Mention(item, opinion, 100.0) for item in dict.fromkeys(found))
