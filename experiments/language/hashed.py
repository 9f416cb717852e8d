"""The encoder that runs anywhere: hashed words and letter triples, each with its random direction.

Two texts are near where they share rare words or parts of words. It knows no meaning: "film" and
"movie" are strangers to it.

N texts, F features, W width.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


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
    bags = [Counter(_features(text)) for text in texts]
    in_texts = Counter(feature for bag in bags for feature in bag)
    directions = {feature: _direction(feature, width) for feature in in_texts}
    vectors_NW = np.zeros((len(texts), width))
    for row, bag in enumerate(bags):
        for feature, count in sorted(bag.items()):
            rarity = np.log((1 + len(texts)) / (1 + in_texts[feature])) + 1
            vectors_NW[row] += np.sqrt(count) * rarity * directions[feature]
    norms_N1 = np.linalg.norm(vectors_NW, axis=1, keepdims=True)
    return (vectors_NW / np.maximum(norms_N1, 1e-12)).astype(np.float32)


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
