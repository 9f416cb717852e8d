"""Leave-one-out on items that training never shows.

Dimensions: R interactions (rows), N item ids, U user ids, both with the padding.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.config.schema import ProtocolConfig
from experiments.protocol.random_bits import drawn_share, random_bits
from experiments.protocol.splits.parts import TEST, TRAIN, UNUSED, VALID, Interactions, Parts
from experiments.protocol.splits.random import SEED
from paddock import Key, split

SHARE = Key(
    name="share",
    kind=float,
    required=True,
    above=0,
    below=1,
    doc="Share of the items that are held out of training.",
)


def _check(values: Mapping[str, Any]) -> None:
    share = values["share"]
    if not 0 < share < 1:
        raise ValueError(f"settings.share={share} must be above 0 and below 1")


@split("cold_items", keys=(SHARE, SEED), check=_check)
def leave_cold_items_out(data: Interactions, protocol: ProtocolConfig) -> Parts:
    """A share of the items is drawn, of which training and histories know nothing; each user's last one tests.

    The interaction before it with another item validates, all earlier ones train. What comes after it is in no
    part, as are the other interactions with drawn items. A user without two earlier interactions with other
    items does not test: his last interaction with one validates, the others train, and of fewer than two all
    train. Validation is therefore of items that training may know.

    Parameters
    ----------
    data : Interactions
        Of R interactions.
    protocol : ProtocolConfig
        `seed` and `settings.share` draw the items.

    Returns
    -------
    int8, (R,)
        TRAIN, VALID, TEST or UNUSED of every interaction.
    """
    cold_R = cold_items(data, float(protocol.settings["share"]), int(protocol.seed or 0))[
        data.items
    ]
    starts_R = data.indptr[data.users]
    # How many interactions with other items the user has before each row.
    warm_R: NDArray[np.int64] = np.cumsum(~cold_R) - ~cold_R
    before_R: NDArray[np.int64] = warm_R - warm_R[starts_R]
    part = np.where(cold_R, UNUSED, TRAIN).astype(np.int8)
    able = np.flatnonzero(cold_R & (before_R >= 2))
    last_U = np.full(len(data.indptr) - 1, -1)
    last_U[data.users[able]] = able  # of a user's rows the last one is written last
    tests_R = last_U[data.users]
    later_R = (tests_R >= 0) & (np.arange(len(part)) > tests_R)
    part[later_R] = UNUSED
    part[last_U[last_U >= 0]] = TEST
    warm = np.flatnonzero(part == TRAIN)
    ends = warm[np.append(np.diff(data.users[warm]) != 0, True)[: len(warm)]]
    counts_U = np.bincount(data.users[warm], minlength=len(last_U))
    part[ends[counts_U[data.users[ends]] >= 2]] = VALID
    return part


def cold_items(data: Interactions, share: float, seed: int) -> NDArray[np.bool_]:
    """Which items are held out.

    Parameters
    ----------
    data : Interactions
    share : float
        Of the items, rounded down; one item at least.
    seed : int

    Returns
    -------
    ndarray of bool
        Shape (N,).
    """
    return drawn_share(random_bits(seed, "cold items", data.hash), data.n_items, share)
