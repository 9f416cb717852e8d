"""The parts of a split, and what a split reads of a data set.

Dimensions: R interactions (rows), G groups that are split one by one.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from paddock import Key

TRAIN, VALID, TEST = 0, 1, 2
UNUSED = 3
"""Of an interaction that is in no part: neither training nor a history knows it, and no phase asks for it."""

GIVEN = -1
"""Of an interaction that every history knows and training does not: it is before all parts."""

Phase = Literal["valid", "test"]
Parts = NDArray[np.int8]


class Interactions(Protocol):
    """What the protocol reads of a prepared data set.

    Rows are grouped by user, ascending, and in time order inside a user; ids start at 1, because 0
    is the padding. The rows of user u are indptr[u]:indptr[u + 1].
    """

    @property
    def users(self) -> NDArray[np.int32]:
        """User of each interaction, (R,)."""
        ...

    @property
    def items(self) -> NDArray[np.int32]:
        """Item of each interaction, (R,)."""
        ...

    @property
    def indptr(self) -> NDArray[np.int64]:
        """Where the rows of each user begin, (n_users + 2,)."""
        ...

    @property
    def timestamps(self) -> NDArray[np.int64] | NDArray[np.float64] | None:
        """Time of each interaction, (R,), in any one unit; None where the data has none."""
        ...

    @property
    def n_users(self) -> int:
        """Users, the padding left out."""
        ...

    @property
    def n_items(self) -> int:
        """Items, the padding left out."""
        ...

    @property
    def hash(self) -> str:
        """SHA-256 of the content, equal on every machine."""
        ...


RATIOS = Key(
    name="ratios",
    kind=list,
    items=float,
    doc="Shares of train, valid and test.",
)
"""The key of the splits that split by shares."""

_SUM_TOLERANCE = 1e-6


def check_ratios(ratios: Sequence[float]) -> None:
    """Refuse shares that are not three, or do not sum to 1.

    Parameters
    ----------
    ratios : sequence of float
        Shares of train, valid and test.

    Raises
    ------
    ValueError
        With a message that begins with the key, for the caller to put `protocol.` before.
    """
    shown = f"ratios=[{','.join(map(str, ratios))}]"
    if len(ratios) != 3:
        raise ValueError(f"{shown} must be three shares, of train, valid and test")
    for name, ratio in zip(("train", "valid", "test"), ratios, strict=True):
        if not 0 < ratio < 1:
            raise ValueError(f"{shown}: the share of {name} must be above 0 and below 1")
    if abs(sum(ratios) - 1) > _SUM_TOLERANCE:
        raise ValueError(f"{shown} must sum to 1, not to {sum(ratios):.6g}")


def counts_by_ratio(
    totals_G: NDArray[np.integer], ratios: Sequence[float]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """How many of each group's interactions train, validate and test.

    RecBole's rounding (recbole/data/dataset/dataset.py, _calcu_split_ids): valid and test are
    rounded down and training gets the rest. Where a share comes to less than one interaction it
    gets one nevertheless, test before valid, as long as training keeps one.

    Parameters
    ----------
    totals_G : (G,)
    ratios : of train, valid and test

    Returns
    -------
    train_G, valid_G, test_G : int64, (G,)
    """
    shares = [ratio / sum(ratios) for ratio in ratios]
    exact = [share * totals_G for share in shares]
    valid_G, test_G = (np.floor(exact[part]).astype(np.int64) for part in (VALID, TEST))
    train_G = totals_G.astype(np.int64) - valid_G - test_G
    for part, count_G in ((TEST, test_G), (VALID, valid_G)):
        lifted_G = (train_G > 1) & (exact[part] > 0) & (exact[part] < 1)
        count_G += lifted_G
        train_G -= lifted_G
    return train_G, valid_G, test_G
