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
from experiments.counters import CandidateCounter, Counter, FullCounter
from experiments.errors import PaddockError
from experiments.scores import Ints, any_bad, check_scores, comparable, on_device
from experiments.split import Phase, Sequences, Split

_BLOCK_BYTES = 64 * 2**20
_MOST_USERS = 4096
# A scorer of candidates alone is slow per user (an LLM), so it reports more often.
_MOST_USERS_OF_CANDIDATES = 64


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
    counters: dict[str, Counter] = {
        name: FullCounter(split, phase)
        if ranking.candidates is None
        else CandidateCounter(candidates[name])
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
    scores = comparable(scores_BN)
    rows, items = on_device(scores.device, history.row_of_item(), history.items)
    out = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    out[:, 0] = True
    out[rows, items] = True
    scores = scores.masked_fill(out, -torch.inf)
    check_scores(scores, np.arange(len(scores)), what="row")
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
    scores_BN = comparable(scorer.score(users_B))
    expected = (len(users_B), split.n_items + 1)
    assert scores_BN.shape == expected, f"scores are {tuple(scores_BN.shape)}, not {expected}"
    if any_bad(scores_BN[:, 1:]):
        masked = split.masked(phase).take(users_B)
        rows, items = on_device(scores_BN.device, masked.row_of_item(), masked.items)
        counted = scores_BN.clone()
        counted[rows, items] = 0
        check_scores(counted[:, 1:], users_B, what="user")
    return scores_BN
