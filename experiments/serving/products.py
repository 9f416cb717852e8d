"""The best items of a user by approximate search, where a score is the product of a user's vector and an item's.

B users, N items (padding included), D width, K length of a list.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.bridge.scorer import RecBoleScorer
from experiments.data.prepared import Prepared
from experiments.serving.index import SAMPLED, ApproximateIndex, installed
from experiments.serving.scoring import Scoring

_TABLES = (
    ("user_embedding", "item_embedding"),
    ("restore_user_e", "restore_item_e"),
    ("user_factors", "item_factors"),
)
"""Attributes in which models keep vectors of users and of items, or the modules that hold them."""

CHECKED = 16
"""Users by whom it is checked that products are the model's scores."""

LONGEST = 2000
"""Items, those that are left out among them, above which all are looked through."""

Read = Callable[[Any, Any], Tensor]
"""Takes (model, RecBole's batch) and gives the users' vectors, (B, D)."""


class Factors(NamedTuple):
    """How a model's scores are products: what reads users' vectors, and those of the items (N, D)."""

    read: Read
    items_ND: Tensor


def factors_of(scoring: Scoring, data: Prepared) -> Factors | None:
    """The vectors whose products are a model's scores; None where there are none.

    Nothing is taken on trust: the products are compared with the scores of some users.

    Parameters
    ----------
    scoring : Scoring
    data : Prepared
    """
    drawn = np.random.default_rng(0).permutation(data.n_users)[:CHECKED] + 1
    exact_BN = scoring.known.score(drawn)  # LightGCN keeps its vectors once it has scored
    scale = float(exact_BN[:, 1:].abs().max())
    for read, items_ND in _readings(scoring.model):
        if items_ND.ndim != 2 or len(items_ND) != data.n_items + 1:
            continue
        try:
            users_BD = scoring.known.apply(drawn, read)
            made_BN = users_BD @ items_ND.T
        except (TypeError, RuntimeError, AttributeError):
            continue  # the model reads its users in another way
        if torch.allclose(made_BN[:, 1:], exact_BN[:, 1:], rtol=1e-3, atol=1e-4 * scale):
            return Factors(read, items_ND)
    return None


def _readings(model: Any) -> Iterator[tuple[Read, Tensor]]:
    """Ways in which models make their scores."""
    items_ND = _table(model, "item_embedding")
    if hasattr(model, "ITEM_SEQ") and items_ND is not None:
        yield _state, items_ND
    for of_users, of_items in _TABLES:
        users_UD, items_ND = _table(model, of_users), _table(model, of_items)
        if users_UD is not None and items_ND is not None:
            yield _reader(of_users), items_ND


def _state(model: Any, batch: Any) -> Tensor:
    """The state of a sequential model after a history."""
    made: Tensor = model.forward(batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN])
    return made


def _reader(name: str) -> Read:
    def read(model: Any, batch: Any) -> Tensor:
        table_UD = _table(model, name)
        assert table_UD is not None
        return table_UD[batch[model.USER_ID]]

    return read


def _table(model: Any, name: str) -> Tensor | None:
    vectors = getattr(model, name, None)
    vectors = getattr(vectors, "weight", vectors)
    return vectors.detach() if isinstance(vectors, Tensor) else None


class Products:
    """An approximate index over the items' vectors, asked by users' vectors.

    The greatest products are the nearest vectors once each item's has one length, which a further dimension gives it
    (Bachrach et al., RecSys 2014, section 3.1).

    Parameters
    ----------
    factors : Factors
    scoring : Scoring
    data : Prepared
    """

    def __init__(self, factors: Factors, scoring: Scoring, data: Prepared) -> None:
        self._read = factors.read
        self._scoring = scoring
        self._data = data
        items_ND = factors.items_ND.float().cpu().numpy()
        squares_N = np.square(items_ND).sum(axis=1)
        rest_N = np.sqrt(np.maximum(squares_N[1:].max() - squares_N, 0.0))
        self._index = ApproximateIndex(np.column_stack([items_ND, rest_N]))

    @cached_property
    def recall(self) -> float:
        """Share of the ten best items that it finds, over users of the data set."""
        drawn = np.random.default_rng(0).permutation(self._data.n_users)[:SAMPLED] + 1
        return self._index.recall(queries_BD=self._vectors(self._scoring.known, drawn))

    def best(
        self, user: int | None, later: list[int], out: set[int], k: int
    ) -> list[tuple[int, float]] | None:
        """The items of the greatest scores, best first; None where all should be looked through.

        Parameters
        ----------
        user, later
            As of `Scoring.scorer_for`.
        out : set of int
            Items that are left out.
        k : int
        """
        wanted = k + len(out)
        if wanted > min(LONGEST, self._data.n_items):
            return None
        scorer = self._scoring.scorer_for(user, later)
        items_1K, scores_1K = self._index.search(
            self._vectors(scorer, np.array([user or 0])), wanted
        )
        found = [
            (int(item), float(score))
            for item, score in zip(items_1K[0], scores_1K[0], strict=True)
            if item > 0 and item not in out
        ]
        return found[:k] if len(found) >= k else None

    def _vectors(self, scorer: RecBoleScorer, users_B: NDArray[np.int64]) -> NDArray[np.float32]:
        vectors_BD = scorer.apply(users_B, self._read).float().cpu().numpy()
        return np.column_stack([vectors_BD, np.zeros(len(vectors_BD), np.float32)])


def products_of(scoring: Scoring, data: Prepared, *, index_above: int | None) -> Products | None:
    """What finds best items in a catalogue that is too large to be looked through; else None.

    Parameters
    ----------
    scoring : Scoring
    data : Prepared
    index_above : int or None
        Items above which it is asked, where FAISS is installed; None: never.
    """
    if index_above is None or data.n_items <= index_above or not installed():
        return None
    factors = factors_of(scoring, data)
    return None if factors is None else Products(factors, scoring, data)
