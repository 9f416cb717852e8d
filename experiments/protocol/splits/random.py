"""Random shares of every user's interactions.

Dimensions: R interactions (rows), U user ids, the padding included.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from experiments.config.schema import ProtocolConfig
from experiments.errors import PaddockError
from experiments.protocol.random_bits import random_bits
from experiments.protocol.splits.parts import (
    RATIOS,
    TEST,
    TRAIN,
    VALID,
    Interactions,
    Parts,
    check_ratios,
    counts_by_ratio,
)
from paddock import Key, split


def _check(values: Mapping[str, Any]) -> None:
    check_ratios(values["ratios"])


SEED = Key(name="seed", kind=int, required=True, least=0, doc="What draws the split.")


@split("random", keys=(replace(RATIOS, required=True), SEED), check=_check)
def random_by_user(data: Interactions, protocol: ProtocolConfig) -> Parts:
    """The shares `ratios` of every user's interactions, drawn by `seed`, rounded as RecBole does.

    Time plays no part: a training interaction may be later than a test one, and the history of a
    user may hold what came after his target. Numbers of this split say how well held-out tastes are
    filled in, not how well the future is predicted.

    Parameters
    ----------
    data : Interactions
        Of R interactions.
    protocol : ProtocolConfig
        `ratios` of train, valid and test, and `seed`.

    Returns
    -------
    int8, (R,)
        TRAIN, VALID or TEST of every interaction.

    Raises
    ------
    PaddockError
        If one of the two keys is missing.
    """
    if protocol.ratios is None or protocol.seed is None:
        raise PaddockError("protocol.split=random needs protocol.ratios and protocol.seed")
    bits_R = random_bits(int(protocol.seed), "random", data.hash).random_raw(len(data.users))
    # The users stay in place, and each one's rows come in the order of their random numbers.
    order_R = np.lexsort((bits_R, data.users))
    place_R = np.empty(len(order_R), dtype=np.int64)
    place_R[order_R] = np.arange(len(order_R)) - data.indptr[data.users]
    train_U, valid_U, _ = counts_by_ratio(np.diff(data.indptr), protocol.ratios)
    train_R, known_R = train_U[data.users], (train_U + valid_U)[data.users]
    part_R = np.select([place_R < train_R, place_R < known_R], [TRAIN, VALID], TEST)
    return part_R.astype(np.int8)
