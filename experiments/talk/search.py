"""Items by words: BM25 over their texts, joined by rank with the nearness of embeddings where an encoder is named."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.talk.titles import tokens_of, without_particle
from experiments.talk.words import lexicon

if TYPE_CHECKING:
    from experiments.config.language_keys import TextEncoderConfig
    from experiments.data.prepared import Prepared

DAMPING = 60
"""Of reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009)."""

NEAREST = 50
"""Items that embeddings bring in beside those that share a word."""

Encode = Callable[[str], np.ndarray]


class TextSearch:
    """Finds texts by words.

    Parameters
    ----------
    texts : sequence of str
        One a row.
    embeddings : ndarray, optional
        (rows, W), unit vectors of the texts.
    encode : callable, optional
        Gives the unit vector of a query, (W,).
    """

    def __init__(
        self,
        texts: Sequence[str],
        *,
        embeddings: np.ndarray | None = None,
        encode: Encode | None = None,
    ) -> None:
        self._texts = texts
        self._embeddings = embeddings
        self._encode = encode

    @cached_property
    def _bm25(self) -> Any:
        import bm25s

        made = bm25s.BM25()
        # BM25 needs a word; a row without one is found by none.
        made.index([_words(text) or ["\x00"] for text in self._texts], show_progress=False)
        return made

    def scores(self, query: str) -> np.ndarray:
        """How well each row fits a query: 0 where it does not, 1 for the best.

        Parameters
        ----------
        query : str
        """
        words = [word for word in _words(query) if word in self._bm25.vocab_dict]
        lexical = (
            self._bm25.get_scores(words) if words else np.zeros(len(self._texts), dtype=np.float32)
        )
        if self._embeddings is None or self._encode is None or not query.strip():
            return lexical / max(float(lexical.max(initial=0)), 1e-9)
        near = self._embeddings @ self._encode(query)
        fused = np.zeros(len(self._texts))
        for values, kept in ((lexical, lexical > 0), (near, _best(near, NEAREST))):
            ranks = np.empty(len(values))
            ranks[np.argsort(-values, kind="stable")] = np.arange(len(values))
            fused += np.where(kept, 1.0 / (DAMPING + ranks), 0.0)
        return fused / max(float(fused.max(initial=0)), 1e-9)


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
    from experiments.language.embeddings import item_embeddings, text_embedder

    rows = item_embeddings(encoder, data)[1:].numpy()
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.maximum(lengths, 1e-9)
    return TextSearch(texts, embeddings=unit, encode=text_embedder(encoder))


def _best(values: np.ndarray, count: int) -> np.ndarray:
    kept = np.zeros(len(values), dtype=bool)
    kept[np.argsort(-values, kind="stable")[:count]] = True
    return kept


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
