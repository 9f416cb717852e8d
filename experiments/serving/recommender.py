"""A finished run as something that recommends: to its users, to anybody's history, profile or words.

N items (padding included).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from experiments.bridge.scorer import RecBoleScorer
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.evaluation.topk import topk
from experiments.protocol.sequences import Sequences
from experiments.runs.folder import RunFolder
from experiments.serving.filters import parse_where
from experiments.serving.finished import find_run
from experiments.serving.meaning import AUTO, Meaning, encoder_of
from experiments.serving.names import Names
from experiments.serving.opened import Opened, open_model
from experiments.serving.products import Products, products_of
from experiments.serving.reasons import Reasons
from experiments.serving.requests import Answer, Origin, Reason, Recommended, Request
from experiments.serving.scoring import Scores, Scoring, spread, standardised
from experiments.serving.spaces import ItemSpace, item_space
from experiments.serving.texts import Found, TextSearch, WordIndex

DISLIKE = 2.0
"""Standard deviations of the scores that an item loses for each disliked item that it equals."""

QUERY = 1.0
"""Weight of a query's standardised scores beside those of a history."""


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


class Recommender:
    """Answers requests by the model of one finished run.

    Parameters
    ----------
    opened : Opened
        The run, its data and its model.
    index_above : int, optional
        Items above which similar ones and best ones are searched for approximately, as of `ItemSpace` and
        `products_of`; None: never.
    text_encoder : str or None
        What compares queries with texts beside words, as of `encoder_of`.
    """

    def __init__(
        self,
        opened: Opened,
        *,
        index_above: int | None = None,
        text_encoder: str | None = AUTO,
    ) -> None:
        folder, run = opened.folder, opened.folder.run
        self.config = opened.config
        self.data = opened.data
        self.notes = opened.notes
        self.origin = Origin(
            run_id=folder.tracking.get("run_id"),
            folder=str(folder.path),
            model=run["model_key"],
            dataset=run["dataset"],
            protocol=run["protocol"],
            data=opened.data.hash,
            commit=(run.get("git") or {}).get("commit") or "",
        )
        self.names = Names(opened.data)
        self.scoring = Scoring(opened, name=self.origin.model)
        self._opened = opened
        self._index_above = index_above
        self._text_encoder = text_encoder

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        runs_dir: str | Path = "runs",
        data_dir: str | Path | None = None,
        device: str = "cpu",
        threads: int = 1,
        index_above: int | None = None,
        text_encoder: str | None = AUTO,
    ) -> "Recommender":
        """The recommender of a finished run, which knows its own data set and protocol.

        Parameters
        ----------
        source : str or Path
            A run folder, an MLflow id or "runs:/ID/...".
        runs_dir : str or Path
            Where MLflow ids are looked for.
        data_dir : str or Path, optional
            Of prepared data sets; by default the run's own.
        device : str
            As of the configuration.
        threads : int
            Of torch.
        index_above, text_encoder
            As of the class.

        Raises
        ------
        PaddockError
            If there is no such run, a file of it is damaged, or the data set is no longer what it was
            trained on.
        """
        return cls.of(
            find_run(source, runs_dir=runs_dir),
            data_dir=data_dir,
            device=device,
            threads=threads,
            index_above=index_above,
            text_encoder=text_encoder,
        )

    @classmethod
    def of(
        cls,
        folder: RunFolder,
        *,
        data_dir: str | Path | None = None,
        device: str = "cpu",
        threads: int = 1,
        progress: bool = False,
        index_above: int | None = None,
        text_encoder: str | None = AUTO,
        data: Prepared | None = None,
    ) -> "Recommender":
        """The same of a run folder that is known to be whole, on `data` where it lies elsewhere."""
        opened = open_model(
            folder,
            data_dir=data_dir,
            device=device,
            threads=threads,
            progress=progress,
            data=data,
        )
        return cls(opened, index_above=index_above, text_encoder=text_encoder)

    def warm(self) -> "Recommender":
        """Make now what the first requests would wait for; returned is the recommender itself."""
        _ = (
            self.space.recall,
            self.products and self.products.recall,
            self.names.by_title,
            self._popularity,
        )
        user = str(self.data.user_tokens[1])
        self.recommend(Request(user=user, k=1))
        if not self.texts.words.empty:
            self.recommend(Request(query="a", k=1))
        return self

    @property
    def reads_histories(self) -> bool:
        """Whether it scores a history of somebody who is none of its users."""
        return self.scoring.reads_histories

    @property
    def reads_profiles(self) -> bool:
        """Whether it scores somebody by the users' columns alone."""
        return self.scoring.reads_profiles

    def scores(self, user: int | None, history: Sequence[int] = ()) -> Scores:
        """The model's scores of all items, (N,); the padding's means nothing.

        Parameters
        ----------
        user : int or None
            The number of a user, whose items come first; None: somebody new.
        history : sequence of int
            Numbers of items that came later.

        Raises
        ------
        PaddockError
            If a history is given that this model cannot score.
        """
        return self.scoring.of_history(user, history)

    def profile_scores(self, profile: Mapping[str, Any]) -> Scores:
        """The model's scores of all items for somebody of these values, (N,); the padding's means nothing.

        Parameters
        ----------
        profile : mapping of str to object
            Column of the users to value.

        Raises
        ------
        PaddockError
            If the model reads no columns, or has no such column or value.
        """
        return self.scoring.of_profile(profile)

    def scores_of_users(self, users_B: NDArray[np.int64]) -> torch.Tensor:
        """The model's scores of all items for users of the data set, each by all that he had.

        Parameters
        ----------
        users_B : ndarray
            Their numbers, shape (B,).

        Returns
        -------
        Tensor
            (B, N) on the model's device; column 0 is padding and means nothing.
        """
        return self.scoring.known.score(users_B)

    def scorer_of(self, history: Sequences) -> RecBoleScorer:
        """The model as a scorer of its users, with other histories, as of `Scoring`.

        Parameters
        ----------
        history : Sequences
            One row a user id of its data, (n_users + 1).
        """
        return self.scoring.scorer_of(history)

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
        chosen = encoder_of(self._text_encoder, self.config.model, self.data)
        if chosen.keys is None or words.empty:
            return TextSearch(words, None, why=chosen.name)
        return TextSearch(words, Meaning(chosen.keys, self.data, name=chosen.name))

    def recommend(self, request: Request) -> Answer:
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
        scored, chosen = self._chosen(request, asked)
        reasons = Reasons(
            request,
            asked.history,
            [item for item, _ in chosen],
            rule=scored.rule,
            names=self.names,
            past=self.config.dataset.text.past or "had",
            space=self.space,
            popularity_N=self._popularity,
            found=scored.found,
            search=None if scored.found is None else self.texts,
        )
        items = tuple(
            self._recommended(place + 1, item, score, reasons.of(place))
            for place, (item, score) in enumerate(chosen)
        )
        notes = [*self.notes, *self._notes(request, asked, scored, len(items))]
        return Answer(items, scored.rule, self.origin, tuple(notes))

    def similar(self, item: str, k: int = 10) -> Answer:
        """The items nearest to one, in the model's own space where it has one.

        Parameters
        ----------
        item : str
            Its id or title.
        k : int
        """
        this = self.resolve_title(item)
        items_K, cosines_K = self.space.nearest(this, k)
        near = "the model's vectors" if self.space.learned else "the users in common"
        title = self.names.title(this)
        made = tuple(
            self._recommended(
                rank,
                int(other),
                float(cosine),
                (Reason("history", f'near "{title}" by {near}', (self.names.token(this),)),),
            )
            for rank, (other, cosine) in enumerate(zip(items_K, cosines_K, strict=True), start=1)
        )
        recall = self.space.recall
        if recall is None:
            return Answer(made, "history", self.origin)
        note = f"searched approximately: {recall:.3f} of the ten nearest are found"
        return Answer(made, "history", self.origin, (note,))

    def search(self, text: str, k: int = 10) -> Answer:
        """The items whose texts fit a query best, by words and by meaning.

        Parameters
        ----------
        text : str
        k : int
        """
        return self.recommend(Request(query=text, k=k))

    def resolve_title(self, text: str) -> int:
        """The internal number of an item that is named by id or by title, as of `Names.item`.

        Parameters
        ----------
        text : str
        """
        return self.names.item(text)

    def title_of(self, token: str) -> str:
        """The title of an item of the data set, "" where it has none.

        Parameters
        ----------
        token : str
            Its id.
        """
        return self.data.item_titles[self.data.item_id(token) or 0]

    def _asked(self, request: Request) -> _Asked:
        user = None if request.user is None else self.names.user(request.user)
        later, dislikes, exclude = (
            [self.resolve_title(each) for each in named]
            for named in (request.history, request.dislikes, request.exclude)
        )
        own = [] if user is None else self.scoring.items_of(user)
        return _Asked(user, later, dislikes, exclude, [*own, *later])

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
        return _Scored(self._popularity.astype(np.float32), "popular")

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
        if scored.recall is not None:
            notes.append(f"searched approximately: {scored.recall:.3f} of the ten best are found")
        if asked.user is None and asked.later and self._opened.half_new is not None:
            notes.append(self._opened.half_new)
        if asked.dislikes:
            notes.append("items like the disliked ones were moved down")
        if count < request.k:
            notes.append(f"{count} items are left of {request.k} that were asked for")
        return notes

    @cached_property
    def _popularity(self) -> NDArray[np.int64]:
        return np.bincount(np.asarray(self.data.items), minlength=self.data.n_items + 1)

    def _best(self, scores_N: Scores, out_N: NDArray[np.bool_], k: int) -> list[tuple[int, float]]:
        left = np.flatnonzero(out_N).astype(np.int32)
        hidden = Sequences(indptr=np.array([0, len(left)]), items=left)
        wanted = min(k, self.data.n_items)
        items_1K, _ = topk(torch.from_numpy(np.asarray(scores_N))[None], hidden, wanted)
        return [(int(item), float(scores_N[item])) for item in items_1K[0] if item]

    def _recommended(
        self, rank: int, item: int, score: float, reasons: tuple[Reason, ...]
    ) -> Recommended:
        return Recommended(
            rank, self.names.token(item), self.names.title(item), float(score), reasons
        )
