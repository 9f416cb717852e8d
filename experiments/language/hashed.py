"""The encoder that runs anywhere: hashed words and letter triples, each with its random direction.

Two texts are near where they share rare words or parts of words. It knows no meaning: "film" and
"movie" are strangers to it.

N texts, F features, W width.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1024
"""Texts that are summed at a time."""

_HELD = 1 << 15
"""Directions that are kept at hand."""


def hashed_embeddings(texts: Sequence[str], *, width: int) -> NDArray[np.float32]:
    """Embeddings by the words and letter triples of the texts, the rarer the heavier.

    The random projection of Johnson and Lindenstrauss with signs in place of normal numbers
    (Achlioptas, Database-friendly random projections, 2003), over TF-IDF weights with a square root
    for the term frequency.

    Parameters
    ----------
    texts : sequence of str
        N of them; what is rare is counted among them.
    width : int
        W.

    Returns
    -------
    ndarray
        (N, W), unit vectors, equal on every machine; a text without a word is all zeros.
    """
    in_texts = Counter(feature for text in texts for feature in set(_features(text)))
    made_NW = np.empty((len(texts), width), dtype=np.float32)
    # Of many texts neither all words nor all directions are held at once.
    direction = lru_cache(_HELD)(lambda feature: _direction(feature, width))
    for start in range(0, len(texts), _BLOCK):
        block = texts[start : start + _BLOCK]
        vectors_BW = np.zeros((len(block), width))
        for row, text in enumerate(block):
            for feature, count in sorted(Counter(_features(text)).items()):
                rarity = np.log((1 + len(texts)) / (1 + in_texts[feature])) + 1
                vectors_BW[row] += np.sqrt(count) * rarity * direction(feature)
        norms_B1 = np.linalg.norm(vectors_BW, axis=1, keepdims=True)
        made_NW[start : start + _BLOCK] = vectors_BW / np.maximum(norms_B1, 1e-12)
    return made_NW


def _features(text: str) -> list[str]:
    words = re.findall(r"\w+", text.lower())
    triples = [
        f"#{padded[at : at + 3]}"
        for padded in (f"<{word}>" for word in words)
        for at in range(len(padded) - 2)
    ]
    return words + triples


def _direction(feature: str, width: int) -> NDArray[np.float64]:
    """A unit vector of random signs that the feature's name draws."""
    digest = hashlib.shake_256(feature.encode()).digest(-(-width // 8))
    bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8))[:width]
    return (2.0 * bits - 1.0) / np.sqrt(width)
