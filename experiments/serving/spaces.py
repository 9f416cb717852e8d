"""How near items are to one another: by what a model learned of them, else by the users that they share.

N items (padding included), D width of a model's vectors.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from experiments.data.prepared import Prepared
from experiments.serving.index import ApproximateIndex, installed

_VECTORS = ("item_embedding", "item_factors", "vectors_NF")
"""Attributes in which models keep a vector of every item, or the module that holds it."""


class ItemSpace:
    """Cosines of items, of a model's vectors or of the users who have them.

    Parameters
    ----------
    vectors_ND : ndarray or csr_matrix
        A row an item.
    learned : bool
        Whether they are a model's.
    index_above : int, optional
        Items above which `nearest` asks an approximate index, where FAISS is installed and the vectors are a
        model's; None: never.
    """

    def __init__(self, vectors_ND: Any, *, learned: bool, index_above: int | None = None) -> None:
        self.learned = learned
        self._index_above = index_above
        if sp.issparse(vectors_ND):
            norms_N = np.sqrt(np.asarray(vectors_ND.multiply(vectors_ND).sum(axis=1)).ravel())
            self._unit_ND = (sp.diags(1 / np.maximum(norms_N, 1e-12)) @ vectors_ND).tocsr()
        else:
            norms_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
            self._unit_ND = vectors_ND / np.maximum(norms_N1, 1e-12)

    def similar(
        self, items_M: Sequence[int] | NDArray[np.integer], others_K: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """The cosine of some items with others.

        Parameters
        ----------
        items_M : sequence of int
            Item ids.
        others_K : sequence of int, optional
            Item ids; None: all, padding included.

        Returns
        -------
        ndarray
            float32, shape (M, K) or (M, N); the column of padding means nothing.
        """
        chosen_MD = self._unit_ND[np.asarray(items_M, dtype=np.int64)]
        others_KD = self._unit_ND
        if others_K is not None:
            others_KD = self._unit_ND[np.asarray(others_K, dtype=np.int64)]
        product = chosen_MD @ others_KD.T
        made = product.toarray() if sp.issparse(product) else np.asarray(product)
        return made.astype(np.float32, copy=False)

    @cached_property
    def index(self) -> ApproximateIndex | None:
        """What `nearest` asks; None where it looks through all items."""
        n_items = self._unit_ND.shape[0] - 1
        if self._index_above is None or n_items <= self._index_above or not self.learned:
            return None
        return ApproximateIndex(self._unit_ND) if installed() else None

    @cached_property
    def recall(self) -> float | None:
        """Share of the ten nearest that the index finds; None without one."""
        return None if self.index is None else self.index.recall()

    def nearest(self, item: int, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The items nearest to one, itself left out, and their cosines; equal ones by ascending id.

        Parameters
        ----------
        item : int
            Its id.
        k : int
            How many, at most.
        """
        if self.index is not None:
            wanted = min(k + 1, self._unit_ND.shape[0] - 1)
            found_1K, cosines_1K = self.index.search(self._unit_ND[[item]], wanted)
            kept = (found_1K[0] != item) & (found_1K[0] > 0)
            return found_1K[0][kept][:k], cosines_1K[0][kept][:k]
        cosines_N = self.similar([item])[0]
        cosines_N[[0, item]] = -np.inf
        order = np.argsort(-cosines_N, kind="stable")[: max(0, min(k, len(cosines_N) - 2))]
        return order, cosines_N[order]


def item_space(model: Any, data: Prepared, *, index_above: int | None = None) -> ItemSpace:
    """The space of a model's item vectors; where it has none, that of the users in common.

    Parameters
    ----------
    model
        A trained model.
    data : Prepared
        What it was trained on.
    index_above : int, optional
        As of `ItemSpace`.
    """
    for name in _VECTORS:
        vectors = getattr(model, name, None)
        vectors = getattr(vectors, "weight", vectors)
        if isinstance(vectors, torch.Tensor):
            vectors = vectors.detach().cpu().float().numpy()
        if isinstance(vectors, np.ndarray) and vectors.shape[:1] == (data.n_items + 1,):
            return ItemSpace(vectors.astype(np.float32), learned=True, index_above=index_above)
    ones_R = np.ones(data.n_interactions, np.float32)
    shape = (data.n_items + 1, data.n_users + 1)
    of_users_NU = sp.csr_matrix((ones_R, (np.asarray(data.items), np.asarray(data.users))), shape)
    of_users_NU.data[:] = 1.0
    return ItemSpace(of_users_NU, learned=False)
