"""How a request is answered: which scores rank the items, and which items are left out.

N items (padding included).
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from experiments.errors import PaddockError
from experiments.evaluation.topk import topk
from experiments.protocol.sequences import Sequences
from experiments.serving.filters import parse_where
from experiments.serving.meaning import Meaning, encoder_of
from experiments.serving.names import Names
from experiments.serving.opened import Opened
from experiments.serving.products import Products, products_of
from experiments.serving.requests import Request
from experiments.serving.scoring import Scores, Scoring, spread, standardised
from experiments.serving.spaces import ItemSpace, item_space
from experiments.serving.texts import Found, TextSearch, WordIndex

DISLIKE = 2.0
"""Standard deviations of the scores that an item loses for each disliked item that it equals."""

QUERY = 1.0
"""Weight of a query's standardised scores beside those of a history."""


class Ranked(NamedTuple):
    """The items of an answer, and how they were found.

    Attributes
    ----------
    rule : str
        Which way answered, as of `Answer`.
    items : list of (int, float)
        Internal numbers with their scores, best first.
    history : list of int
        All items that the scores are made of.
    found : Found or None
        What the query found.
    notes : tuple of str
        What a reader of the answer must know.
    """

    rule: str
    items: list[tuple[int, float]]
    history: list[int]
    found: Found | None
    notes: tuple[str, ...]


class _Asked(NamedTuple):
    """A request by internal numbers."""

    user: int | None
    later: list[int]
    dislikes: list[int]
    exclude: list[int]
    history: list[int]
    """All items that the scores are made of."""


class _Scored(NamedTuple):
    """Scores of all items, by which rule, what the query found, and the recall of an approximate search."""

    scores_N: Scores
    rule: str
    found: Found | None = None
    recall: float | None = None


_NO_SCORES = np.zeros(0, dtype=np.float32)


class Ranker:
    """Ranks the items of a data set for requests.

    Parameters
    ----------
    opened : Opened
    scoring : Scoring
        Of its model.
    names : Names
        Of its data.
    index_above : int or None
        Items above which similar ones and best ones are searched for approximately, as of `ItemSpace` and
        `products_of`; None: never.
    text_encoder : str or None
        What compares queries with texts beside words, as of `encoder_of`.
    """

    def __init__(
        self,
        opened: Opened,
        scoring: Scoring,
        names: Names,
        *,
        index_above: int | None,
        text_encoder: str | None,
    ) -> None:
        self.data = opened.data
        self.scoring = scoring
        self.names = names
        self._opened = opened
        self._index_above = index_above
        self._text_encoder = text_encoder

    @property
    def items(self) -> pl.DataFrame:
        """Item id, title and all item columns, a row an item."""
        features = self.data.item_features
        titles = pl.Series("title", self.data.item_titles[1:])
        if "title" in features.columns:
            return features
        return features.insert_column(1, titles)

    @cached_property
    def space(self) -> ItemSpace:
        """How near items are to one another."""
        return item_space(self._opened.model, self.data, index_above=self._index_above)

    @cached_property
    def products(self) -> Products | None:
        """What finds the best items of a user approximately; None where all are looked through."""
        return products_of(self.scoring, self.data, index_above=self._index_above)

    @cached_property
    def texts(self) -> TextSearch:
        """What queries are searched in."""
        words = WordIndex.of(self.data)
        chosen = encoder_of(self._text_encoder, self._opened.config.model, self.data)
        if chosen.keys is None or words.empty:
            return TextSearch(words, None, why=chosen.name)
        return TextSearch(words, Meaning(chosen.keys, self.data, name=chosen.name))

    @cached_property
    def popularity(self) -> NDArray[np.int64]:
        """Interactions of each item, (N,)."""
        return np.bincount(np.asarray(self.data.items), minlength=self.data.n_items + 1)

    def rank(self, request: Request) -> Ranked:
        """The best items for a request.

        Parameters
        ----------
        request : Request

        Raises
        ------
        PaddockError
            For an unknown user, item, column or value, and for what this model cannot score.
        """
        asked = self._asked(request)
        scored, items = self._chosen(request, asked)
        notes = self._notes(request, asked, scored, len(items))
        return Ranked(scored.rule, items, asked.history, scored.found, tuple(notes))

    def _asked(self, request: Request) -> _Asked:
        user = None if request.user is None else self.names.user(request.user)
        later, dislikes, exclude = (
            [self.names.item(each) for each in named]
            for named in (request.history, request.dislikes, request.exclude)
        )
        own = [] if user is None else self.scoring.items_of(user)
        return _Asked(user, later, dislikes, exclude, [*own, *later])

    def _chosen(self, request: Request, asked: _Asked) -> tuple[_Scored, list[tuple[int, float]]]:
        """How the request was answered, and the items with their scores, best first."""
        plain = not (request.query or request.where or asked.dislikes)
        if plain and (asked.user is not None or asked.later) and self.products is not None:
            out = {*asked.history, *asked.exclude}
            found = self.products.best(asked.user, asked.later, out, request.k)
            if found is not None:
                rule = "history" if asked.user is None else "user"
                return _Scored(_NO_SCORES, rule, recall=self.products.recall), found
        scored = self._scored(request, asked)
        scores_N = self._pushed_down(scored.scores_N, asked)
        return scored, self._best(scores_N, self._out(request, asked, scored), request.k)

    def _scored(self, request: Request, asked: _Asked) -> _Scored:
        found = self._found(request.query) if request.query else None
        if asked.user is not None or asked.later:
            scores_N = self.scoring.of_history(asked.user, asked.later)
            if found is not None:
                both_N = standardised(scores_N) + QUERY * standardised(found.scores_N)
                return _Scored(both_N, "query+history", found)
            return _Scored(scores_N, "history" if asked.user is None else "user")
        if found is not None:
            return _Scored(found.scores_N, "query", found)
        if request.profile:
            return _Scored(self.scoring.of_profile(request.profile), "profile")
        return _Scored(self.popularity.astype(np.float32), "popular")

    def _found(self, query: str) -> Found:
        if self.texts.words.empty:
            raise PaddockError(
                f"{self.data.name} has no texts to search: set dataset.text.title or dataset.text.template"
            )
        return self.texts.find(query)

    def _pushed_down(self, scores_N: Scores, asked: _Asked) -> Scores:
        for other_N in self.space.similar(asked.dislikes) if asked.dislikes else ():
            scores_N = scores_N - DISLIKE * spread(scores_N) * np.maximum(other_N, 0.0)
        return scores_N

    def _out(self, request: Request, asked: _Asked, scored: _Scored) -> NDArray[np.bool_]:
        """Which items are not recommended."""
        out_N = np.zeros(len(scored.scores_N), dtype=bool)
        out_N[[*asked.history, *asked.dislikes, *asked.exclude]] = True
        if request.where is not None:
            out_N[1:] |= ~parse_where(request.where).mask(self.items)
        if scored.rule == "query":
            out_N |= scored.scores_N <= 0
        return out_N

    def _notes(self, request: Request, asked: _Asked, scored: _Scored, count: int) -> list[str]:
        """What a reader of the answer must know beside what is true of all."""
        notes = []
        if scored.found is not None:
            notes.append(self.texts.way)
        if scored.rule == "popular":
            notes.append(
                "no user, history, profile or query was given: this is what most users have"
            )
        if scored.recall is not None:
            notes.append(f"searched approximately: {scored.recall:.3f} of the ten best are found")
        if asked.user is None and asked.later and self._opened.half_new is not None:
            notes.append(self._opened.half_new)
        if asked.dislikes:
            notes.append("items like the disliked ones were moved down")
        if count < request.k:
            notes.append(f"{count} items are left of {request.k} that were asked for")
        return notes

    def _best(self, scores_N: Scores, out_N: NDArray[np.bool_], k: int) -> list[tuple[int, float]]:
        left = np.flatnonzero(out_N).astype(np.int32)
        hidden = Sequences(indptr=np.array([0, len(left)]), items=left)
        wanted = min(k, self.data.n_items)
        items_1K, _ = topk(torch.from_numpy(np.asarray(scores_N))[None], hidden, wanted)
        return [(int(item), float(scores_N[item])) for item in items_1K[0] if item]
