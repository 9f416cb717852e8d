"""Searching the items' texts by words.

N items (padding included), F words.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.data.prepared import Prepared


class TextIndex:
    """The cosine of a query and the items' texts, words weighed by TF-IDF.

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
        self._texts_NF = None
        if any(text.strip() for text in texts):
            self._texts_NF = self._words.fit_transform(texts)

    @classmethod
    def of(cls, data: Prepared) -> "TextIndex":
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
        found = self._texts_NF @ self._words.transform([query]).T
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
        asked = set(self._words.transform([query]).indices)
        row = self._texts_NF[item]
        weights = dict(zip(row.indices, row.data, strict=True))
        shared = sorted(asked & set(weights), key=lambda word: (-weights[word], word))
        names = self._words.get_feature_names_out()
        return tuple(str(names[word]) for word in shared)
