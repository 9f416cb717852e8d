"""Parts of the targets that are measured by themselves: cold and warm items, cold and warm users.

Dimensions: T targets of a phase (user by user, as in `Split.targets`), U users of a phase, N items
and the padding.
"""

import numpy as np
from numpy.typing import NDArray

from experiments.config.schema import SlicesConfig
from experiments.files import hash_of
from experiments.protocol.split import Phase, Split

Mask = NDArray[np.bool_]


def slices(split: Split, phase: Phase, config: SlicesConfig) -> dict[str, Mask]:
    """The targets in every slice, (T,) each.

    items_cold, items_warm
        Targets among the share of the trained items with the fewest, and with the most, training
        interactions. A-LLMRec (Kim et al., KDD 2024) takes 35 % of the items, the default here.
    items_unseen
        Targets without a training interaction. They are not in items_cold.
    users_cold, users_warm
        All targets of the share of the phase's users with the shortest, and with the longest,
        history, among the users with a training interaction.
    users_unseen
        All targets of users without a training interaction.

    Equal counts stay together: they are in the share if the middle of their ranks is. A slice may
    hence be smaller or larger than its share, and is empty where nearly all are equal.

    Parameters
    ----------
    split : Split
    phase : "valid" or "test"
    config : SlicesConfig
        The share of the items and of the users, from 0 to 1; None: no such slice.

    Returns
    -------
    dict
        Name of the slice -> bool, (T,).
    """
    targets, users_U = split.targets(phase), split.users(phase)
    interactions_N = np.bincount(split.train_items, minlength=split.n_items + 1)
    trained_N = interactions_N > 0
    masks = {"items_unseen": ~trained_N[targets.items]}
    if config.items is not None:
        cold_N, warm_N = outer_shares(interactions_N, trained_N, config.items)
        masks |= {"items_cold": cold_N[targets.items], "items_warm": warm_N[targets.items]}
    trained_U = np.bincount(split.train_users, minlength=split.n_users + 1)[users_U] > 0
    per_user_U = targets.lengths[users_U]
    masks["users_unseen"] = np.repeat(~trained_U, per_user_U)
    if config.users is not None:
        lengths_U = split.history(phase).lengths[users_U]
        cold_U, warm_U = outer_shares(lengths_U, trained_U, config.users)
        masks["users_cold"] = np.repeat(cold_U, per_user_U)
        masks["users_warm"] = np.repeat(warm_U, per_user_U)
    return dict(sorted(masks.items()))


def definition_hash(config: SlicesConfig) -> str:
    """A hash that two runs share if and only if their slices are of the same shares."""
    return hash_of({"items": config.items, "users": config.users})


def outer_shares(values: NDArray[np.integer], among: Mask, share: float) -> tuple[Mask, Mask]:
    """The lowest and the highest values `among` the chosen ones, equal values together.

    A value belongs to the lowest if its mean rank, from 0 to 1, is below the share, and to the
    highest if it is above 1 - share.

    Parameters
    ----------
    values : int, (n,)
    among : bool, (n,)
    share : float
        From 0 to 1.

    Returns
    -------
    lowest, highest : bool, (n,)
    """
    ordered = np.sort(values[among])
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    rank = (below + up_to) / (2 * max(len(ordered), 1))
    return among & (rank < share), among & (rank > 1 - share)
