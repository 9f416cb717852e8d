"""The one evaluator: scores in, one value per user and metric out.

Every model is scored on the same users, targets, masked history and candidates. The evaluator only
counts, for every target, the competitors above it and level with it; `experiments.metrics` makes
numbers of these counts.

Dimensions: B users of a block, N items and the padding (column 0), T targets of a block, C
candidates of a target, K length of a list.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from experiments.candidates import Candidates
from experiments.config import RankingConfig
from experiments.errors import PaddockError
from experiments.metrics import groups_of, per_row
from experiments.split import Phase, Sequences, Split

Ints = NDArray[np.int64]

_BLOCK_BYTES = 64 * 2**20
_MOST_USERS = 4096
# A scorer of candidates alone is slow per user (an LLM), so it reports more often.
_MOST_USERS_OF_CANDIDATES = 64
_NAMED_USERS = 5


class Scorer(Protocol):
    """A trained model, ready to score the phase that it was made for.

    Two more attributes are optional. `full = False` says that the model cannot score all items;
    then it has ``score_candidates(users_B, items_BC) -> scores_BC``, a tensor with one row for
    every user and his candidates, and only rankings with candidates can be computed.
    """

    def score(self, users_B: Ints) -> torch.Tensor:
        """Scores of all items, (B, n_items + 1); column 0 is the padding and is never read."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What a scorer achieved.

    Attributes
    ----------
    per_user : polars.DataFrame
        `user` (Int32, ascending) and a Float64 column "<ranking>/<metric>_at_<cutoff>" for each.
    means : dict
        The mean over users of every such column.
    seconds : float
        Wall time, scoring included.
    n_users : int
    """

    per_user: pl.DataFrame
    means: dict[str, float]
    seconds: float
    n_users: int


def evaluate(
    scorer: Scorer,
    *,
    split: Split,
    phase: Phase,
    rankings: Mapping[str, RankingConfig],
    candidates: Mapping[str, Candidates],
    metrics: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
    block: int | None = None,
) -> Evaluation:
    """Rank every target of the phase and measure where it lands.

    Parameters
    ----------
    scorer : Scorer
    rankings : name -> RankingConfig
        ``candidates: null`` ranks a target among all items but the user's history; a number, among
        the candidates of its row in the candidate file.
    candidates : ranking name -> Candidates
        For every ranking with candidates.
    metrics : names of `experiments.metrics.METRICS`
    progress : called after every block with the users done and all users
    block : users scored at a time, by default as many as 64 MB of scores hold

    Raises
    ------
    PaddockError
        For a NaN or a score of plus infinity, for a candidate file that is missing or of other
        targets, and for a ranking of all items by a scorer of candidates.
    """
    begin = time.perf_counter()
    users = split.users(phase)
    _check_rankings(scorer, split, phase, rankings, candidates)
    counters: dict[str, _Counter] = {
        name: _FullCounter(split, phase)
        if ranking.candidates is None
        else _CandidateCounter(candidates[name])
        for name, ranking in rankings.items()
    }
    step = block or _users_at_a_time(scorer, split)
    with torch.no_grad():
        for start in range(0, len(users), step):
            users_B = users[start : start + step]
            scores_BN = _scores(scorer, users_B, split, phase) if _is_full(scorer) else None
            for counter in counters.values():
                counter.count(scorer, users_B, scores_BN)
            if progress is not None:
                progress(start + len(users_B), len(users))
    columns: dict[str, NDArray[Any]] = {"user": users.astype(np.int32)}
    for name, ranking in rankings.items():
        values = counters[name].values(users, metrics, ranking.cutoffs)
        columns |= {f"{name}/{metric}": column for metric, column in values.items()}
    per_user = pl.DataFrame(columns)
    return Evaluation(
        per_user=per_user,
        means=mean_over_users(per_user),
        seconds=time.perf_counter() - begin,
        n_users=len(users),
    )


def mean_over_users(per_user: pl.DataFrame) -> dict[str, float]:
    """The mean of every column but `user`: the one place where users become one number."""
    return {
        name: float(per_user[name].to_numpy().mean()) for name in per_user.columns if name != "user"
    }


def topk(
    scores_BN: torch.Tensor, history: Sequences, k: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The k best items of every row, the row's history left out, equal scores by ascending id.

    Parameters
    ----------
    scores_BN : (B, n_items + 1)
        Column 0 is the padding.
    history : Sequences
        Row b is the history of row b of the scores: ``split.history(phase).take(users_B)``.
    k : int

    Returns
    -------
    items_BK : int32
        Where fewer than k items are left the list ends in 0.
    scores_BK : float64
        Minus infinity beside an item 0.
    """
    scores = _comparable(scores_BN)
    rows, items = _on_device(scores.device, history.row_of_item(), history.items)
    out = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    out[:, 0] = True
    out[rows, items] = True
    scores = scores.masked_fill(out, -torch.inf)
    _check_scores(scores, np.arange(len(scores)), what="row")
    order = torch.sort(scores, dim=1, descending=True, stable=True).indices
    # An item left in the list may score minus infinity too, and goes before all that are out.
    order = order.gather(1, torch.sort(out.gather(1, order).byte(), dim=1, stable=True).indices)
    order = order[:, :k]
    items_BK = order.masked_fill(out.gather(1, order), 0)
    scores_BK = scores.gather(1, order)
    return items_BK.cpu().numpy().astype(np.int32), scores_BK.double().cpu().numpy()


def _is_full(scorer: Scorer) -> bool:
    return bool(getattr(scorer, "full", True))


def _users_at_a_time(scorer: Scorer, split: Split) -> int:
    if not _is_full(scorer):
        return _MOST_USERS_OF_CANDIDATES
    return min(max(1, _BLOCK_BYTES // (4 * (split.n_items + 1))), _MOST_USERS)


def _check_rankings(
    scorer: Scorer,
    split: Split,
    phase: Phase,
    rankings: Mapping[str, RankingConfig],
    candidates: Mapping[str, Candidates],
) -> None:
    targets = split.targets(phase)
    for name, ranking in rankings.items():
        if ranking.candidates is None:
            if not _is_full(scorer):
                raise PaddockError(
                    f"ranking {name!r} ranks all items, but the model only scores candidates; "
                    f"drop protocol.rankings.{name} or choose rankings with candidates"
                )
            continue
        if name not in candidates:
            raise PaddockError(f"ranking {name!r} needs a candidate file and has none")
        given = candidates[name]
        same = np.array_equal(given.users, targets.row_of_item())
        if not (same and np.array_equal(given.targets, targets.items)):
            raise PaddockError(
                f"ranking {name!r}: the candidate file holds {len(given.users)} targets that are "
                f"not the {len(targets.items)} {phase} targets of this split"
            )
        if given.items_TC.shape[1] != ranking.candidates:
            raise PaddockError(
                f"ranking {name!r} is of {ranking.candidates} candidates, but its candidate file "
                f"has rows of {given.items_TC.shape[1]}"
            )


def _scores(scorer: Scorer, users_B: Ints, split: Split, phase: Phase) -> torch.Tensor:
    scores_BN = _comparable(scorer.score(users_B))
    expected = (len(users_B), split.n_items + 1)
    assert scores_BN.shape == expected, f"scores are {tuple(scores_BN.shape)}, not {expected}"
    if _any_bad(scores_BN[:, 1:]):
        masked = split.masked(phase).take(users_B)
        rows, items = _on_device(scores_BN.device, masked.row_of_item(), masked.items)
        counted = scores_BN.clone()
        counted[rows, items] = 0
        _check_scores(counted[:, 1:], users_B, what="user")
    return scores_BN


def _comparable(scores: torch.Tensor) -> torch.Tensor:
    """The scores in a type that every operation knows and that keeps their order and their ties."""
    if scores.dtype in (torch.float32, torch.float64):
        return scores
    narrow = scores.dtype in (torch.float16, torch.bfloat16)
    return scores.to(torch.float32 if narrow else torch.float64)


def _any_bad(scores: torch.Tensor) -> bool:
    """True if there is a NaN or a plus infinity, and seldom if there is none.

    One sum costs far less than two comparisons. It is NaN or plus infinity wherever an addend is,
    and else only by overflow.
    """
    sums = scores.sum(dim=1)
    return bool((torch.isnan(sums) | (sums == torch.inf)).any())


def _check_scores(scores: torch.Tensor, ids: Ints, *, what: str) -> None:
    """Refuse NaN and plus infinity, naming the rows by their ids."""
    if not _any_bad(scores):
        return
    for name, found in (("NaN", torch.isnan(scores)), ("plus infinity", scores == torch.inf)):
        bad = np.unique(ids[found.any(dim=1).cpu().numpy()])
        if len(bad):
            named = ", ".join(str(i) for i in bad[:_NAMED_USERS])
            more = ", ..." if len(bad) > _NAMED_USERS else ""
            raise PaddockError(
                f"the model's scores hold {name} for {len(bad)} of {len(np.unique(ids))} {what}s "
                f"scored together ({what} {named}{more}); training has probably diverged"
            )


class _Counter:
    """Collects, for every target in the order of the blocks, its tied range in one ranking."""

    def __init__(self) -> None:
        self._above: list[Ints] = []
        self._level: list[Ints] = []

    def count(self, scorer: Scorer, users_B: Ints, scores_BN: torch.Tensor | None) -> None:
        """Count a block of users, which follows the block before."""
        raise NotImplementedError

    def values(
        self, users: Ints, metrics: Sequence[str], cutoffs: Sequence[int]
    ) -> dict[str, NDArray[np.float64]]:
        """Every metric of every user, once all blocks are counted."""
        raise NotImplementedError

    def _collect(self, above_T: torch.Tensor, level_T: torch.Tensor) -> None:
        self._above.append(above_T.cpu().numpy().astype(np.int64))
        self._level.append(level_T.cpu().numpy().astype(np.int64))

    def _counts(self) -> tuple[Ints, Ints]:
        return np.concatenate(self._above), np.concatenate(self._level)


class _FullCounter(_Counter):
    """Targets among all items but the user's history."""

    def __init__(self, split: Split, phase: Phase) -> None:
        super().__init__()
        self._targets = split.targets(phase)
        self._masked = split.masked(phase)

    def count(self, scorer: Scorer, users_B: Ints, scores_BN: torch.Tensor | None) -> None:
        assert scores_BN is not None
        targets, masked = self._targets.take(users_B), self._masked.take(users_B)
        device = scores_BN.device
        rows_T, items_T = _on_device(device, targets.row_of_item(), targets.items)
        masked_rows, masked_items = _on_device(device, masked.row_of_item(), masked.items)
        if len(items_T) == len(users_B):
            counts = _count_by_comparing(scores_BN, items_T, masked_rows, masked_items)
        else:
            counts = _count_by_sorting(scores_BN, rows_T, items_T, masked_rows, masked_items)
        self._collect(*counts)

    def values(
        self, users: Ints, metrics: Sequence[str], cutoffs: Sequence[int]
    ) -> dict[str, NDArray[np.float64]]:
        row = self._targets.take(users).row_of_item()
        groups = groups_of(row, *self._counts(), n_rows=len(users))
        return per_row(groups, metrics=metrics, cutoffs=cutoffs)


class _CandidateCounter(_Counter):
    """Targets among their candidates; every target is a ranking of its own."""

    def __init__(self, candidates: Candidates) -> None:
        super().__init__()
        self._candidates = candidates

    def count(self, scorer: Scorer, users_B: Ints, scores_BN: torch.Tensor | None) -> None:
        given = self._candidates
        # Users ascend, in the blocks as in the file.
        start = np.searchsorted(given.users, users_B[0], side="left")
        stop = np.searchsorted(given.users, users_B[-1], side="right")
        users_T = given.users[start:stop].astype(np.int64)
        items_TC = given.items_TC[start:stop].astype(np.int64)
        place_T = np.argmax(items_TC == given.targets[start:stop, None], axis=1)
        if scores_BN is None:
            scores_TC = _comparable(scorer.score_candidates(users_T, items_TC))  # type: ignore[attr-defined]
            assert scores_TC.shape == items_TC.shape, f"scores are {tuple(scores_TC.shape)}"
            _check_scores(scores_TC, users_T, what="user")
        else:
            rows_T = np.searchsorted(users_B, users_T)
            rows, items = _on_device(scores_BN.device, rows_T[:, None], items_TC)
            scores_TC = scores_BN[rows, items]
        (place,) = _on_device(scores_TC.device, place_T[:, None])
        scores_T1 = scores_TC.gather(1, place)
        self._collect(_count_true(scores_TC > scores_T1), _count_true(scores_TC == scores_T1))

    def values(
        self, users: Ints, metrics: Sequence[str], cutoffs: Sequence[int]
    ) -> dict[str, NDArray[np.float64]]:
        n_rows = len(self._candidates.users)
        groups = groups_of(np.arange(n_rows), *self._counts(), n_rows=n_rows)
        by_target = per_row(groups, metrics=metrics, cutoffs=cutoffs)
        user = np.searchsorted(users, self._candidates.users)
        n_targets = np.bincount(user, minlength=len(users))
        return {
            name: np.bincount(user, column, len(users)) / n_targets
            for name, column in by_target.items()
        }


def _count_by_comparing(
    scores_BN: torch.Tensor,
    items_B: torch.Tensor,
    masked_rows: torch.Tensor,
    masked_items: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Items above and level with the one target of each row.

    Masked items are counted and taken off again: that needs no copy of the scores, and keeps them
    apart from items whose score is minus infinity.
    """
    targets_B1 = scores_BN.gather(1, items_B[:, None])
    counts = []
    for compare in (torch.gt, torch.eq):
        count_B = _count_true(compare(scores_BN[:, 1:], targets_B1))
        masked = compare(scores_BN[masked_rows, masked_items], targets_B1[masked_rows, 0])
        count_B -= torch.bincount(masked_rows[masked], minlength=len(scores_BN))
        counts.append(count_B)
    return counts[0], counts[1]


def _count_by_sorting(
    scores_BN: torch.Tensor,
    rows_T: torch.Tensor,
    items_T: torch.Tensor,
    masked_rows: torch.Tensor,
    masked_items: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Items above and level with each of the targets, however many a row has."""
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
    level_T = up_to_T - below_T - masked_B[rows_T] * (scores_T == -torch.inf)
    return ranked_BN.shape[1] - up_to_T, level_T


def _count_true(is_BN: torch.Tensor) -> torch.Tensor:
    """How many are true in each row, at a tenth of the time that a sum of booleans takes."""
    return is_BN.view(torch.uint8).sum(dim=1, dtype=torch.int32).long()


def _on_device(device: torch.device, *arrays: NDArray[np.integer]) -> list[torch.Tensor]:
    """Index arrays as int64 tensors."""
    return [torch.from_numpy(array.astype(np.int64)).to(device) for array in arrays]
