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
    # What is held beside the parts is one number a user: rows may be more than memory has numbers for.
    ends = data.indptr[1:][np.diff(data.indptr) >= 3]
    part = np.full(len(data.users), TRAIN, dtype=np.int8)
    part[ends - 1] = TEST
    part[ends - 2] = VALID
    return part
