"""How near items are to one another: by what a model learned of them, else by the users that they share.

N items (padding included), D width of a model's vectors.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from experiments.data.prepared import Prepared

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
    """

    def __init__(self, vectors_ND: Any, *, learned: bool) -> None:
        self.learned = learned
        if sp.issparse(vectors_ND):
            norms_N = np.sqrt(np.asarray(vectors_ND.multiply(vectors_ND).sum(axis=1)).ravel())
            self._unit_ND = (sp.diags(1 / np.maximum(norms_N, 1e-12)) @ vectors_ND).tocsr()
        else:
            norms_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
            self._unit_ND = vectors_ND / np.maximum(norms_N1, 1e-12)

    def similar(self, items_M: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """The cosine of some items with all.

        Parameters
        ----------
        items_M : sequence of int
            Item ids.

        Returns
        -------
        ndarray
            float32, shape (M, N); column 0 is padding and means nothing.
        """
        product = self._unit_ND[np.asarray(items_M, dtype=np.int64)] @ self._unit_ND.T
        made = product.toarray() if sp.issparse(product) else np.asarray(product)
        return made.astype(np.float32, copy=False)


def item_space(model: Any, data: Prepared) -> ItemSpace:
    """The space of a model's item vectors; where it has none, that of the users in common.

    Parameters
    ----------
    model
        A trained model.
    data : Prepared
        What it was trained on.
    """
    for name in _VECTORS:
        vectors = getattr(model, name, None)
        vectors = getattr(vectors, "weight", vectors)
        if isinstance(vectors, torch.Tensor):
            vectors = vectors.detach().cpu().float().numpy()
        if isinstance(vectors, np.ndarray) and vectors.shape[:1] == (data.n_items + 1,):
            return ItemSpace(vectors.astype(np.float32), learned=True)
    ones_R = np.ones(data.n_interactions, np.float32)
    shape = (data.n_items + 1, data.n_users + 1)
    of_users_NU = sp.csr_matrix((ones_R, (np.asarray(data.items), np.asarray(data.users))), shape)
    of_users_NU.data[:] = 1.0
    return ItemSpace(of_users_NU, learned=False)
