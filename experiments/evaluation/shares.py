"""The users of an evaluation, dealt to the processes of a run.

What a process scores is what a single one would score together, so that the scores are equal to the
last bit: products of other shapes may round otherwise. What is gathered are counts and values of
users, put back into the users' order in all processes.

B users of a block, P of those that are scored together, T targets.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from experiments.evaluation.beyond_accuracy import ListStatistics
from experiments.evaluation.counters import Counter
from experiments.evaluation.scores import Ints
from experiments.protocol.split import Sequences
from experiments.training import ranks

Item = TypeVar("Item")


def mine(items: Sequence[Item], *, before: int = 0) -> list[Item]:
    """What falls to this process of what is dealt in turn.

    Parameters
    ----------
    items : sequence
    before : int
        Items that were dealt before.
    """
    first = (ranks.rank() - before) % ranks.size()
    return list(items[first :: ranks.size()])


def shared_blocks(scorer: Any, users: Ints, step: int) -> Iterator[list[Ints]]:
    """The blocks of users, each as the groups of users that this process scores together.

    Parameters
    ----------
    scorer : Scorer
        One with `parts(users_B)`, the places of those that it scores together, is dealt by parts.
    users : int64, (U,)
        Ascending.
    step : int
        Users of a block.
    """
    dealt = 0
    for start in range(0, len(users), step):
        users_B = users[start : start + step]
        if ranks.size() == 1:
            yield [users_B]
            continue
        whole = getattr(scorer, "parts", None) is None or not getattr(scorer, "full", True)
        groups = [users_B] if whole else [users_B[places] for places in scorer.parts(users_B)]
        own = mine(groups, before=dealt)
        dealt += len(groups)
        if own:
            yield own


def score_groups(score: Callable[[Ints], torch.Tensor], groups: Sequence[Ints]) -> torch.Tensor:
    """The scores of groups of users, by ascending user.

    Parameters
    ----------
    score : callable
        Scores of users, (P,) -> (P, N).
    groups : sequence of int64, (P,)
        Users that are scored together; those of a single process are one group, in order.
    """
    if ranks.size() == 1:
        return score(groups[0])
    users = np.concatenate(groups)
    scores = torch.cat([score(users_P) for users_P in groups])
    return scores[torch.from_numpy(np.argsort(users)).to(scores.device)]


def gather(
    users: Ints,
    count: Callable[[], Ints],
    counters: Mapping[str, Counter],
    lists: Mapping[str, ListStatistics],
    targets: Sequences,
) -> None:
    """Count the users of this process, and give every process what all of them counted.

    Parameters
    ----------
    users : int64, (U,)
        Of the whole evaluation, ascending.
    count : callable
        Counts this process's users into `counters` and `lists`, and returns them, ascending.
    counters, lists : by name of a ranking
        Complete afterwards.
    targets : Sequences
        Of the phase.

    Raises
    ------
    PaddockError
        In all processes, what one of them met.
    """

    def counted() -> Any:
        own = count()
        return (
            own,
            {name: each.collected() for name, each in counters.items()},
            {name: each.collected() for name, each in lists.items()},
        )

    parts = ranks.gathered(counted)
    if ranks.size() == 1:
        return
    owns = [own for own, _, _ in parts]
    order_U = np.argsort(np.concatenate(owns))
    assert np.array_equal(np.concatenate(owns)[order_U], users), "every user is scored once"
    users_T = [own[targets.take(own).row_of_item()] for own in owns]
    order_T = np.argsort(np.concatenate(users_T), kind="stable")
    for name, counter in counters.items():
        counter.put([collected[name] for _, collected, _ in parts], order_T)
    for name, statistics in lists.items():
        statistics.put([collected[name] for _, _, collected in parts], order_U)
