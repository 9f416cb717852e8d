"""Random bits that a name stands for: the same on every machine, in every version of numpy."""

import hashlib
import json

import numpy as np
from numpy.typing import NDArray


def random_bits(*name: int | str) -> np.random.Philox:
    """A stream of random bits, the same wherever the same name is given.

    Read it by `random_raw`, 64 bits a number: numpy keeps these the same in every version, unlike
    what its distribution methods make of them.

    Parameters
    ----------
    *name : int or str
        What the bits are for, in any number of parts.

    Returns
    -------
    numpy.random.Philox
        Keyed by the first 128 bits of the name's SHA-256 (Philox 4x64-10; Salmon et al., "Parallel
        random numbers: as easy as 1, 2, 3", SC 2011).
    """
    digest = hashlib.sha256(json.dumps(list(name)).encode()).digest()
    return np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64))


def drawn_share(bits: np.random.Philox, count: int, share: float) -> NDArray[np.bool_]:
    """Which of the ids 1 to `count` are drawn, bool, shape (count + 1,); the padding is not.

    Parameters
    ----------
    bits : Philox
        As of `random_bits`.
    count : int
    share : float
        Of the ids, rounded down; one at least.
    """
    first = np.argsort(bits.random_raw(count), kind="stable")[: max(1, int(share * count))]
    made = np.zeros(count + 1, dtype=np.bool_)
    made[first + 1] = True
    return made
