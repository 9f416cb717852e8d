"""A turn of a conversation: understand, retrieve, rank, explain, say; each step a function of plain values.

Nothing is remembered here: all that a conversation knows is in its `State`, which goes in and comes out.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.errors import PaddockError
from experiments.talk.ask.library import Library
from experiments.talk.ask.tables import Table
from experiments.talk.catalogue import Catalogue
from experiments.talk.conditions import fulfilled
from experiments.talk.evidence import Card, unfounded
from experiments.talk.explain import Explainer, Picked
from experiments.talk.ranking import Ranked, Ranker
from experiments.talk.say import Phraser, card_line, facts, language_of, phrase, phrasing_prompt
from experiments.talk.search import TextSearch
from experiments.talk.state import State
from experiments.talk.survey import Question, next_question
from experiments.talk.texts import Texts
from experiments.talk.turn import Spans, Turn
from experiments.talk.understand import Understanding, Understood, checked

MORE = re.compile(r"\b(?:more|else|other|others|another)\b|다른|더\b", re.IGNORECASE)
TASTE = 0.3
"""The taste's share in the order of what a search found, the query's is the rest."""


@dataclass(frozen=True)
class _Retrieved:
    """What may be recommended, and how well it fits the words that are left of the message."""

    allowed: np.ndarray
    query: np.ndarray
    references: tuple[int, ...]


class Engine:
    """Talks about the items of one data set.

    Parameters
    ----------
    understanding : Understanding
    ranker : Ranker
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
    phraser : callable, optional
        A language model that says the words; what it says is used only if all of it is in the evidence.
    k : int
        Items of a list.
    """

    def __init__(
        self,
        *,
        understanding: Understanding,
        ranker: Ranker,
        search: TextSearch,
        library: Library | None = None,
        texts: Texts | None = None,
        name: str = "",
        past: str = "chose",
        phraser: Phraser | None = None,
        k: int = 5,
    ) -> None:
        self.understanding = understanding
        self.catalogue: Catalogue = understanding.catalogue
        self.ranker = ranker
        self.search = search
        self.library = library
        self.texts = texts
        self.name = name
        self.past = past
        self.explainer = Explainer(self.catalogue, ranker, texts, past=past)
        self.phraser = phraser
        self.k = k
        self._rows = {token: row for row, token in enumerate(self.catalogue.tokens)}
        self._user_rows = {
            str(token): row for row, token in enumerate(self.catalogue.users.to_series(0).to_list())
        }

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
        spans, language = Spans(), language_of(message)
        with spans.step("understand", checked(message)) as span:
            understood = self.understanding.understand(message, state)
            span["output"] = understood.as_plain()
        if understood.intent == "ask":
            return self._answer_data(state, message, understood, spans, language)
        if understood.intent == "other":
            words = phrase(language, "small_talk", name=self.name)
            return self._turn(state, (), words, understood, spans, rule="none")
        if understood.intent == "explain":
            return self._explain_item(state, understood, spans, language)
        if understood.intent == "compare":
            return self._compare(state, understood, spans, language)
        return self._recommend(state, message, understood, spans, language)

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
            *(self.catalogue.titles[self._rows[item]] for item in named),
            *map(str, made.trace["counted"].values()),
            str(self.ranker.origin),
            *([made.table.sql, str(len(made.table.rows))] if made.table else []),
        ]
        titles = self.understanding.titles
        return unfounded(made.words, made.items, titles, self.catalogue, also="\n".join(also))

    def _recommend(
        self, state: State, message: str, understood: Understood, spans: Spans, language: str
    ) -> Turn:
        known = understood.told(state)
        filters = (
            tuple(each.text for each in understood.conditions)
            if understood.intent == "search"
            else known.filters
        )
        if understood.intent == "feedback":
            named = [each.item for each in understood.mentions if each.opinion == "neutral"]
            known = replace(known, seen=tuple(dict.fromkeys([*known.seen, *named])))
        elif MORE.search(message):
            known = replace(known, seen=tuple(dict.fromkeys([*known.seen, *known.shown])))
        with spans.step("retrieve", {"query": understood.query, "filters": list(filters)}) as span:
            retrieved = self._retrieve(known, understood, filters)
            span["output"] = {
                "allowed": int(retrieved.allowed.sum()),
                "fit the query": int((retrieved.query > 0).sum()),
            }
        with spans.step(
            "rank", {"likes": list(known.likes), "profile": dict(known.profile)}
        ) as span:
            picked = self._rank(known, understood, retrieved)
            shown = [self.catalogue.tokens[row] for row in picked.rows]
            span["output"] = {"rule": picked.rule, "items": shown}
        with spans.step("explain", shown) as span:
            cards = self.explainer.cards(known, understood, picked, language)
            span["output"] = [reason.text for card in cards for reason in card.reasons]
        known = replace(known, shown=tuple(shown))
        question = (
            next_question(known, self.catalogue) if picked.rule in ("popular", "profile") else None
        )
        if question is not None:
            known = replace(known, asked=(*known.asked, question.column))
        with spans.step("say", {"language": language, "model": self.phraser is not None}) as span:
            words = self._words(understood, picked, cards, language, filters, question)
            words = self._phrased(words, cards, message, known, language)
            span["output"] = words
        counted = {"people": picked.ranked.people, "columns": ", ".join(picked.ranked.columns)}
        return self._turn(known, cards, words, understood, spans, rule=picked.rule, counted=counted)

    def _retrieve(
        self, state: State, understood: Understood, filters: tuple[str, ...]
    ) -> _Retrieved:
        references = (
            tuple(self._rows[each.item] for each in understood.mentions)
            if understood.intent in ("similar", "search")
            else ()
        )
        allowed = fulfilled(filters, self.catalogue)
        hidden = [*state.likes, *state.dislikes, *state.seen]
        allowed[[self._rows[item] for item in hidden]] = False
        if state.user is not None:
            allowed[self.ranker.taken(self._user_rows[state.user])] = False
        found = understood.intent == "search" and references
        if found:
            # What is looked for by its title is shown, liked or not.
            allowed[list(references)] = True
        elif references:
            allowed[list(references)] = False
        query = np.zeros(len(allowed))
        if understood.query and understood.intent != "feedback":
            query = np.asarray(self.search.scores(understood.query), dtype=float)
            for row, score in (self.texts.items(understood.query) if self.texts else {}).items():
                query[row] = max(query[row], score)
        return _Retrieved(allowed, query, references)

    def _rank(self, state: State, understood: Understood, retrieved: _Retrieved) -> Picked:
        user = self._user_rows[state.user] if state.user is not None else None
        likes, dislikes = (
            [self._rows[item] for item in items] for items in (state.likes, state.dislikes)
        )
        ranked = self.ranker.rank(likes, dislikes, state.profile, user)
        scores, rule, allowed = ranked.scores, ranked.rule, retrieved.allowed
        if retrieved.references and understood.intent == "similar":
            scores = np.mean([self.ranker.similar(row) for row in retrieved.references], axis=0)
            rule = "similar"
        elif retrieved.references:
            scores = np.zeros(len(allowed))
            scores[list(retrieved.references)] = 1.0
            allowed, rule = allowed & (scores > 0), "search"
        elif (retrieved.query[allowed] > 0).any():
            scores = (1 - TASTE) * retrieved.query + TASTE * scores
            allowed = allowed & (retrieved.query > 0)
            rule = "query"
        elif understood.intent == "search" and understood.query:
            allowed, rule = np.zeros_like(allowed), "query"
        order = np.argsort(-np.where(allowed, scores, -np.inf), kind="stable")[: self.k]
        rows = tuple(int(row) for row in order if allowed[row])
        return Picked(rows, scores, rule, ranked)

    def _words(
        self,
        understood: Understood,
        picked: Picked,
        cards: Sequence[Card],
        language: str,
        filters: Sequence[str],
        question: Question | None,
    ) -> str:
        lines = []
        if understood.intent == "feedback" and understood.mentions:
            lines.append(self._noted(understood, language))
        if not cards:
            told = f" ({' and '.join(filters)})" if filters else ""
            lines.append(phrase(language, "nothing", filters=told))
        else:
            lines.append(self._heading(understood, picked, language))
            lines += [card_line(card, language) for card in cards]
        if question is not None:
            name = "asks_choice" if question.options else "asks_number"
            options = ", ".join(question.options[:8])
            lines.append(phrase(language, name, name=question.name, options=options))
        return "\n".join(lines)

    def _heading(self, understood: Understood, picked: Picked, language: str) -> str:
        titles = " / ".join(
            self.catalogue.titles[self._rows[each.item]] for each in understood.mentions
        )
        ranked = picked.ranked
        name = {"query": "search", "similar": "similar", "search": "search"}.get(
            picked.rule, ranked.rule if ranked.rule in ("profile", "popular", "history") else "run"
        )
        return phrase(
            language,
            name,
            titles=titles,
            query=understood.query or titles,
            people=ranked.people,
            columns=", ".join(ranked.columns),
            model=self.ranker.origin.get("model", ""),
        )

    def _noted(self, understood: Understood, language: str) -> str:
        kinds = {"like": "like", "dislike": "dislike", "neutral": "known"}
        opinions = [
            phrase(
                language, kinds[each.opinion], title=self.catalogue.titles[self._rows[each.item]]
            )
            for each in understood.mentions
        ]
        return phrase(language, "noted", opinions=", ".join(opinions))

    def _phrased(
        self, words: str, cards: Sequence[Card], message: str, state: State, language: str
    ) -> str:
        """The words of the language model where all of them are in the evidence, else the template's."""
        if self.phraser is None or not cards:
            return words
        try:
            said = self.phraser(phrasing_prompt(words, cards, message)).strip()
        except PaddockError as error:
            return f"{words}\n{phrase(language, 'phrase_failed', why=error)}"
        wrong = unfounded(
            said, cards, self.understanding.titles, self.catalogue, also=f"{words}\n{message}"
        )
        if said and not wrong:
            return said
        why = f"{wrong[0]!r} is not in the evidence" if wrong else "it said nothing"
        return f"{words}\n{phrase(language, 'phrase_failed', why=why)}"

    def _explain_item(
        self, state: State, understood: Understood, spans: Spans, language: str
    ) -> Turn:
        items = [each.item for each in understood.mentions] or list(state.shown[:1])
        if not items:
            words = phrase(language, "unknown_item")
            return self._turn(state, (), words, understood, spans, rule="none")
        with spans.step("explain", items) as span:
            rows = tuple(self._rows[item] for item in items)
            user = self._user_rows[state.user] if state.user is not None else None
            likes = [self._rows[item] for item in state.likes]
            ranked = self.ranker.rank(likes, [], state.profile, user)
            picked = Picked(rows, ranked.scores, ranked.rule, ranked)
            cards = self.explainer.cards(state, understood, picked, language)
            span["output"] = [reason.text for card in cards for reason in card.reasons]
        lines = []
        for card in cards:
            reasons = "; ".join(reason.text for reason in card.reasons)
            reasons = reasons or phrase(language, "no_reasons")
            lines.append(
                phrase(language, "explained", title=card.title, facts=facts(card), reasons=reasons)
            )
            lines += [f"“{quote.text}” [{quote.id}]" for quote in card.quotes]
        return self._turn(state, cards, "\n".join(lines), understood, spans, rule=ranked.rule)

    def _compare(self, state: State, understood: Understood, spans: Spans, language: str) -> Turn:
        items = [each.item for each in understood.mentions]
        if len(items) < 2:
            return self._turn(state, (), phrase(language, "two"), understood, spans, rule="none")
        with spans.step("explain", items) as span:
            rows = tuple(self._rows[item] for item in items)
            scores = np.asarray(self.catalogue.popularity, dtype=float)
            ranked = Ranked(scores, "popular")
            cards = self.explainer.cards(
                state, understood, Picked(rows, scores, "popular", ranked), language
            )
            shared = self.ranker.shared(rows[0], rows[1])
            span["output"] = {"shared": shared}
        lines = [phrase(language, "compared", titles=", ".join(card.title for card in cards))]
        for card in cards:
            count = int(card.score)
            named = {"title": card.title, "facts": facts(card), "count": count, "past": self.past}
            lines.append(phrase(language, "compared_line", **named))
        lines.append(phrase(language, "compared_both", shared=shared, past=self.past))
        words, counted = "\n".join(lines), {"shared": shared}
        return self._turn(state, cards, words, understood, spans, rule="popular", counted=counted)

    def _answer_data(
        self, state: State, message: str, understood: Understood, spans: Spans, language: str
    ) -> Turn:
        if self.library is None:
            words = phrase(language, "small_talk", name=self.name)
            return self._turn(state, (), words, understood, spans, rule="none")
        with spans.step("ask", message) as span:
            try:
                answered = self.library.answer(message, writer=self.phraser)
            except PaddockError as error:
                span["output"] = str(error)
                return self._turn(state, (), str(error), understood, spans, rule="none")
            span["output"] = {"sql": answered.table.sql, "by": answered.by}
        words = phrase(language, "asked", rows=len(answered.table.rows))
        words = f"{words}\n{answered.table.sql}"
        return self._turn(state, (), words, understood, spans, rule="sql", table=answered.table)

    def _turn(
        self,
        state: State,
        cards: Sequence[Card],
        words: str,
        understood: Understood,
        spans: Spans,
        *,
        rule: str,
        table: Table | None = None,
        counted: Mapping[str, object] | None = None,
    ) -> Turn:
        trace = {
            "id": uuid.uuid4().hex,
            "intent": understood.intent,
            "rule": rule,
            "origin": dict(self.ranker.origin),
            "counted": dict(counted or {}),
            "spans": spans.made,
        }
        return Turn(state, tuple(cards), words, trace, table)

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
            key: [item for item in getattr(state, key) if item not in self._rows]
            for key in ("likes", "dislikes", "seen", "shown")
        }
        for key, items in unknown.items():
            if items:
                raise PaddockError(f"the state's {key} hold {items[0]!r}, which is no item here")
        if state.user is not None and state.user not in self._user_rows:
            raise PaddockError(
                f"the state's user {state.user!r} is no user here: give an id or null"
            )
        fulfilled(state.filters, self.catalogue)
