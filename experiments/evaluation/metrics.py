"""Ranking metrics per row, in expectation over the random order of tied scores.

A scorer that gives every item the same score knows nothing, and a metric that resolves its ties by
item id, or in the target's favour, says otherwise. Here every order of tied items is equally likely
and a metric is its mean over these orders, in closed form (McSherry & Najork, "Computing information
retrieval performance measures efficiently in the presence of tied scores", ECIR 2008). Without ties it
is the usual metric.

A metric is a function of `Positions` that gives, for every group and rank, the group's part of the
row's sum down to this rank, (G, K); its `norm` gives what the sum of a row is divided by, (rows,).

Dimensions: G tie groups, K positions down to the largest cut-off, J cut-offs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.components.registry import Component, functions
from experiments.config.metric_names import at
from experiments.config.values import nearest
from experiments.errors import PaddockError
from paddock import Metric, metric

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
    n_above : int64, (G,)
        Items with a strictly greater score, which is the 0-based start of the tied range.
    n_tied : int64, (G,)
        Size of the tied range, targets included.
    n_tied_targets : int64, (G,)
        Targets in it, at least 1.
    n_targets_above : int64, (G,)
        Targets of the same row with a strictly greater score.
    n_targets : int64, (rows,)
        Targets of each row, at least 1.
    """

    row: Ints
    n_above: Ints
    n_tied: Ints
    n_tied_targets: Ints
    n_targets_above: Ints
    n_targets: Ints


def groups_of(row: Ints, n_above: Ints, n_tied: Ints, *, n_rows: int) -> Groups:
    """Collect single targets, given by the tied range that each lies in, into groups.

    Parameters
    ----------
    row, n_above, n_tied : int64, one entry per target
        As in `Groups`. Every row from 0 to n_rows - 1 has a target.
    n_rows : int
    """
    order = np.lexsort((n_above, row))
    row, n_above, n_tied = row[order], n_above[order], n_tied[order]
    first = np.ones(len(row), dtype=bool)
    first[1:] = (row[1:] != row[:-1]) | (n_above[1:] != n_above[:-1])
    starts = np.flatnonzero(first)
    n_targets = np.bincount(row, minlength=n_rows)
    targets_before_row = np.cumsum(n_targets) - n_targets
    return Groups(
        row=row[starts],
        n_above=n_above[starts],
        n_tied=n_tied[starts],
        n_tied_targets=np.diff(starts, append=len(row)),
        n_targets_above=starts - targets_before_row[row[starts]],
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
    n_tied, n_targets = groups.n_tied[:, None], groups.n_tied_targets[:, None]
    offset = np.arange(k_max) - groups.n_above[:, None]
    inside = (offset >= 0) & (offset < n_tied)
    target = np.where(inside, n_targets / n_tied, 0.0)
    # P(no target among the group's first j items) = C(n_tied - n_targets, j) / C(n_tied, j), as a
    # running product, which stays exact where logarithms of factorials of large groups would cancel.
    left = np.where(inside, n_tied - offset, 1)
    none_up_to = np.cumprod(np.where(inside, np.maximum(left - n_targets, 0) / left, 1.0), axis=1)
    none_before = np.ones_like(none_up_to)
    none_before[:, 1:] = none_up_to[:, :-1]
    leads = inside & (groups.n_targets_above == 0)[:, None]
    first = np.where(leads, none_before * n_targets / left, 0.0)
    certain = (none_up_to == 0) & (groups.n_targets_above == 0)[:, None]
    return Positions(
        groups=groups,
        rank_K=np.arange(1, k_max + 1),
        target_GK=target,
        first_GK=first,
        hit_GK=np.where(certain, 1.0, np.cumsum(first, axis=1)),
        offset_GK=offset,
    )


def _cutoff(n_targets: Ints, k: int) -> Floats:
    return np.full(len(n_targets), float(k))


def _all_targets(n_targets: Ints, k: int) -> Floats:
    return n_targets.astype(np.float64)


def _findable_targets(n_targets: Ints, k: int) -> Floats:
    return np.minimum(n_targets, k).astype(np.float64)


def _ideal_gain(n_targets: Ints, k: int) -> Floats:
    ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
    return ideal[np.minimum(n_targets, k) - 1]


@metric("hit")
def hit(at: Positions) -> Floats:
    """Probability that a target is among the first k.

    Parameters
    ----------
    at : Positions

    Returns
    -------
    float64, (G, K)
    """
    return at.hit_GK


@metric("ndcg", norm=_ideal_gain)
def gain(at: Positions) -> Floats:
    """Discounted gain of the targets, 1 / log2(rank + 1) each, over the ideal one (binary relevance).

    Jarvelin & Kekalainen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002.

    Parameters
    ----------
    at : Positions

    Returns
    -------
    float64, (G, K)
    """
    return np.cumsum(at.target_GK / np.log2(at.rank_K + 1), axis=1)


def _found(at: Positions) -> Floats:
    """Expected targets down to each rank: the tied targets' share for every place of their range."""
    groups = at.groups
    places = np.clip(at.offset_GK + 1, 0, groups.n_tied[:, None])
    return groups.n_tied_targets[:, None] * places / groups.n_tied[:, None]


@metric("recall", norm=_all_targets)
def found_of_targets(at: Positions) -> Floats:
    """Share of the targets that are among the first k.

    Parameters
    ----------
    at : Positions

    Returns
    -------
    float64, (G, K)
    """
    return _found(at)


@metric("precision", norm=_cutoff)
def found_of_places(at: Positions) -> Floats:
    """Share of the first k that are targets.

    Parameters
    ----------
    at : Positions

    Returns
    -------
    float64, (G, K)
    """
    return _found(at)


@metric("mrr")
def reciprocal_rank(at: Positions) -> Floats:
    """1 / rank of the first target, 0 below k.

    Parameters
    ----------
    at : Positions

    Returns
    -------
    float64, (G, K)
    """
    return np.cumsum(at.first_GK / at.rank_K, axis=1)


# RecBole's normaliser, min(targets, k): 1.0 is in reach at every cut-off. Others, ranx among them,
# divide by all targets.
@metric("map", norm=_findable_targets)
def precision_sum(at: Positions) -> Floats:
    """Mean precision at the ranks of the targets.

    The sum over ranks of P(target here) times E[targets down to here, given that one is here] / rank.

    Parameters
    ----------
    at : Positions

    Returns
    -------
    float64, (G, K)
    """
    groups = at.groups
    others = (groups.n_tied_targets - 1) / np.maximum(groups.n_tied - 1, 1)
    down_to_here = groups.n_targets_above[:, None] + 1 + at.offset_GK * others[:, None]
    return np.cumsum(at.target_GK * down_to_here / at.rank_K, axis=1)


def per_row(
    groups: Groups, *, metrics: Sequence[str], cutoffs: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Every metric at every cut-off, one value per row.

    Parameters
    ----------
    groups : Groups
    metrics : names of metrics, of plug-ins too
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
    declared = _declared(metrics)
    if not len(cutoffs) or min(cutoffs) < 1:
        raise PaddockError(f"cut-offs are ranks from 1 up, not {list(cutoffs)}")
    totals = {name: component.load() for name, component in declared.items()}
    n_rows = len(groups.n_targets)
    ks = np.asarray(list(cutoffs), dtype=np.int64)
    k_max = int(ks.max())
    sums = {name: np.zeros((n_rows, len(ks))) for name in metrics}
    # A group that starts below the last cut-off adds nothing to any metric.
    near = np.flatnonzero(groups.n_above < k_max)
    step = max(1, _ENTRIES_AT_A_TIME // k_max)
    for start in range(0, len(near), step):
        chosen = near[start : start + step]
        positions = _positions(_select(groups, chosen), k_max)
        row = groups.row[chosen]
        for name, total in sums.items():
            parts_GJ = totals[name](positions)[:, ks - 1]
            for column in range(len(ks)):
                total[:, column] += np.bincount(row, parts_GJ[:, column], n_rows)
    return {
        at(name, k): total[:, column] / declared[name].declaration.norm(groups.n_targets, k)
        for name, total in sums.items()
        for column, k in enumerate(cutoffs)
    }


def _select(groups: Groups, chosen: Ints) -> Groups:
    return Groups(
        row=groups.row[chosen],
        n_above=groups.n_above[chosen],
        n_tied=groups.n_tied[chosen],
        n_tied_targets=groups.n_tied_targets[chosen],
        n_targets_above=groups.n_targets_above[chosen],
        n_targets=groups.n_targets,
    )


def _declared(metrics: Sequence[str]) -> dict[str, Component]:
    known = functions(Metric)
    for name in metrics:
        if name not in known:
            raise PaddockError(f"protocol.metrics: {name!r} is unknown; {nearest(name, known)}")
    return {name: known[name] for name in metrics}
