"""A turn of a conversation: understand, retrieve, rank, explain, say; each step a function of plain values.

Nothing is remembered here: all that a conversation knows is in its `State`, which goes in and comes out.
"""

import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from experiments.config.schema import LLM_STEPS
from experiments.errors import PaddockError
from experiments.talk.ask.library import Library
from experiments.talk.ask.tables import Table
from experiments.talk.catalogue import Catalogue
from experiments.talk.choose import Chooser, Picked
from experiments.talk.conditions import fulfilled
from experiments.talk.evidence import Card, unfounded
from experiments.talk.explain import Explainer
from experiments.talk.phrasing import phrased
from experiments.talk.ranking import ByNeighbours, Ranked
from experiments.talk.say import Speaker, language_of, phrase
from experiments.talk.search import TextSearch
from experiments.talk.state import State
from experiments.talk.suggest import Outside, suggested
from experiments.talk.survey import next_question
from experiments.talk.texts import Texts
from experiments.talk.turn import Spans, Turn
from experiments.talk.understand import Understanding, Understood, checked
from experiments.talk.understand_llm import understand_by_model

if TYPE_CHECKING:
    from experiments.language.client import Client

MORE = re.compile(r"\b(?:more|else|other|others|another)\b|다른|더\b", re.IGNORECASE)


@dataclass(frozen=True)
class Heard:
    """A message that was understood, and what its answer is made with."""

    message: str
    understood: Understood
    language: str
    spans: Spans
    client: "Client | None"


class Engine:
    """Talks about the items of one data set.

    Parameters
    ----------
    understanding : Understanding
    ranker : ByNeighbours
    search : TextSearch
        Of the items' texts.
    library : Library, optional
        Answers questions to the data.
    texts : Texts, optional
        Reviews and descriptions to quote.
    name : str
        Of the data set.
    past : str
        What users did with an item, such as "watched".
    client : Client, optional
        A language model. What it reads, writes and says is used only where it can be checked and holds.
    steps : collection of str
        What the language model does, of LLM_STEPS.
    suggests : bool
        Whether it may suggest something from outside of the catalogue where nothing in it was found.
    k : int
        Items of a list.
    """

    def __init__(
        self,
        *,
        understanding: Understanding,
        ranker: ByNeighbours,
        search: TextSearch,
        library: Library | None = None,
        texts: Texts | None = None,
        name: str = "",
        past: str = "chose",
        client: "Client | None" = None,
        steps: Collection[str] = LLM_STEPS,
        suggests: bool = False,
        k: int = 5,
    ) -> None:
        self.understanding = understanding
        self.catalogue: Catalogue = understanding.catalogue
        self.ranker = ranker
        self.library = library
        self.texts = texts
        self.name = name
        self.past = past
        self.client = client
        self.steps = frozenset(steps)
        self.suggests = suggests
        self.k = k
        self._chooser = Chooser(self.catalogue, ranker, search, texts, k=k)
        self._explainer = Explainer(self.catalogue, ranker, texts, past=past)
        self._speaker = Speaker(self.catalogue, model=ranker.origin.get("model", ""), past=past)

    def turn(self, state: State, message: str) -> Turn:
        """Answer a message.

        Parameters
        ----------
        state : State
        message : str

        Raises
        ------
        PaddockError
            The message is empty or too long, or the state holds unknown items or filters.
        """
        self.check(state)
        # Who does not answer is not asked again within the turn.
        client = self.client.once() if self.client is not None else None
        spans = Spans()
        with spans.step("understand", checked(message)) as span:
            understood = self._understood(message, state, client)
            span["output"] = understood.as_plain()
        heard = Heard(message, understood, language_of(message), spans, client)
        answers = {
            "ask": self._answer_data,
            "other": self._small_talk,
            "explain": self._explain_item,
            "compare": self._compare,
        }
        return answers.get(understood.intent, self._recommend)(state, heard)

    def unfounded(self, made: Turn, message: str) -> list[str]:
        """What a turn says that neither its cards nor its state, counts and message hold.

        Parameters
        ----------
        made : Turn
        message : str
            What it answered.
        """
        state = made.state
        named = [*state.likes, *state.dislikes, *state.seen]
        also = [
            message,
            self.name,
            # What the survey offers as answers.
            *(value for column in state.asked for value in self.catalogue.profile.get(column, ())),
            *state.filters,
            *state.profile.values(),
            *(self.catalogue.title_of(item) for item in named),
            *map(str, made.trace["counted"].values()),
            str(self.ranker.origin),
            *([made.table.sql, str(len(made.table.rows))] if made.table else []),
        ]
        titles = self.understanding.titles
        return unfounded(made.words, made.items, titles, self.catalogue, also="\n".join(also))

    def _understood(self, message: str, state: State, client: "Client | None") -> Understood:
        if client is None or "understand" not in self.steps:
            return self.understanding.understand(message, state)
        return understand_by_model(client, message, state, self.understanding)

    def _recommend(self, state: State, heard: Heard) -> Turn:
        understood, spans, language = heard.understood, heard.spans, heard.language
        known, filters = self._known(state, heard)
        with spans.step("retrieve", {"query": understood.query, "filters": list(filters)}) as span:
            retrieved = self._chooser.retrieve(known, understood, filters)
            span["output"] = {
                "allowed": int(retrieved.allowed.sum()),
                "fit the query": int((retrieved.query > 0).sum()),
            }
        with spans.step(
            "rank", {"likes": list(known.likes), "profile": dict(known.profile)}
        ) as span:
            picked = self._chooser.rank(known, understood, retrieved)
            shown = [self.catalogue.tokens[row] for row in picked.rows]
            span["output"] = {"rule": picked.rule, "items": shown}
        with spans.step("explain", shown) as span:
            cards = self._explainer.cards(known, understood, picked, language)
            span["output"] = [reason.text for card in cards for reason in card.reasons]
        known = replace(known, shown=tuple(shown))
        question = (
            next_question(known, self.catalogue) if picked.rule in ("popular", "profile") else None
        )
        if question is not None:
            known = replace(known, asked=(*known.asked, question.column))
        draft = self._speaker.recommended(understood, picked, cards, language, filters, question)
        words = self._said(draft, cards, heard)
        outside = None if cards and not understood.outside else self._suggested(filters, heard)
        counted = {"people": picked.ranked.people, "columns": ", ".join(picked.ranked.columns)}
        return self._turn(
            known, cards, words, heard, rule=picked.rule, counted=counted, outside=outside
        )

    def _known(self, state: State, heard: Heard) -> tuple[State, tuple[str, ...]]:
        """The state after the message, and the conditions of what is looked for."""
        understood = heard.understood
        known = understood.applied(state)
        if understood.intent == "feedback":
            named = [each.item for each in understood.mentions if each.opinion == "neutral"]
            known = replace(known, seen=tuple(dict.fromkeys([*known.seen, *named])))
        elif MORE.search(heard.message):
            known = replace(known, seen=tuple(dict.fromkeys([*known.seen, *known.shown])))
        if understood.intent == "search":
            return known, tuple(each.text for each in understood.conditions)
        return known, known.filters

    def _said(self, draft: str, cards: Sequence[Card], heard: Heard) -> str:
        """The words of an answer: the language model's where all of them are in the evidence, else the template's."""
        asked = heard.client is not None and "say" in self.steps
        with heard.spans.step("say", {"language": heard.language, "model": asked}) as span:
            words = self._phrased(draft, cards, heard)
            span["output"] = words
        return words

    def _phrased(self, draft: str, cards: Sequence[Card], heard: Heard) -> str:
        if heard.client is None or "say" not in self.steps or not cards:
            return draft
        words, why = phrased(
            heard.client,
            draft,
            cards,
            heard.message,
            titles=self.understanding.titles,
            catalogue=self.catalogue,
        )
        return f"{words}\n{phrase(heard.language, 'phrase_failed', why=why)}" if why else words

    def _suggested(self, filters: Sequence[str], heard: Heard) -> Outside | None:
        """What the language model suggests from outside of the catalogue, where that is asked for."""
        if heard.client is None or not self.suggests:
            return None
        with heard.spans.step("suggest", {"filters": list(filters)}) as span:
            made, why = suggested(
                heard.client,
                heard.message,
                filters=filters,
                past=self.past,
                titles=self.understanding.titles,
            )
            span["output"] = {"title": made.title if made else None, "why not": why}
        return made

    def _small_talk(self, state: State, heard: Heard) -> Turn:
        words = phrase(heard.language, "small_talk", name=self.name)
        return self._turn(state, (), words, heard, rule="none")

    def _explain_item(self, state: State, heard: Heard) -> Turn:
        understood, language = heard.understood, heard.language
        items = [each.item for each in understood.mentions] or list(state.shown[:1])
        if not items:
            words = phrase(language, "unknown_item")
            return self._turn(state, (), words, heard, rule="none")
        with heard.spans.step("explain", items) as span:
            rows = tuple(self.catalogue.rows[item] for item in items)
            ranked = self._chooser.taste(state, dislikes=False)
            picked = Picked(rows, ranked.scores, ranked.rule, ranked)
            cards = self._explainer.cards(state, understood, picked, language)
            span["output"] = [reason.text for card in cards for reason in card.reasons]
        words = self._said(self._speaker.explained(cards, language), cards, heard)
        return self._turn(state, cards, words, heard, rule=ranked.rule)

    def _compare(self, state: State, heard: Heard) -> Turn:
        understood, language = heard.understood, heard.language
        items = [each.item for each in understood.mentions]
        if len(items) < 2:
            return self._turn(state, (), phrase(language, "two"), heard, rule="none")
        with heard.spans.step("explain", items) as span:
            rows = tuple(self.catalogue.rows[item] for item in items)
            scores = np.asarray(self.catalogue.popularity, dtype=float)
            picked = Picked(rows, scores, "popular", Ranked(scores, "popular"))
            cards = self._explainer.cards(state, understood, picked, language)
            shared = self.ranker.shared(rows[0], rows[1])
            span["output"] = {"shared": shared}
        words = self._said(self._speaker.compared(cards, shared, language), cards, heard)
        return self._turn(state, cards, words, heard, rule="popular", counted={"shared": shared})

    def _answer_data(self, state: State, heard: Heard) -> Turn:
        if self.library is None:
            return self._small_talk(state, heard)
        client = heard.client if "ask" in self.steps else None
        with heard.spans.step("ask", heard.message) as span:
            try:
                answered = self.library.answer(heard.message, client=client)
            except PaddockError as error:
                span["output"] = str(error)
                return self._turn(state, (), str(error), heard, rule="none")
            span["output"] = {
                "sql": answered.table.sql,
                "by": answered.by,
                "note": answered.note,
            }
        name = "asked_llm" if answered.by == "llm" else "asked"
        lines = [phrase(heard.language, name, rows=len(answered.table.rows)), answered.table.sql]
        if answered.note:
            lines.append(phrase(heard.language, "sql_failed", why=answered.note))
        return self._turn(state, (), "\n".join(lines), heard, rule="sql", table=answered.table)

    def _turn(
        self,
        state: State,
        cards: Sequence[Card],
        words: str,
        heard: Heard,
        *,
        rule: str,
        table: Table | None = None,
        counted: Mapping[str, object] | None = None,
        outside: Outside | None = None,
    ) -> Turn:
        understood = heard.understood
        notes = []
        if understood.outside:
            notes.append(phrase(heard.language, "outside", titles=", ".join(understood.outside)))
        if understood.note:
            notes.append(phrase(heard.language, "read_by_rules", why=understood.note))
        trace = {
            "id": uuid.uuid4().hex,
            "intent": understood.intent,
            "read_by": understood.by,
            "rule": rule,
            "origin": dict(self.ranker.origin),
            "model": self.client.identity if self.client is not None else None,
            "counted": dict(counted or {}),
            "spans": heard.spans.made,
        }
        return Turn(state, tuple(cards), "\n".join([words, *notes]), trace, table, outside)

    def check(self, state: State) -> None:
        """Refuse a state that is not of this catalogue.

        Parameters
        ----------
        state : State

        Raises
        ------
        PaddockError
            It holds unknown items, an unknown user, or a filter that cannot be read.
        """
        unknown: Mapping[str, Sequence[str]] = {
            key: [item for item in getattr(state, key) if item not in self.catalogue.rows]
            for key in ("likes", "dislikes", "seen", "shown")
        }
        for key, items in unknown.items():
            if items:
                raise PaddockError(f"the state's {key} hold {items[0]!r}, which is no item here")
        if state.user is not None and state.user not in self.catalogue.user_rows:
            raise PaddockError(
                f"the state's user {state.user!r} is no user here: give an id or null"
            )
        fulfilled(state.filters, self.catalogue)
