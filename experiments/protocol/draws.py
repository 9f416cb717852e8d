"""Random numbers that a name stands for: the same on every machine, in every version of numpy."""

import hashlib
import json

import numpy as np


def words_of(*name: int | str) -> np.random.Philox:
    """A counter-based generator keyed by the name.

    Read its raw words: numpy keeps them the same in every version, unlike what its distribution
    methods make of them.
    """
    digest = hashlib.sha256(json.dumps(list(name)).encode()).digest()
    return np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64))
