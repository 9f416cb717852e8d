"""Which items are shown: what may be, how well it fits what is looked for, and in which order.

I items of the catalogue.
"""

from dataclasses import dataclass

import numpy as np

from experiments.talk.catalogue import Catalogue
from experiments.talk.conditions import fulfilled
from experiments.talk.ranking import ByNeighbours, Ranked
from experiments.talk.search import TextSearch
from experiments.talk.state import State
from experiments.talk.texts import Texts
from experiments.talk.understand import Understood

TASTE = 0.3
"""The taste's share in the order of what a search found, the query's is the rest."""


@dataclass(frozen=True)
class Retrieved:
    """What may be recommended.

    Attributes
    ----------
    allowed : ndarray of bool
        (I,), whether an item meets the filters and was not hidden.
    query : ndarray
        (I,), how well an item's texts fit the words that are looked for, 0 for not at all.
    references : tuple of int
        Rows of the items that others are to be like, or that are looked for by their titles.
    """

    allowed: np.ndarray
    query: np.ndarray
    references: tuple[int, ...]


@dataclass(frozen=True)
class Picked:
    """The rows to show, best first, the scores of all, and by which rule they came."""

    rows: tuple[int, ...]
    scores: np.ndarray
    rule: str
    ranked: Ranked


class Chooser:
    """Retrieves and ranks.

    Parameters
    ----------
    catalogue : Catalogue
    ranker : ByNeighbours
    search : TextSearch
        Of the items' texts.
    texts : Texts or None
        Reviews and descriptions, which are searched, too.
    k : int
        Items of a list.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        ranker: ByNeighbours,
        search: TextSearch,
        texts: Texts | None,
        *,
        k: int,
    ) -> None:
        self._catalogue = catalogue
        self._ranker = ranker
        self._search = search
        self._texts = texts
        self._k = k

    def retrieve(self, state: State, understood: Understood, filters: tuple[str, ...]) -> Retrieved:
        """What may be recommended.

        Parameters
        ----------
        state : State
            What is liked, disliked, seen, or a known user's own is hidden.
        understood : Understood
        filters : tuple of str
            Conditions that must hold.
        """
        catalogue = self._catalogue
        references = (
            tuple(catalogue.rows[each.item] for each in understood.mentions)
            if understood.intent in ("similar", "search")
            else ()
        )
        allowed = fulfilled(filters, catalogue)
        hidden = [*state.likes, *state.dislikes, *state.seen]
        allowed[[catalogue.rows[item] for item in hidden]] = False
        if state.user is not None:
            allowed[self._ranker.taken(catalogue.user_rows[state.user])] = False
        found = understood.intent == "search" and references
        if found:
            # What is looked for by its title is shown, liked or not.
            allowed[list(references)] = True
        elif references:
            allowed[list(references)] = False
        query = np.zeros(len(allowed))
        if understood.query and understood.intent != "feedback":
            query = np.asarray(self._search.scores(understood.query), dtype=float)
            for row, score in (self._texts.items(understood.query) if self._texts else {}).items():
                query[row] = max(query[row], score)
        return Retrieved(allowed, query, references)

    def rank(self, state: State, understood: Understood, retrieved: Retrieved) -> Picked:
        """The best of what may be recommended.

        Parameters
        ----------
        state : State
        understood : Understood
        retrieved : Retrieved
        """
        ranked = self.taste(state)
        scores, rule, allowed = ranked.scores, ranked.rule, retrieved.allowed
        if retrieved.references and understood.intent == "similar":
            scores = np.mean([self._ranker.similar(row) for row in retrieved.references], axis=0)
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
        order = np.argsort(-np.where(allowed, scores, -np.inf), kind="stable")[: self._k]
        rows = tuple(int(row) for row in order if allowed[row])
        return Picked(rows, scores, rule, ranked)

    def taste(self, state: State, *, dislikes: bool = True) -> Ranked:
        """Scores of all items by what is known of the person.

        Parameters
        ----------
        state : State
        dislikes : bool
            Whether what is disliked pushes its like away.
        """
        catalogue = self._catalogue
        user = catalogue.user_rows[state.user] if state.user is not None else None
        liked = [catalogue.rows[item] for item in state.likes]
        disliked = [catalogue.rows[item] for item in state.dislikes if dislikes]
        return self._ranker.rank(liked, disliked, state.profile, user)
