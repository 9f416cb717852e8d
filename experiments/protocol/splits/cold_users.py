"""Users that training never shows, scored from what is known of a newcomer.

Dimensions: R interactions (rows), U user ids, the padding included.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.config.schema import ProtocolConfig
from experiments.protocol.random_bits import drawn_share, random_bits
from experiments.protocol.splits.parts import (
    GIVEN,
    TEST,
    TRAIN,
    UNUSED,
    VALID,
    Interactions,
    Parts,
)
from experiments.protocol.splits.random import SEED
from paddock import Key, split

SHARE = Key(
    name="share",
    kind=float,
    required=True,
    above=0,
    below=1,
    doc="Share of the users that are held out of training.",
)
HISTORY = Key(
    name="history",
    kind=int,
    default=0,
    least=0,
    doc="First interactions of a held-out user that a model may read; 0: none, his profile alone.",
)


def _check(values: Mapping[str, Any]) -> None:
    share = values["share"]
    if not 0 < share < 1:
        raise ValueError(f"settings.share={share} must be above 0 and below 1")


@split("cold_users", keys=(SHARE, SEED, HISTORY), check=_check, holds_users_out=True)
def hold_users_out(data: Interactions, protocol: ProtocolConfig) -> Parts:
    """A share of the users is drawn, of whom nothing trains; their last interaction tests, the one before validates.

    All interactions of the others train, and nobody of them is scored. Of a user who is held out the first
    `history` interactions are given, in both phases and nothing else; those after them and before the last two
    are in no part. One with fewer than `history` + 2 interactions is in no part at all. Who is drawn does not
    depend on `history`, nor do the targets.

    Parameters
    ----------
    data : Interactions
        Of R interactions.
    protocol : ProtocolConfig
        `seed` and `settings.share` draw the users, `history` says how much of them is given.

    Returns
    -------
    int8, (R,)
        TRAIN, GIVEN, VALID, TEST or UNUSED of every interaction.
    """
    given = int(protocol.history or 0)
    cold_U = cold_users(data, float(protocol.settings["share"]), int(protocol.seed or 0))
    rows_R = np.arange(len(data.users))
    before_R = rows_R - data.indptr[data.users]
    after_R = data.indptr[data.users + 1] - 1 - rows_R
    scored_R = before_R + after_R + 1 >= given + 2
    part_R = np.select(
        [~cold_U[data.users], ~scored_R, after_R == 0, after_R == 1, before_R < given],
        [TRAIN, UNUSED, TEST, VALID, GIVEN],
        UNUSED,
    )
    return part_R.astype(np.int8)


def cold_users(data: Interactions, share: float, seed: int) -> NDArray[np.bool_]:
    """Which users are held out.

    Parameters
    ----------
    data : Interactions
    share : float
        Of the users, rounded down; one user at least.
    seed : int

    Returns
    -------
    ndarray of bool
        Shape (U,).
    """
    return drawn_share(random_bits(seed, "cold users", data.hash), data.n_users, share)
