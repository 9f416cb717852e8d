"""Ranking metrics per row, in expectation over the random order of tied scores.

A scorer that gives every item the same score knows nothing, and a metric that resolves its ties by
item id, or in the target's favour, says otherwise. Here every order of tied items is equally likely
and a metric is its mean over these orders, in closed form. Without ties it is the usual metric.

Dimensions: G tie groups, K positions down to the largest cut-off, J cut-offs.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.errors import PaddockError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Entries of one (groups x positions) matrix: 2 MB, what a core's cache holds.
_ENTRIES_AT_A_TIME = 2**18


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """The groups of tied items that hold at least one target.

    Attributes
    ----------
    row : int64, (G,)
        Whose ranking it is: an index from 0 to rows - 1.
    a : int64, (G,)
        Items with a strictly greater score, which is the 0-based start of the tied range.
    g : int64, (G,)
        Size of the tied range, targets included.
    t : int64, (G,)
        Targets in it, at least 1.
    before : int64, (G,)
        Targets of the same row with a strictly greater score.
    n_targets : int64, (rows,)
        Targets of each row, at least 1.
    """

    row: Ints
    a: Ints
    g: Ints
    t: Ints
    before: Ints
    n_targets: Ints


def groups_of(row: Ints, a: Ints, g: Ints, *, n_rows: int) -> Groups:
    """Collect single targets, given by the tied range that each lies in, into groups.

    Parameters
    ----------
    row, a, g : int64, one entry per target
        As in `Groups`. Every row from 0 to n_rows - 1 has a target.
    """
    order = np.lexsort((a, row))
    row, a, g = row[order], a[order], g[order]
    first = np.ones(len(row), dtype=bool)
    first[1:] = (row[1:] != row[:-1]) | (a[1:] != a[:-1])
    starts = np.flatnonzero(first)
    n_targets = np.bincount(row, minlength=n_rows)
    targets_before_row = np.cumsum(n_targets) - n_targets
    return Groups(
        row=row[starts],
        a=a[starts],
        g=g[starts],
        t=np.diff(starts, append=len(row)),
        before=starts - targets_before_row[row[starts]],
        n_targets=n_targets,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Positions:
    """Groups laid over the ranks 1 to K.

    Attributes
    ----------
    groups : Groups
        The same G groups, for what does not depend on the rank.
    rank_K : (K,)
        1 to K.
    target_GK : (G, K)
        Probability that a target of the group has this rank.
    first_GK : (G, K)
        Probability that the row's first target is of this group and has this rank.
    hit_GK : (G, K)
        Probability that the row's first target is of this group and has this rank or a better one.
    offset_GK : (G, K)
        Rank counted from the group's start, from 0. Negative before the group.
    """

    groups: Groups
    rank_K: Ints
    target_GK: Floats
    first_GK: Floats
    hit_GK: Floats
    offset_GK: Ints


def _positions(groups: Groups, k_max: int) -> Positions:
    g, t = groups.g[:, None], groups.t[:, None]
    offset = np.arange(k_max) - groups.a[:, None]
    inside = (offset >= 0) & (offset < g)
    target = np.where(inside, t / g, 0.0)
    # P(no target among the group's first j items) = C(g-t, j) / C(g, j), as a running product,
    # which stays exact where logarithms of factorials of large groups would cancel.
    left = np.where(inside, g - offset, 1)
    none_up_to = np.cumprod(np.where(inside, np.maximum(left - t, 0) / left, 1.0), axis=1)
    none_before = np.ones_like(none_up_to)
    none_before[:, 1:] = none_up_to[:, :-1]
    leads = inside & (groups.before == 0)[:, None]
    first = np.where(leads, none_before * t / left, 0.0)
    certain = (none_up_to == 0) & (groups.before == 0)[:, None]
    return Positions(
        groups=groups,
        rank_K=np.arange(1, k_max + 1),
        target_GK=target,
        first_GK=first,
        hit_GK=np.where(certain, 1.0, np.cumsum(first, axis=1)),
        offset_GK=offset,
    )


def _hit(at: Positions) -> Floats:
    return at.hit_GK


def _reciprocal_rank(at: Positions) -> Floats:
    return np.cumsum(at.first_GK / at.rank_K, axis=1)


def _found(at: Positions) -> Floats:
    """Expected targets down to each rank: t/g for every place of the tied range."""
    groups = at.groups
    places = np.clip(at.offset_GK + 1, 0, groups.g[:, None])
    return groups.t[:, None] * places / groups.g[:, None]


def _gain(at: Positions) -> Floats:
    return np.cumsum(at.target_GK / np.log2(at.rank_K + 1), axis=1)


def _precision_sum(at: Positions) -> Floats:
    """Sum over ranks of P(target here) x E[targets down to here, given that one is here] / rank."""
    groups = at.groups
    others = (groups.t - 1) / np.maximum(groups.g - 1, 1)
    down_to_here = groups.before[:, None] + 1 + at.offset_GK * others[:, None]
    return np.cumsum(at.target_GK * down_to_here / at.rank_K, axis=1)


def _one(n_targets: Ints, k: int) -> Floats:
    return np.ones(len(n_targets))


def _cutoff(n_targets: Ints, k: int) -> Floats:
    return np.full(len(n_targets), float(k))


def _all_targets(n_targets: Ints, k: int) -> Floats:
    return n_targets.astype(np.float64)


def _findable_targets(n_targets: Ints, k: int) -> Floats:
    return np.minimum(n_targets, k).astype(np.float64)


def _ideal_gain(n_targets: Ints, k: int) -> Floats:
    ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
    return ideal[np.minimum(n_targets, k) - 1]


class Metric(NamedTuple):
    """A metric: what a row's groups add up to down to each rank, over a norm of the row.

    `total` maps Positions to (G, K), the group's part of the row's sum down to every rank; `norm`
    maps n_targets and a cut-off to what that sum is divided by, one value per row.
    """

    total: Callable[[Positions], Floats]
    norm: Callable[[Ints, int], Floats]


METRICS: dict[str, Metric] = {
    "hit": Metric(_hit, _one),
    "ndcg": Metric(_gain, _ideal_gain),
    "recall": Metric(_found, _all_targets),
    "precision": Metric(_found, _cutoff),
    "mrr": Metric(_reciprocal_rank, _one),
    # RecBole's normaliser, min(targets, k): 1.0 is in reach at every cut-off. Others, ranx among
    # them, divide by all targets.
    "map": Metric(_precision_sum, _findable_targets),
}


def per_row(
    groups: Groups, *, metrics: Sequence[str], cutoffs: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Every metric at every cut-off, one value per row.

    Parameters
    ----------
    groups : Groups
    metrics : names of `METRICS`
    cutoffs : ranks down to which a list counts, 1 or more

    Returns
    -------
    dict
        "ndcg_at_10" -> float64, (rows,); ordered by metric, then by cut-off as given.

    Raises
    ------
    PaddockError
        For an unknown metric or a cut-off below 1.
    """
    _check(metrics, cutoffs)
    n_rows = len(groups.n_targets)
    ks = np.asarray(list(cutoffs), dtype=np.int64)
    k_max = int(ks.max())
    sums = {name: np.zeros((n_rows, len(ks))) for name in metrics}
    # A group that starts below the last cut-off adds nothing to any metric.
    near = np.flatnonzero(groups.a < k_max)
    step = max(1, _ENTRIES_AT_A_TIME // k_max)
    for start in range(0, len(near), step):
        chosen = near[start : start + step]
        positions = _positions(_select(groups, chosen), k_max)
        row = groups.row[chosen]
        for name, total in sums.items():
            parts_GJ = METRICS[name].total(positions)[:, ks - 1]
            for column in range(len(ks)):
                total[:, column] += np.bincount(row, parts_GJ[:, column], n_rows)
    return {
        f"{name}_at_{k}": total[:, column] / METRICS[name].norm(groups.n_targets, k)
        for name, total in sums.items()
        for column, k in enumerate(cutoffs)
    }


def _select(groups: Groups, chosen: Ints) -> Groups:
    return Groups(
        row=groups.row[chosen],
        a=groups.a[chosen],
        g=groups.g[chosen],
        t=groups.t[chosen],
        before=groups.before[chosen],
        n_targets=groups.n_targets,
    )


def _check(metrics: Sequence[str], cutoffs: Sequence[int]) -> None:
    for name in metrics:
        if name not in METRICS:
            nearest = difflib.get_close_matches(name, METRICS, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(METRICS)}"
            raise PaddockError(f"protocol.metrics: {name!r} is unknown; {hint}")
    if not len(cutoffs) or min(cutoffs) < 1:
        raise PaddockError(f"cut-offs are ranks from 1 up, not {list(cutoffs)}")
