"""Counting, for every target, the items scored above it and those tied with it.

B users of a block, N items and the padding (column 0), T targets of a block, C candidates of a
target, S most targets of a user.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from experiments.evaluation.metrics import groups_of, per_row
from experiments.evaluation.scores import Ints, check_scores, comparable, on_device
from experiments.protocol.candidates import Candidates
from experiments.protocol.split import Phase, Split
from experiments.training import ranks

_Compare = Callable[..., torch.Tensor]

_COMPARED_AT_ONCE = 1 << 19
"""Values compared at a time: two megabytes."""


class Counter:
    """Counts, for every target in the order of the blocks, the items above it and tied with it."""

    def __init__(self) -> None:
        self._n_above: list[Ints] = []
        self._n_tied: list[Ints] = []

    def count(self, scorer: Any, users_B: Ints, scores_BN: torch.Tensor | None) -> None:
        """Count a block of users, which follows the block before.

        Parameters
        ----------
        scorer : Scorer
            Asked for the scores of candidates where `scores_BN` is None.
        users_B : int64, (B,)
            Ascending. Of several processes each counts some of the users.
        scores_BN : (B, n_items + 1) or None
            Comparable scores, without NaN or plus infinity outside of the users' histories.

        Raises
        ------
        PaddockError
            For scores of candidates that are NaN or plus infinity.
        """
        raise NotImplementedError

    def values(
        self,
        users: Ints,
        metrics: Sequence[str],
        cutoffs: Sequence[int],
        *,
        among: NDArray[np.bool_] | None = None,
    ) -> dict[str, NDArray[np.float64]]:
        """Every metric of every user, once all blocks are counted.

        Parameters
        ----------
        users : int64, (U,)
            Of all blocks.
        metrics : names of metrics
        cutoffs : ranks down to which a list counts
        among : bool, one entry per target of the phase, user by user
            Measures these targets alone, as if the phase had no others: a user's other targets are
            out of competition, and users without one of these have no value.

        Returns
        -------
        dict
            "ndcg_at_10" -> float64, one value per user.
        """
        raise NotImplementedError

    def collected(self) -> tuple[Ints, Ints]:
        """Items above each target of the blocks so far, and items tied with it, itself included."""
        none: Ints = np.empty(0, dtype=np.int64)
        return np.concatenate([none, *self._n_above]), np.concatenate([none, *self._n_tied])

    def put(self, parts: Sequence[tuple[Ints, Ints]], order: Ints) -> None:
        """Replace what was counted by what several counters did.

        Parameters
        ----------
        parts : sequence of (n_above, n_tied)
            What each of them collected.
        order : int64
            Places of all their targets in the order of the phase.
        """
        self._n_above = [np.concatenate([n_above for n_above, _ in parts])[order]]
        self._n_tied = [np.concatenate([n_tied for _, n_tied in parts])[order]]

    def _collect(self, n_above_T: torch.Tensor, n_tied_T: torch.Tensor) -> None:
        self._n_above.append(n_above_T.cpu().numpy().astype(np.int64))
        self._n_tied.append(n_tied_T.cpu().numpy().astype(np.int64))


class FullCounter(Counter):
    """Targets among all items but the user's history."""

    def __init__(self, split: Split, phase: Phase) -> None:
        super().__init__()
        self._targets = split.targets(phase)
        self._masked = split.masked(phase)

    def count(self, scorer: Any, users_B: Ints, scores_BN: torch.Tensor | None) -> None:
        assert scores_BN is not None
        targets, masked = self._targets.take(users_B), self._masked.take(users_B)
        device = scores_BN.device
        rows_T, items_T = on_device(device, targets.row_of_item(), targets.items)
        masked_rows, masked_items = on_device(device, masked.row_of_item(), masked.items)
        if len(items_T) == len(users_B):
            counts = _count_by_comparing(scores_BN, items_T, masked_rows, masked_items)
        else:
            counts = _count_by_sorting(scores_BN, rows_T, items_T, masked_rows, masked_items)
        self._collect(*counts)

    def values(
        self,
        users: Ints,
        metrics: Sequence[str],
        cutoffs: Sequence[int],
        *,
        among: NDArray[np.bool_] | None = None,
    ) -> dict[str, NDArray[np.float64]]:
        row = self._targets.take(users).row_of_item()
        n_above, n_tied = self.collected()
        n_rows = len(users)
        if among is not None:
            row, n_above, n_tied = _without_others(row, n_above, n_tied, among)
            n_rows = int(row[-1]) + 1 if len(row) else 0
        groups = groups_of(row, n_above, n_tied, n_rows=n_rows)
        return per_row(groups, metrics=metrics, cutoffs=cutoffs)


class CandidateCounter(Counter):
    """Targets among their candidates; every target is a ranking of its own."""

    def __init__(self, candidates: Candidates) -> None:
        super().__init__()
        self._candidates = candidates

    def count(self, scorer: Any, users_B: Ints, scores_BN: torch.Tensor | None) -> None:
        given = self._candidates
        # Users ascend, in the blocks as in the file.
        start = np.searchsorted(given.users, users_B[0], side="left")
        stop = np.searchsorted(given.users, users_B[-1], side="right")
        rows: Ints | slice = slice(start, stop)
        if ranks.size() > 1:  # others count some of the users between
            rows = start + np.flatnonzero(np.isin(given.users[start:stop], users_B))
        users_T = given.users[rows].astype(np.int64)
        items_TC = given.items_TC[rows].astype(np.int64)
        place_T = np.argmax(items_TC == given.targets[rows][:, None], axis=1)
        if scores_BN is None:
            scores_TC = comparable(scorer.score_candidates(users_T, items_TC))
            assert scores_TC.shape == items_TC.shape, f"scores are {tuple(scores_TC.shape)}"
            check_scores(scores_TC, users_T, what="user")
        else:
            rows_T = np.searchsorted(users_B, users_T)
            of_T1, items = on_device(scores_BN.device, rows_T[:, None], items_TC)
            scores_TC = scores_BN[of_T1, items]
        (place,) = on_device(scores_TC.device, place_T[:, None])
        scores_T1 = scores_TC.gather(1, place)
        n_above_T = _count_passed(torch.gt, scores_TC, scores_T1)
        self._collect(n_above_T, _count_passed(torch.ge, scores_TC, scores_T1) - n_above_T)

    def values(
        self,
        users: Ints,
        metrics: Sequence[str],
        cutoffs: Sequence[int],
        *,
        among: NDArray[np.bool_] | None = None,
    ) -> dict[str, NDArray[np.float64]]:
        row_user = np.searchsorted(users, self._candidates.users)
        n_above, n_tied = self.collected()
        if among is not None:
            row_user = _numbered(row_user[among])
            n_above, n_tied = n_above[among], n_tied[among]
        n_rows = len(row_user)
        groups = groups_of(np.arange(n_rows), n_above, n_tied, n_rows=n_rows)
        by_target = per_row(groups, metrics=metrics, cutoffs=cutoffs)
        n_targets = np.bincount(row_user)
        return {
            name: np.bincount(row_user, column) / n_targets for name, column in by_target.items()
        }


def _numbered(ascending: Ints) -> Ints:
    """Ascending numbers as 0, 1, ..., equal ones alike."""
    return np.cumsum(np.diff(ascending, prepend=ascending[:1]) > 0)


def _without_others(
    row: Ints, n_above: Ints, n_tied: Ints, among: NDArray[np.bool_]
) -> tuple[Ints, Ints, Ints]:
    """Row, items above and items tied of the chosen targets, all other targets taken away.

    Targets of one row that tie have equally many items above, and others have not.
    """
    order = np.lexsort((n_above, row))
    sorted_row, sorted_above = row[order], n_above[order]
    starts_row = np.diff(sorted_row, prepend=-1) > 0
    group = np.cumsum(starts_row | (np.diff(sorted_above, prepend=-1) != 0)) - 1
    others: Ints = (~among[order]).astype(np.int64)
    others_tied = np.bincount(group, others).astype(np.int64)
    others_before: Ints = np.cumsum(others) - others
    # Counted from the row's start to the start of the target's group.
    group_starts = np.searchsorted(group, group)
    row_starts = np.flatnonzero(starts_row)[np.cumsum(starts_row) - 1]
    others_above: Ints = others_before[group_starts] - others_before[row_starts]
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return (
        _numbered(row[among]),
        (n_above - others_above[back])[among],
        (n_tied - others_tied[group[back]])[among],
    )


def _count_by_comparing(
    scores_BN: torch.Tensor,
    items_B: torch.Tensor,
    masked_rows: torch.Tensor,
    masked_items: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Items above and tied with the one target of each row.

    Masked items are counted and taken off again: that needs no copy of the scores, and keeps them
    apart from items whose score is minus infinity.
    """
    targets_B1 = scores_BN.gather(1, items_B[:, None])
    # index_select takes a third of the time of indexing.
    places_M = masked_rows * scores_BN.shape[1] + masked_items
    masked_M = scores_BN.reshape(-1).index_select(0, places_M)
    against_M = targets_B1[:, 0].index_select(0, masked_rows)
    ends_B = torch.bincount(masked_rows, minlength=len(scores_BN)).cumsum(0)
    counts = []
    for compare in (torch.gt, torch.ge):
        count_B = _count_passed(compare, scores_BN[:, 1:], targets_B1)
        passed_M = F.pad(compare(masked_M, against_M).cumsum(0), (1, 0))
        counts.append(count_B - passed_M[ends_B].diff(prepend=passed_M.new_zeros(1)))
    return counts[0], counts[1] - counts[0]


def _count_by_sorting(
    scores_BN: torch.Tensor,
    rows_T: torch.Tensor,
    items_T: torch.Tensor,
    masked_rows: torch.Tensor,
    masked_items: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Items above and tied with each of the targets, however many a row has."""
    ranked_BN = scores_BN.clone()
    ranked_BN[masked_rows, masked_items] = -torch.inf
    ranked_BN = ranked_BN[:, 1:].sort(dim=1).values
    # One row of targets per user, as searchsorted wants it; the rest is filled up and not read.
    per_row_B = torch.bincount(rows_T, minlength=len(scores_BN))
    starts_B = per_row_B.cumsum(0) - per_row_B
    slot_T = torch.arange(len(rows_T), device=rows_T.device) - starts_B[rows_T]
    targets_BS = scores_BN.new_zeros((len(scores_BN), int(per_row_B.max())))
    scores_T = scores_BN[rows_T, items_T]
    targets_BS[rows_T, slot_T] = scores_T
    below_T = torch.searchsorted(ranked_BN, targets_BS)[rows_T, slot_T]
    up_to_T = torch.searchsorted(ranked_BN, targets_BS, right=True)[rows_T, slot_T]
    # Masked items sit at minus infinity and compete there with nobody.
    masked_B = torch.bincount(masked_rows, minlength=len(scores_BN))
    n_tied_T = up_to_T - below_T - masked_B[rows_T] * (scores_T == -torch.inf)
    return ranked_BN.shape[1] - up_to_T, n_tied_T


def _count_passed(compare: _Compare, values_BC: torch.Tensor, against_B1: torch.Tensor) -> Any:
    """How many values of each row compare, int64, (B,).

    Written as floats, which are whole numbers up to 2^24, comparisons and their sum take a quarter
    of the time that booleans take; for some rows at a time, so that they stay in the cache.
    """
    n_rows, width = values_BC.shape
    assert width < 1 << 24
    step = max(1, _COMPARED_AT_ONCE // max(1, width))
    buffer = values_BC.new_empty((min(step, n_rows), width))
    counts_B = values_BC.new_empty(n_rows)
    for start in range(0, n_rows, step):
        some = values_BC[start : start + step]
        passed = compare(some, against_B1[start : start + step], out=buffer[: len(some)])
        torch.sum(passed, dim=1, out=counts_B[start : start + step])
    return counts_B.long()
