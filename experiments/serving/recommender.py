"""A finished run as something that recommends: to its users, to anybody's history, profile or words.

N items (padding included).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from experiments import checkpoint
from experiments.bridge.inputs import reads_histories
from experiments.bridge.scorer import RecBoleScorer
from experiments.config.resolve import resolve_model
from experiments.config.schema import Config
from experiments.data.prepare import prepare
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.evaluation.topk import topk
from experiments.protocol.sequences import Sequences
from experiments.protocol.split import split_interactions
from experiments.runs.folder import RunFolder
from experiments.serving.filters import parse_where
from experiments.serving.finished import config_of, find_run
from experiments.serving.names import Names
from experiments.serving.reasons import Reasons
from experiments.serving.requests import Answer, Origin, Reason, Recommended, Request
from experiments.serving.spaces import ItemSpace, item_space
from experiments.serving.texts import TextIndex
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.device import device_of
from experiments.training.state import load_model_state

DISLIKE = 2.0
"""Standard deviations of the scores that an item loses for each disliked item that it equals."""

QUERY = 1.0
"""Weight of a query's standardised scores beside those of a history."""


CAN = "sequential models (model=sasrec), item neighbours, closed forms (model=ease, linear_text) and autoencoders can"

Scores = NDArray[np.float32]


class Recommender:
    """Answers requests by the model of one finished run.

    Parameters
    ----------
    folder : RunFolder
        Of the run.
    config : Config
        Its configuration.
    data : Prepared
        What it was trained on.
    model, dataset
        The trained model and the RecBole data set that it was made with.
    index_above : int, optional
        Items above which similar ones are searched for approximately, as of `ItemSpace`; None: never.
    """

    def __init__(
        self,
        *,
        folder: RunFolder,
        config: Config,
        data: Prepared,
        model: Any,
        dataset: Any,
        index_above: int | None = None,
    ) -> None:
        self.config = config
        self._index_above = index_above
        self.data = data
        self._model = model
        self._dataset = dataset
        run = folder.run
        self.origin = Origin(
            run_id=folder.tracking.get("run_id"),
            folder=str(folder.path),
            model=run["model_key"],
            dataset=run["dataset"],
            protocol=run["protocol"],
            data=data.hash,
            commit=(run.get("git") or {}).get("commit") or "",
        )
        self.names = Names(data)
        self.notes: tuple[str, ...] = ()

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
        index_above : int, optional
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
        data: Prepared | None = None,
    ) -> "Recommender":
        """The same of a run folder that is known to be whole, on `data` where it lies elsewhere."""
        run, config = folder.run, config_of(folder)
        if data is None:
            data = prepare(config.dataset, data_dir=data_dir or config.data_dir, progress=progress)
        split = split_interactions(data.before_join, config.protocol)
        if run["hashes"]["split"] != split.hash:
            raise PaddockError(
                f"{folder.path} was trained on other data (split {run['hashes']['split'][:12]}) than "
                f"dataset={data.name} gives here (split {split.hash[:12]}): its source has changed; train "
                f"again with {run['command']}"
            )
        if not (folder.path / "model").is_dir():
            raise PaddockError(
                f"{folder.path} holds no model: its users are new ones, which {run['model']} cannot score"
            )
        torch.set_num_threads(threads)
        sections, values = checkpoint.load(folder.path / "model" / "model.safetensors")
        context = TrainingContext(
            data=data,
            split=split,
            seed=run["seed"],
            device=device_of(device),
            folder=folder.path,
        )
        resolved = resolve_model(values)
        model, dataset, _ = build(resolved.values, context)
        load_model_state(model, *sections["model"])
        model.eval()
        made = cls(
            folder=folder,
            config=config,
            data=data,
            model=model,
            dataset=dataset,
            index_above=index_above,
        )
        made.notes = _changed(run, resolved.sources)
        return made

    def warm(self) -> "Recommender":
        """Make now what the first requests would wait for; returned is the recommender itself."""
        _ = (self.space.recall, self.texts, self.names.by_title, self._known, self._popularity)
        user = str(self.data.user_tokens[1])
        self.recommend(Request(user=user, k=1))
        return self

    @property
    def reads_histories(self) -> bool:
        """Whether it scores a history of somebody who is none of its users."""
        return reads_histories(self._model)

    @property
    def reads_profiles(self) -> bool:
        """Whether it scores somebody by the users' columns alone."""
        return hasattr(self._model, "scores_of")

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
        return self._of_history(user, [] if user is None else self._items_of(user), history)

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
        return item_space(self._model, self.data, index_above=self._index_above)

    @cached_property
    def texts(self) -> TextIndex:
        """What queries are searched in."""
        return TextIndex.of(self.data)

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
        notes = list(self.notes)
        user = None if request.user is None else self.names.user(request.user)
        named = {
            name: [self.resolve_title(each) for each in getattr(request, name)]
            for name in ("history", "dislikes", "exclude")
        }
        own = [] if user is None else self._items_of(user)
        history = [*own, *named["history"]]
        scores_N, rule = self._scores(request, user, own, named["history"])
        for other_N in self.space.similar(named["dislikes"]):
            scores_N = scores_N - DISLIKE * _spread(scores_N) * np.maximum(other_N, 0.0)
        if named["dislikes"]:
            notes.append("items like the disliked ones were moved down")
        out_N = np.zeros(len(scores_N), dtype=bool)
        out_N[[*history, *named["dislikes"], *named["exclude"]]] = True
        if request.where is not None:
            out_N[1:] |= ~parse_where(request.where).mask(self.items)
        if rule == "query":
            out_N |= scores_N <= 0
        chosen = self._best(scores_N, out_N, request.k)
        reasons = Reasons(
            request,
            history,
            rule=rule,
            names=self.names,
            past=self.config.dataset.text.past or "had",
            space=self.space,
            texts=self.texts if request.query else None,
            popularity_N=self._popularity,
        )
        items = tuple(
            self._recommended(rank, item, scores_N[item], reasons.of(item))
            for rank, item in enumerate(chosen, start=1)
        )
        if len(items) < request.k:
            notes.append(f"{len(items)} items are left of {request.k} that were asked for")
        return Answer(items, rule, self.origin, tuple(notes))

    def scorer_of(self, history: Sequences) -> RecBoleScorer:
        """The model as a scorer of its users, with other histories.

        Parameters
        ----------
        history : Sequences
            One row a user id of its data, (n_users + 1).
        """
        return RecBoleScorer(self._model, dataset=self._dataset, history=history)

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
        """The items whose texts fit a query best; only those with a word of it.

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

    def _scores(
        self, request: Request, user: int | None, own: Sequence[int], later: Sequence[int]
    ) -> tuple[Scores, str]:
        """Scores of all items, and by which rule."""
        if user is not None or later:
            scores_N = self._of_history(user, own, later)
            if request.query:
                asked_N = self._of_query(request.query)
                return _standardised(scores_N) + QUERY * _standardised(asked_N), "query+history"
            return scores_N, "history" if user is None else "user"
        if request.query:
            return self._of_query(request.query), "query"
        if request.profile:
            return self.profile_scores(request.profile), "profile"
        return self._popularity.astype(np.float32), "popular"

    def _of_history(self, user: int | None, own: Sequence[int], later: Sequence[int]) -> Scores:
        able = reads_histories(self._model)
        if later and not able:
            raise PaddockError(
                f"{self.origin.model} has a vector for each of its users and cannot score another history: {CAN}"
            )
        if not later:
            scorer = self._known
        else:
            row = user or 0  # the padding's row stands for somebody new
            scorer = RecBoleScorer(
                self._model, dataset=self._dataset, history=self._with(row, [*own, *later])
            )
        scores_1N = scorer.score(np.array([user or 0]))
        made: Scores = scores_1N[0].float().cpu().numpy()
        return made

    def _with(self, row: int, items: Sequence[int]) -> Sequences:
        """A history of one row; those of the others stay where the model reads all of them."""
        this = np.array(items, dtype=np.int32)
        if not getattr(self._model, "reads_all_histories", False):
            indptr = np.zeros(self.data.n_users + 2, dtype=np.int64)
            indptr[row + 1 :] = len(this)
            return Sequences(indptr=indptr, items=this)
        start, end = self.data.indptr[row], self.data.indptr[row + 1]
        indptr = np.array(self.data.indptr)
        indptr[row + 1 :] += len(this) - (end - start)
        return Sequences(
            indptr=indptr,
            items=np.concatenate([self.data.items[:start], this, self.data.items[end:]]),
        )

    @cached_property
    def _known(self) -> RecBoleScorer:
        history = Sequences(indptr=self.data.indptr, items=self.data.items)
        return RecBoleScorer(self._model, dataset=self._dataset, history=history)

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
        return self._known.score(users_B)

    def _of_query(self, query: str) -> Scores:
        if self.texts.empty:
            raise PaddockError(
                f"{self.data.name} has no texts to search: set dataset.text.title or dataset.text.template"
            )
        return self.texts.scores(query)

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
        if not self.reads_profiles:
            raise PaddockError(
                f"{self.origin.model} reads no columns of users: take a run of model=profile, or give a history"
            )
        try:
            made: Scores = self._model.scores_of(dict(profile)).float().cpu().numpy()
        except ValueError as error:
            raise PaddockError(f"profile: {error}") from error
        return made

    @cached_property
    def _popularity(self) -> NDArray[np.int64]:
        return np.bincount(np.asarray(self.data.items), minlength=self.data.n_items + 1)

    def _best(self, scores_N: Scores, out_N: NDArray[np.bool_], k: int) -> list[int]:
        left = np.flatnonzero(out_N).astype(np.int32)
        hidden = Sequences(indptr=np.array([0, len(left)]), items=left)
        wanted = min(k, self.data.n_items)
        items_1K, _ = topk(torch.from_numpy(np.asarray(scores_N))[None], hidden, wanted)
        return [int(item) for item in items_1K[0] if item]

    def _recommended(
        self, rank: int, item: int, score: float, reasons: tuple[Reason, ...]
    ) -> Recommended:
        return Recommended(
            rank, self.names.token(item), self.names.title(item), float(score), reasons
        )

    def _items_of(self, user: int) -> list[int]:
        start, end = self.data.indptr[user], self.data.indptr[user + 1]
        return [int(item) for item in self.data.items[start:end]]


def _changed(run: Mapping[str, Any], sources: Mapping[str, str]) -> tuple[str, ...]:
    """A note on components whose code is not that which trained the run."""
    trained = run.get("sources") or {}
    changed = [name for name, source in sources.items() if trained.get(name, source) != source]
    if not changed:
        return ()
    commit = ((run.get("git") or {}).get("commit") or "unknown")[:12]
    return (
        f"the code of {', '.join(changed)} is not that which trained this run (commit {commit}): its scores "
        "may differ from those that were evaluated",
    )


def _spread(scores_N: Scores) -> float:
    return float(scores_N[1:][np.isfinite(scores_N[1:])].std()) or 1.0


def _standardised(scores_N: Scores) -> Scores:
    left = scores_N[1:][np.isfinite(scores_N[1:])]
    made: Scores = ((scores_N - left.mean()) / (left.std() or 1.0)).astype(np.float32)
    return made
