"""Searching the items' texts by words, and by what they mean where there is a sentence encoder.

N items (padding included), F words.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.data.prepared import Prepared
from experiments.serving.meaning import Meaning

DAMPING = 60
"""Of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)."""

NEAREST = 50
"""Items that the embeddings bring in beside those that share a word with a query."""


class WordIndex:
    """The cosine of a query and the items' texts, words weighed by TF-IDF.

    Of a query that says something, words such as "the" and "about" are left out: they are rare in titles.

    Parameters
    ----------
    texts : sequence of str
        N of them, the padding's first.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._words = TfidfVectorizer(
            strip_accents="unicode", token_pattern=r"(?u)\b\w+\b", sublinear_tf=True
        )
        # Asked again for each item of an answer.
        self._asked = lru_cache(maxsize=64)(self._weights)
        self._names: Sequence[str] = ()
        self._texts_NF = None
        if any(text.strip() for text in texts):
            self._texts_NF = self._words.fit_transform(texts)
            self._names = self._words.get_feature_names_out()

    @classmethod
    def of(cls, data: Prepared) -> "WordIndex":
        """The index of a prepared data set, of titles where an item has no text."""
        pairs = zip(data.item_texts, data.item_titles, strict=True)
        return cls(["", *[text or title for text, title in list(pairs)[1:]]])

    @property
    def empty(self) -> bool:
        """Whether no item has a text."""
        return self._texts_NF is None

    def scores(self, query: str) -> NDArray[np.float32]:
        """The cosine of a query with every text, float32, shape (N,); 0 without a common word.

        Parameters
        ----------
        query : str
        """
        assert self._texts_NF is not None
        found = self._texts_NF @ self._asked(query).T
        return found.toarray().ravel().astype(np.float32)

    def matching(self, query: str, item: int) -> tuple[str, ...]:
        """The words that a query and an item's text share, the weightiest first.

        Parameters
        ----------
        query : str
        item : int
            Its id.
        """
        assert self._texts_NF is not None
        asked = set(self._asked(query).indices)
        row = self._texts_NF[item]
        weights = dict(zip(row.indices, row.data, strict=True))
        shared = sorted(asked & set(weights), key=lambda word: (-weights[word], word))
        return tuple(str(self._names[word]) for word in shared)

    def _weights(self, query: str) -> Any:
        """The weights of a query's words, (1, F)."""
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        words = self._words.build_analyzer()(query)
        kept = [word for word in words if word not in ENGLISH_STOP_WORDS] or words
        return self._words.transform([" ".join(kept)])


class Found(NamedTuple):
    """What a query found.

    Attributes
    ----------
    query : str
    scores_N : ndarray
        0 where an item does not fit.
    cosines_N : ndarray or None
        With the query, of the nearest items by their embeddings, 0 elsewhere; None where words alone were compared.
    """

    query: str
    scores_N: NDArray[np.float32]
    cosines_N: NDArray[np.float32] | None


class TextSearch:
    """Items by words and by meaning, joined by their ranks.

    Parameters
    ----------
    words : WordIndex
    meaning : Meaning or None
        Where there is a sentence encoder.
    why : str
        Why there is none.
    """

    def __init__(self, words: WordIndex, meaning: Meaning | None, *, why: str = "") -> None:
        self.words = words
        self.meaning = meaning
        self._why = why

    @property
    def way(self) -> str:
        """How texts are searched, as a sentence."""
        if self.meaning is None:
            return f"the query was compared with the texts by words alone: {self._why}"
        return f"the query was compared with the texts by words and by the embeddings of {self.meaning.name}"

    def find(self, query: str) -> Found:
        """How well the items' texts fit a query.

        With an encoder the score of an item is the sum of 1 / (60 + rank) over the two orders that it stands in: all
        texts that share a word, and the 50 nearest by embeddings. Without one it is the cosine of the words.

        Parameters
        ----------
        query : str
        """
        words_N = self.words.scores(query)
        if self.meaning is None or not query.strip():
            return Found(query, words_N, None)
        cosines_N = self.meaning.cosines(query)
        cosines_N[0] = -np.inf
        near_N = np.zeros(len(cosines_N), dtype=bool)
        near_N[np.argsort(-cosines_N, kind="stable")[:NEAREST]] = True
        near_N &= cosines_N > 0
        cosines_N = np.where(near_N, cosines_N, 0.0).astype(np.float32)
        fused_N = _reciprocal_ranks(words_N) + _reciprocal_ranks(cosines_N)
        return Found(query, fused_N, cosines_N)


def _reciprocal_ranks(scores_N: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (60 + rank) of the items that score above 0, the best's rank being 1; 0 of the others."""
    ranks_N = np.empty(len(scores_N), dtype=np.float32)
    ranks_N[np.argsort(-scores_N, kind="stable")] = np.arange(1, len(scores_N) + 1)
    made: NDArray[np.float32] = np.where(scores_N > 0, 1 / (DAMPING + ranks_N), 0.0)
    return made.astype(np.float32)
