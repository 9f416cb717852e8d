"""The one evaluator: scores in, one value per user and metric out.

Every model is scored on the same users, targets, masked history and candidates. The evaluator only
counts, for every target, the competitors above it and those tied with it;
`experiments.evaluation.metrics` makes numbers of these counts.

Dimensions: B users of a block, N items and the padding (column 0), T targets of a block, C
candidates of a target, K length of a list.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from experiments.config.schema import RankingConfig, SlicesConfig
from experiments.errors import PaddockError
from experiments.evaluation.beyond_accuracy import ListStatistics, measure_names
from experiments.evaluation.catalogue import Catalogue
from experiments.evaluation.counters import CandidateCounter, Counter, FullCounter
from experiments.evaluation.scores import Ints, any_bad, check_scores, comparable, on_device
from experiments.evaluation.shares import gather, score_groups, shared_blocks
from experiments.evaluation.topk import best_items
from experiments.evaluation.topk import topk as topk
from experiments.protocol.candidates import Candidates
from experiments.protocol.slices import Mask, slices
from experiments.protocol.split import Phase, Split

_BLOCK_BYTES = 64 * 2**20
_MOST_USERS = 4096
# A scorer of candidates alone is slow per user (an LLM), so it reports more often.
_MOST_USERS_OF_CANDIDATES = 64


class Scorer(Protocol):
    """A trained model, ready to score the phase that it was made for.

    Three more attributes are optional. ``parts(users_B)`` gives the places of users that are scored
    together, which several processes share out among them. `full = False` says that the model cannot score all items;
    then it has ``score_candidates(users_B, items_BC) -> scores_BC``, a tensor with one row for
    every user and his candidates, and only rankings with candidates can be computed.
    """

    def score(self, users_B: Ints) -> torch.Tensor:
        """Scores of all items, the higher the better.

        Parameters
        ----------
        users_B : int64, (B,)
            User ids.

        Returns
        -------
        (B, n_items + 1)
            On any device, of any type of numbers; column 0 is the padding and is never read.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What a scorer achieved.

    Attributes
    ----------
    per_user : polars.DataFrame
        `user` (Int32, ascending), a Float64 column "<ranking>/<metric>_at_<cutoff>" for each, and
        a Boolean column "slice/<slice>" for each slice that no user is half in.
    means : dict
        The mean over users of every metric.
    system : dict
        "<ranking>/<metric>_at_<cutoff>" of all lists together, such as "full/coverage_at_10".
    slices : dict
        "slice/<slice>/<ranking>/<metric>_at_<cutoff>", the mean over the slice's users, and
        "slice/<slice>/targets" and "slice/<slice>/users", how many there are in it.
    seconds : float
        Wall time, scoring included.
    n_users : int
    """

    per_user: pl.DataFrame
    means: dict[str, float]
    seconds: float
    n_users: int
    system: dict[str, float] = field(default_factory=dict)
    slices: dict[str, float] = field(default_factory=dict)

    @property
    def aggregates(self) -> dict[str, float]:
        """Every number that is not of a single user."""
        return {**self.means, **self.system, **self.slices}


@dataclass(frozen=True, kw_only=True, eq=False)
class RankingTask:
    """Which targets are ranked among which items, and what is measured: the same for every model.

    Attributes
    ----------
    split : Split
    phase : "valid" or "test"
    rankings : name -> RankingConfig
        ``candidates: null`` ranks a target among all items but the user's history; a number, among
        the candidates of its row in the candidate file.
    candidates : ranking name -> Candidates
        For every ranking with candidates.
    metrics : names of metrics
    catalogue : Catalogue
        If given, the best items of the rankings of all items are measured beyond accuracy.
    beyond : names of list measures; None: all
    slicing : SlicesConfig
        If given, every metric is also measured by slice.
    """

    split: Split
    phase: Phase
    rankings: Mapping[str, RankingConfig]
    candidates: Mapping[str, Candidates]
    metrics: Sequence[str]
    catalogue: Catalogue | None = None
    beyond: Sequence[str] | None = None
    slicing: SlicesConfig | None = None

    @property
    def users(self) -> NDArray[np.int64]:
        """The users that are scored, ascending."""
        return self.split.users(self.phase)


def evaluate(
    scorer: Scorer,
    task: RankingTask,
    *,
    progress: Callable[[int, int], None] | None = None,
    block: int | None = None,
) -> Evaluation:
    """Rank every target of the phase and measure where it lands.

    Parameters
    ----------
    scorer : Scorer
        Made for the task's phase.
    task : RankingTask
    progress : callable, optional
        Called after every block with the users done and all users.
    block : int, optional
        Users scored at a time, by default as many as 64 MB of scores hold.

    Raises
    ------
    PaddockError
        For a NaN or a score of plus infinity, for a candidate file that is missing or of other
        targets, and for a ranking of all items by a scorer of candidates.
    """
    begin = time.perf_counter()
    users = task.users
    _check_rankings(scorer, task)
    counters = _counters(task)
    lists = _list_statistics(task)
    step = block or _users_at_a_time(scorer, task.split)

    def count() -> Ints:
        done = [np.empty(0, dtype=np.int64)]
        for groups in shared_blocks(scorer, users, step):
            users_B = np.sort(np.concatenate(groups))
            scores_BN = _scores(scorer, groups, users_B, task) if _is_full(scorer) else None
            for counter in counters.values():
                counter.count(scorer, users_B, scores_BN)
            if lists and scores_BN is not None:
                longest = max(statistics.longest for statistics in lists.values())
                masked = task.split.masked(task.phase).take(users_B)
                items_BK = best_items(scores_BN, masked, longest)
                for statistics in lists.values():
                    statistics.add(items_BK)
            done.append(users_B)
            if progress is not None:
                progress(sum(map(len, done)), len(users))
        return np.concatenate(done)

    with torch.no_grad():
        gather(users, count, counters, lists, task.split.targets(task.phase))
    columns: dict[str, NDArray[Any]] = {"user": users.astype(np.int32)}
    for name, ranking in task.rankings.items():
        values = counters[name].values(users, task.metrics, ranking.cutoffs)
        columns |= {f"{name}/{metric}": column for metric, column in values.items()}
    system: dict[str, float] = {}
    for name, statistics in lists.items():
        columns |= {f"{name}/{metric}": each for metric, each in statistics.per_user().items()}
        system |= {f"{name}/{metric}": value for metric, value in statistics.system().items()}
    per_user = pl.DataFrame(columns)
    masks = {} if task.slicing is None else slices(task.split, task.phase, task.slicing)
    return Evaluation(
        per_user=per_user.with_columns(**_users_in_slices(masks, task)),
        means=mean_over_users(per_user),
        system=system,
        slices=_by_slice(masks, task, counters),
        seconds=time.perf_counter() - begin,
        n_users=len(users),
    )


def unscored(split: Split, phase: Phase) -> Evaluation:
    """The evaluation of a model that cannot score a phase: its users, and no number.

    Parameters
    ----------
    split : Split
    phase : "valid" or "test"
    """
    users = split.users(phase)
    per_user = pl.DataFrame({"user": users.astype(np.int32)})
    return Evaluation(per_user=per_user, means={}, seconds=0.0, n_users=len(users))


def mean_over_users(per_user: pl.DataFrame) -> dict[str, float]:
    """The mean of every column but `user`: the one place where users become one number.

    Parameters
    ----------
    per_user : polars.DataFrame
        As of `Evaluation`, without slices.
    """
    return {
        name: float(per_user[name].to_numpy().mean()) for name in per_user.columns if name != "user"
    }


def _counters(task: RankingTask) -> dict[str, Counter]:
    return {
        name: FullCounter(task.split, task.phase)
        if ranking.candidates is None
        else CandidateCounter(task.candidates[name])
        for name, ranking in task.rankings.items()
    }


def _list_statistics(task: RankingTask) -> dict[str, ListStatistics]:
    """What collects the lists of each ranking of all items, where they are measured."""
    names = measure_names() if task.beyond is None else task.beyond
    if task.catalogue is None or not names:
        return {}
    return {
        name: ListStatistics(task.catalogue, names=names, cutoffs=ranking.cutoffs)
        for name, ranking in task.rankings.items()
        if ranking.candidates is None
    }


def _users_in_slices(masks: Mapping[str, Mask], task: RankingTask) -> dict[str, NDArray[np.bool_]]:
    """Whether a user is in "slice/<slice>", (U,); slices that a user is half in are left out."""
    starts_U = task.split.targets(task.phase).indptr[task.users]
    every = {name: np.logical_and.reduceat(mask, starts_U) for name, mask in masks.items()}
    some = {name: np.logical_or.reduceat(mask, starts_U) for name, mask in masks.items()}
    return {
        f"slice/{name}": users_U
        for name, users_U in every.items()
        if np.array_equal(users_U, some[name])
    }


def _by_slice(
    masks: Mapping[str, Mask], task: RankingTask, counters: Mapping[str, Counter]
) -> dict[str, float]:
    users, users_T = task.users, task.split.targets(task.phase).row_of_item()
    numbers: dict[str, float] = {}
    for slice_name, among in masks.items():
        path = f"slice/{slice_name}"
        numbers[f"{path}/targets"] = float(np.count_nonzero(among))
        numbers[f"{path}/users"] = float(len(np.unique(users_T[among])))
        if not among.any():
            continue
        for name, ranking in task.rankings.items():
            values = counters[name].values(users, task.metrics, ranking.cutoffs, among=among)
            means = mean_over_users(pl.DataFrame(values))
            numbers |= {f"{path}/{name}/{metric}": mean for metric, mean in means.items()}
    return numbers


def _is_full(scorer: Scorer) -> bool:
    return bool(getattr(scorer, "full", True))


def _users_at_a_time(scorer: Scorer, split: Split) -> int:
    if not _is_full(scorer):
        return _MOST_USERS_OF_CANDIDATES
    return min(max(1, _BLOCK_BYTES // (4 * (split.n_items + 1))), _MOST_USERS)


def _check_rankings(scorer: Scorer, task: RankingTask) -> None:
    targets = task.split.targets(task.phase)
    for name, ranking in task.rankings.items():
        if ranking.candidates is None:
            if not _is_full(scorer):
                raise PaddockError(
                    f"ranking {name!r} ranks all items, but the model only scores candidates; "
                    f"drop protocol.rankings.{name} or choose rankings with candidates"
                )
            continue
        if name not in task.candidates:
            raise PaddockError(f"ranking {name!r} needs a candidate file and has none")
        given = task.candidates[name]
        same = np.array_equal(given.users, targets.row_of_item())
        if not (same and np.array_equal(given.targets, targets.items)):
            raise PaddockError(
                f"ranking {name!r}: the candidate file holds {len(given.users)} targets that are "
                f"not the {len(targets.items)} {task.phase} targets of this split"
            )
        if given.items_TC.shape[1] != ranking.candidates:
            raise PaddockError(
                f"ranking {name!r} is of {ranking.candidates} candidates, but its candidate file "
                f"has rows of {given.items_TC.shape[1]}"
            )


def _scores(
    scorer: Scorer, groups: Sequence[Ints], users_B: Ints, task: RankingTask
) -> torch.Tensor:
    scores_BN = comparable(score_groups(scorer.score, groups))
    expected = (len(users_B), task.split.n_items + 1)
    assert scores_BN.shape == expected, f"scores are {tuple(scores_BN.shape)}, not {expected}"
    if any_bad(scores_BN[:, 1:]):
        masked = task.split.masked(task.phase).take(users_B)
        rows, items = on_device(scores_BN.device, masked.row_of_item(), masked.items)
        counted = scores_BN.clone()
        counted[rows, items] = 0
        check_scores(counted[:, 1:], users_B, what="user")
    return scores_BN
