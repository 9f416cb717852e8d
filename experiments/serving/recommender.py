"""A finished run as something that recommends: to its users, to anybody's history, profile or words.

N items (padding included).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.schema import TrackingConfig
from experiments.data.prepared import Prepared
from experiments.protocol.sequences import Sequences
from experiments.runs.folder import RunFolder
from experiments.serving.finished import find_run
from experiments.serving.meaning import AUTO
from experiments.serving.names import Names
from experiments.serving.opened import Opened, open_model
from experiments.serving.products import Products
from experiments.serving.ranking import Ranker
from experiments.serving.reasons import Reasons
from experiments.serving.requests import Answer, Origin, Reason, Recommended, Request
from experiments.serving.scoring import Scores, Scoring
from experiments.serving.spaces import ItemSpace
from experiments.serving.texts import TextSearch


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
        self._ranker = Ranker(
            opened,
            self.scoring,
            self.names,
            index_above=index_above,
            text_encoder=text_encoder,
        )

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
        tracking: TrackingConfig | None = None,
    ) -> "Recommender":
        """The recommender of a finished run, which knows its own data set and protocol.

        Parameters
        ----------
        source : str or Path
            A run folder, an MLflow id, "runs:/ID/...", or "models:/NAME@ALIAS" of MLflow's registry.
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
        tracking : TrackingConfig, optional
            Where the registry is; by default mlflow.db.

        Raises
        ------
        PaddockError
            If there is no such run, a file of it is damaged, or the data set is no longer what it was
            trained on.
        """
        return cls.of(
            find_run(source, runs_dir=runs_dir, tracking=tracking),
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
            self._ranker.popularity,
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
        return self._ranker.items

    @property
    def space(self) -> ItemSpace:
        """How near items are to one another."""
        return self._ranker.space

    @property
    def products(self) -> Products | None:
        """What finds the best items of a user approximately; None where all are looked through."""
        return self._ranker.products

    @property
    def texts(self) -> TextSearch:
        """What queries are searched in."""
        return self._ranker.texts

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
        ranked = self._ranker.rank(request)
        reasons = Reasons(
            request,
            ranked.history,
            [item for item, _ in ranked.items],
            rule=ranked.rule,
            names=self.names,
            past=self.config.dataset.text.past or "had",
            space=self.space,
            popularity_N=self._ranker.popularity,
            found=ranked.found,
            search=None if ranked.found is None else self.texts,
        )
        items = tuple(
            self._recommended(place + 1, item, score, reasons.of(place))
            for place, (item, score) in enumerate(ranked.items)
        )
        return Answer(items, ranked.rule, self.origin, (*self.notes, *ranked.notes))

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

    def _recommended(
        self, rank: int, item: int, score: float, reasons: tuple[Reason, ...]
    ) -> Recommended:
        return Recommended(
            rank, self.names.token(item), self.names.title(item), float(score), reasons
        )
