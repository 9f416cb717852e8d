"""A split, a ranking metric and a measure of recommended lists."""

import numpy as np

from experiments.config.schema import ProtocolConfig
from experiments.protocol.splits.parts import TEST, TRAIN, VALID, Interactions, Parts
from paddock import Key, list_measure, metric, split

LAST = Key(name="last", kind=int, required=True, least=1, doc="Interactions that test.")


@split("last_n", keys=(LAST,))
def last_n(data: Interactions, protocol: ProtocolConfig) -> Parts:
    """The last N interactions of a user test, the one before validates, all others train."""
    last = protocol.settings["last"]
    after = data.indptr[data.users + 1] - 1 - np.arange(len(data.users))
    part = np.select([after < last, after == last], [TEST, VALID], TRAIN)
    few = np.diff(data.indptr)[data.users] < last + 2
    return np.where(few, TRAIN, part).astype(np.int8)


@metric("dcg")
def dcg(at):  # type: ignore[no-untyped-def]
    """Discounted gain of the targets, not divided by the ideal one."""
    return np.cumsum(at.target_GK / np.log2(at.rank_K + 1), axis=1)


@list_measure("share_of_first", of="ranks", better="neither")
def share_of_first(items_BK, catalogue):  # type: ignore[no-untyped-def]
    """Share of a list's items down to every rank that is the catalogue's first half."""
    first = items_BK <= (len(catalogue.interactions_N) - 1) // 2
    return np.cumsum(first, axis=1) / np.arange(1, items_BK.shape[1] + 1)
