"""Items by words: BM25 over their texts, joined by rank with the nearness of embeddings where an encoder is named."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from experiments.files import sha256_of_file
from experiments.talk.tokens import tokens_of, without_particle
from experiments.talk.words import FILE as LEXICON
from experiments.talk.words import lexicon

if TYPE_CHECKING:
    from experiments.config.language_keys import TextEncoderConfig
    from experiments.data.prepared import Prepared
    from experiments.serving.index import ApproximateIndex

DAMPING = 60
"""Of reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009)."""

NEAREST = 50
"""Items that embeddings bring in beside those that share a word."""

READING = {"format": 1, "lexicon": sha256_of_file(LEXICON)}
"""What changes the words that are read of a text; raise `format` where `_words` gives others."""

Encode = Callable[[str], np.ndarray]


class TextSearch:
    """Finds texts by words.

    Parameters
    ----------
    texts : sequence of str
        N of them, one a row.
    embeddings : ndarray, optional
        (N, W), unit vectors of the texts.
    encode : callable, optional
        Gives the unit vector of a query, (W,).
    words : BM25, optional
        The index of the words, where it is made already.
    graph : ApproximateIndex, optional
        Of the embeddings, behind a row of padding; without one all embeddings are compared.
    floor : float
        The cosine below which nothing is near.
    """

    def __init__(
        self,
        texts: Sequence[str] | pl.Series,
        *,
        embeddings: np.ndarray | None = None,
        encode: Encode | None = None,
        words: Any = None,
        graph: "ApproximateIndex | None" = None,
        floor: float = -1.0,
    ) -> None:
        self._texts = texts
        self._embeddings = embeddings
        self._encode = encode
        self._words = words
        self._graph = graph
        self._floor = floor

    @cached_property
    def _bm25(self) -> Any:
        return self._words if self._words is not None else _index_words(self._texts)

    def scores(self, query: str) -> np.ndarray:
        """How well each row fits a query: 0 where it does not, 1 for the best.

        Parameters
        ----------
        query : str
        """
        words = [word for word in _words(query) if word in self._bm25.vocab_dict]
        count = len(self._texts)
        lexical = self._bm25.get_scores(words) if words else np.zeros(count, dtype=np.float32)
        if self._embeddings is None or self._encode is None or not query.strip():
            return lexical / max(float(lexical.max(initial=0)), 1e-9)
        matching = np.flatnonzero(lexical > 0)
        fused = np.zeros(count)
        # Rows are never twice in one of the two lists.
        for rows in (_best_first(matching, lexical[matching]), self._nearest(query)):
            fused[rows] += 1.0 / (DAMPING + np.arange(len(rows)))
        return fused / max(float(fused.max(initial=0)), 1e-9)

    def _nearest(self, query: str) -> np.ndarray:
        """The rows nearest to a query, the nearest first."""
        assert self._embeddings is not None
        assert self._encode is not None
        vector = np.asarray(self._encode(query), dtype=np.float32)
        if self._graph is not None:
            rows, cosines = (each[0] for each in self._graph.search(vector[None], NEAREST))
            rows, cosines = rows[rows > 0] - 1, cosines[rows > 0]
        else:
            near = self._embeddings @ vector
            rows = np.arange(len(near))
            if len(near) > NEAREST:
                rows = np.flatnonzero(near >= np.partition(near, -NEAREST)[-NEAREST])
            rows = _best_first(rows, near[rows])[:NEAREST]
            cosines = near[rows]
        return rows[cosines >= self._floor]


def save_words(texts: Sequence[str] | pl.Series, folder: Path) -> None:
    """Index the words of texts, and write the index into a folder."""
    _index_words(texts).save(folder, show_progress=False)


def load_words(folder: Path) -> Any:
    """The index that `save_words` wrote, mapped into memory."""
    import bm25s

    return bm25s.BM25.load(folder, mmap=True, show_progress=False)


def _index_words(texts: Sequence[str] | pl.Series) -> Any:
    import bm25s

    made = bm25s.BM25()
    # BM25 needs a word; a row without one is found by none.
    made.index([_words(text) or ["\x00"] for text in texts], show_progress=False)
    return made


def item_search(data: "Prepared", encoder: "TextEncoderConfig | None" = None) -> TextSearch:
    """The search of a data set's items by their texts or titles.

    Parameters
    ----------
    data : Prepared
    encoder : TextEncoderConfig, optional
        A sentence encoder; None: words alone.

    Raises
    ------
    PaddockError
        The encoder cannot be loaded.
    """
    texts = [
        f"{title} {text}" for title, text in zip(data.item_titles, data.item_texts, strict=True)
    ][1:]
    if encoder is None:
        return TextSearch(texts)
    from experiments.language.embeddings import item_embeddings, query_encoder

    rows = item_embeddings(encoder, data)[1:].numpy()
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.maximum(lengths, 1e-9)
    return TextSearch(texts, embeddings=unit, encode=query_encoder(encoder))


def _best_first(rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return rows[np.argsort(-scores, kind="stable")]


def _words(text: str) -> list[str]:
    """The words of a text that say something, in a crude singular, Korean ones without particles."""
    found = []
    for token in tokens_of(text):
        word = without_particle(token.form)[-1]
        if word in lexicon().stop:
            continue
        plural = len(word) > 3 and word.isascii() and word.endswith("s") and not word.endswith("ss")
        found.append(word[:-1] if plural else word)
    return found
