"""One cut through the time line of all users.

Dimensions: R interactions (rows).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.config.schema import ProtocolConfig
from experiments.errors import PaddockError
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

CUT_TIMES = Key(
    name="cut_times", kind=list, items=float, doc="The times at which valid and test begin."
)

NO_CLOCK = (
    "protocol.split=temporal needs the time of every interaction, and the data set has none "
    "(dataset.columns.time is null): name its column, or choose protocol=loo or protocol=random"
)


def _check(values: Mapping[str, Any]) -> None:
    if values["ratios"] is not None:
        check_ratios(values["ratios"])
    times = values["cut_times"]
    if times is None:
        return
    shown = f"cut_times=[{','.join(map(str, times))}]"
    if len(times) != 2 or not all(math.isfinite(time) for time in times):
        raise ValueError(f"{shown} must be two times: where validation begins, where test begins")
    if not times[0] < times[1]:
        raise ValueError(f"{shown}: test must begin after validation")


@split(
    "temporal",
    keys=(RATIOS, CUT_TIMES),
    one_of=("ratios", "cut_times"),
    needs_times=True,
    check=_check,
)
def temporal(data: Interactions, protocol: ProtocolConfig) -> Parts:
    """What happened before the first cut time trains, what before the second validates, all else tests.

    An interaction at a cut time belongs to the later part, and so do all that share its time: no
    training interaction is as late as any that validates, and none of these as late as any that
    tests. The cut times are given, or are those where the shares `ratios` of all interactions are
    reached; ties at a cut then make the earlier part smaller than its share.

    Users and items that are not in training stay in evaluation. The history of such a user is
    empty, or what he did between the cuts; `Split.unseen` counts them.

    The times must be one clock for all users. Positions inside each user's history look the same
    and would cut every user at equal lengths: nothing in the data tells them apart.

    Parameters
    ----------
    data : Interactions
        Of R interactions.
    protocol : ProtocolConfig
        `ratios`, or `cut_times` in the unit of the data's times.

    Returns
    -------
    int8, (R,)
        TRAIN, VALID or TEST of every interaction.

    Raises
    ------
    PaddockError
        If there are no times, or a part stays empty.
    """
    if data.timestamps is None:
        raise PaddockError(NO_CLOCK)
    times_R = np.asarray(data.timestamps)
    first, second = _cut_times(times_R, protocol)
    part_R = np.select([times_R < first, times_R < second], [TRAIN, VALID], TEST)
    counts = np.bincount(part_R, minlength=3)
    if not counts.all():
        found = ", ".join(
            f"{count} in {name}"
            for count, name in zip(counts, ("train", "valid", "test"), strict=True)
        )
        raise PaddockError(
            f"protocol.split=temporal cuts at the times {first} and {second}, which leaves of "
            f"{len(times_R)} interactions {found}; the times run from {times_R.min()} to "
            f"{times_R.max()}: choose protocol.cut_times or protocol.ratios that leave some in each"
        )
    return part_R.astype(np.int8)


def _cut_times(times_R: NDArray[np.generic], protocol: ProtocolConfig) -> tuple[float, float]:
    if protocol.cut_times is not None:
        first, second = protocol.cut_times
        return first, second
    if protocol.ratios is None:
        raise PaddockError("protocol.split=temporal needs protocol.ratios or protocol.cut_times")
    train, valid, _ = counts_by_ratio(np.array([len(times_R)]), protocol.ratios)
    ordered_R = np.sort(times_R)
    at = [int(train[0]), int(train[0] + valid[0])]
    first, second = ordered_R[np.minimum(at, len(times_R) - 1)].tolist()
    return first, second
