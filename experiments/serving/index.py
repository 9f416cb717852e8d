"""Approximate search among item vectors, for catalogues that are too large to look through at every request.

N items (padding included), D width, B queries, K length of a list.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LINKS = 32
"""Neighbours of an item in the graph (M of Malkov and Yashunin, TPAMI 2020)."""

BUILD, SEARCH = 80, 128
"""Candidates that are kept while the graph is built, and while it is searched."""

SAMPLED = 200
"""Items by which the recall is measured."""


def installed() -> bool:
    """Whether FAISS is here: it comes with the extra `index`."""
    return find_spec("faiss") is not None


class ApproximateIndex:
    """FAISS's graph of near neighbours (HNSW) by inner products.

    Parameters
    ----------
    vectors_ND : ndarray
        float32; row 0 is padding and is never found.
    """

    def __init__(self, vectors_ND: NDArray[np.float32]) -> None:
        import faiss

        self._vectors_ND = np.ascontiguousarray(vectors_ND, dtype=np.float32)
        self._graph = faiss.IndexHNSWFlat(vectors_ND.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        self._graph.hnsw.efConstruction = BUILD
        self._graph.add(self._vectors_ND[1:])

    @classmethod
    def load(cls, path: Path, vectors_ND: NDArray[np.float32]) -> "ApproximateIndex":
        """The index that `save` wrote.

        Parameters
        ----------
        path : Path
            One of Paddock's own, whose hash was compared.
        vectors_ND : ndarray
            Of which it was made.
        """
        import faiss

        made = cls.__new__(cls)
        graph: Any = faiss.read_index(str(path))
        made._vectors_ND, made._graph = vectors_ND, graph
        return made

    def save(self, path: Path) -> None:
        """Write the graph, which holds the vectors too."""
        import faiss

        faiss.write_index(self._graph, str(path))

    def search(
        self, queries_BD: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The items of the greatest inner products with each query, as far as the graph finds them.

        Parameters
        ----------
        queries_BD : ndarray
            float32.
        k : int

        Returns
        -------
        items_BK, products_BK
            Best first; items are int64, 0 where fewer were found.
        """
        self._graph.hnsw.efSearch = max(SEARCH, 2 * k)
        products_BK, places_BK = self._graph.search(np.ascontiguousarray(queries_BD), k)
        return places_BK.astype(np.int64) + 1, products_BK

    def recall(self, k: int = 10, *, queries_BD: NDArray[np.float32] | None = None) -> float:
        """The share of the exact k best that it finds.

        Parameters
        ----------
        k : int
        queries_BD : ndarray, optional
            float32; by default the vectors of items that are drawn from a fixed seed.
        """
        n_items = len(self._vectors_ND) - 1
        k = min(k, n_items)
        if queries_BD is None:
            drawn = np.random.default_rng(0).permutation(n_items)[:SAMPLED] + 1
            queries_BD = self._vectors_ND[drawn]
        found_BK, _ = self.search(queries_BD, k)
        exact_BN = queries_BD @ self._vectors_ND[1:].T
        exact_BK = np.argpartition(-exact_BN, k - 1, axis=1)[:, :k] + 1
        hits = [len(set(a) & set(b)) for a, b in zip(found_BK, exact_BK, strict=True)]
        return float(np.mean(hits) / k)
