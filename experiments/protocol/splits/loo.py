"""Leave-one-out by time."""

import numpy as np

from experiments.config.schema import ProtocolConfig
from experiments.protocol.splits.parts import TEST, TRAIN, VALID, Interactions, Parts
from paddock import split


@split("loo")
def leave_one_out(data: Interactions, protocol: ProtocolConfig) -> Parts:
    """The last interaction tests, the one before validates, all others train.

    A user with fewer than three interactions only trains: otherwise nothing of his would be left to
    train on.

    Parameters
    ----------
    data : Interactions
        Of R interactions.
    protocol : ProtocolConfig
        Not read.

    Returns
    -------
    int8, (R,)
        TRAIN, VALID or TEST of every interaction.
    """
    after = data.indptr[data.users + 1] - 1 - np.arange(len(data.users))
    part = np.select([after == 0, after == 1], [TEST, VALID], TRAIN)
    part[np.diff(data.indptr)[data.users] < 3] = TRAIN
    return part.astype(np.int8)
