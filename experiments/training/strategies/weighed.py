"""The strategy `weighed`: weights of several trained models, chosen by what they rank of the valid part.

B batch, N items (padding included), K candidates, M parts of the score, C mixtures.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.bridge.candidates import CandidateScorer
from experiments.bridge.scorer import RecBoleScorer
from experiments.protocol.sequences import Sequences
from experiments.training.strategy import Task, Tick
from paddock import key
from paddock.training_keys import LoopConfig

CUTOFF = 10
"""Mixtures are compared by NDCG@10 of the ranking of all items but the history.

Where a member ranks candidates alone, by the metric that selects, if that is hit or NDCG, and among equals by
NDCG@10.
"""

STEPS = (20, 10, 5, 4, 3, 2, 1)
MOST = 130
"""Weights are multiples of the finest 1 / step that makes at most so many mixtures."""

USERS = 256
USERS_OF_PROMPTS = 32


class WeighedConfig(LoopConfig):
    """The best of a grid of weights on the valid part, by NDCG@10; nothing is trained."""

    name = "weighed"
    needs = "members"
    needed = "a model that is made of members"
    only: ClassVar[Mapping[str, tuple[Any, ...]]] = {"epochs": (1,)}

    epochs: int = key(1, "Passes over the valid part: one is all.", least=1)
    stopping_step: int = key(0, "Nothing is stopped early.", least=0)


class Weighed:
    """Tries mixtures of the members' scores on the valid part, and keeps the best.

    Parameters
    ----------
    task : Task
        The model and the split, whose valid part is read.
    """

    optimizers: Mapping[str, torch.optim.Optimizer] = {}
    generators: Mapping[str, torch.Generator] = {}

    def __init__(self, task: Task) -> None:
        self._model: Any = task.model
        self._split = task.split
        self._dataset = task.dataset
        self._selecting = task.config["selecting"]

    def train_epoch(self, epoch: int, tick: Tick) -> float:
        """Choose the weights, unless they were chosen before, and return 0: there is no loss.

        With a gate the weights for rare items are chosen after those for all, and those for popular items
        after them.

        Parameters
        ----------
        epoch : int
            Finished epochs of the stage.
        tick : Tick
            Called after every batch of users with (done, in all).
        """
        if self._model.chosen:
            tick(1, 1)
            return 0.0
        simplex_CM = mixtures(len(self._model.members))
        both_C = torch.stack([simplex_CM, simplex_CM], dim=1)
        best_2M = both_C[self._best(both_C, tick, turn=0)]
        if self._model.gated:
            for turn, place in ((1, 1), (2, 0)):
                tried_C2M = best_2M.expand(len(simplex_CM), -1, -1).clone()
                tried_C2M[:, place] = simplex_CM
                best_2M = tried_C2M[self._best(tried_C2M, tick, turn=turn)]
        self._model.choose(best_2M)
        return 0.0

    def _best(self, tried_C2M: Tensor, tick: Tick, *, turn: int) -> int:
        """The place of the best mixture; the first among equals."""
        if self._model.reads_prompts and self._selecting is not None:
            return self._best_of_candidates(tried_C2M, tick, turn=turn)
        return self._best_of_all(tried_C2M, tick, turn=turn)

    @torch.no_grad()
    def _best_of_candidates(self, tried_C2M: Tensor, tick: Tick, *, turn: int) -> int:
        """By the metric that selects, over the frozen candidates of the valid part."""
        model, given = self._model, self._selecting.candidates
        history = self._split.history("valid")
        scorer = CandidateScorer(model, dataset=self._dataset, history=history)
        weights_CM = tried_C2M.flatten(1) if model.gated else tried_C2M[:, 0]
        turns = 3 if model.gated else 1
        ranks = []
        for start in range(0, len(given.users), USERS_OF_PROMPTS):
            rows = slice(start, start + USERS_OF_PROMPTS)
            users_B, items_BK = given.users[rows], given.items_TC[rows]
            scores = scorer.members_of_candidates(users_B, items_BK)
            scores_MBK = model.standardised(scores, torch.from_numpy(items_BK).long())
            mixed_CBK = torch.einsum("cm,mbk->cbk", weights_CM.to(scores_MBK), scores_MBK)
            wanted_BK = torch.from_numpy(items_BK == given.targets[rows, None]).to(mixed_CBK.device)
            own_CB1 = (mixed_CBK * wanted_BK).sum(2, keepdim=True)
            ranks.append((mixed_CBK >= own_CB1).sum(2).cpu())
            tick(turn * len(given.users) + start + len(users_B), turns * len(given.users))
        # A user's targets, each among candidates of its own, count as much as another's.
        _, row_T, counts_U = np.unique(given.users, return_inverse=True, return_counts=True)
        asked = self._selecting.metric, self._selecting.cutoff
        return _best(torch.cat(ranks, dim=1).numpy(), 1 / counts_U[row_T], *asked)

    @torch.no_grad()
    def _best_of_all(self, tried_C2M: Tensor, tick: Tick, *, turn: int) -> int:
        """By the greatest mean NDCG@10 among all items."""
        split, model = self._split, self._model
        scorer = RecBoleScorer(model, dataset=self._dataset, history=split.history("valid"))
        targets, masked = split.targets("valid"), split.masked("valid")
        users = split.users("valid")
        weights_CM = tried_C2M.flatten(1) if model.gated else tried_C2M[:, 0]
        turns = 3 if model.gated else 1
        gains_C = np.zeros(len(weights_CM))
        for start in range(0, len(users), USERS):
            batch = users[start : start + USERS]
            scores_MBN = model.standardised(scorer.members(batch))
            scores_MBN[0][_places(masked.take(batch))] = -torch.inf
            scores_MBN[0][:, 0] = -torch.inf
            asked = targets.take(batch)
            rows, items = _places(asked)
            ideal_B = _ideal(asked.lengths)
            for number, weights_M in enumerate(weights_CM.to(scores_MBN)):
                # The excluded stay below all, whatever the first part weighs.
                mixed_BN = torch.where(scores_MBN[0] == -torch.inf, -torch.inf, 0.0)
                for weight, part_BN in zip(weights_M, scores_MBN, strict=True):
                    if weight:
                        mixed_BN += weight * part_BN
                own_T = mixed_BN[rows, items]
                above_T = (mixed_BN[rows] >= own_T[:, None]).sum(1).cpu().numpy() - 1
                gain_T = np.where(above_T < CUTOFF, 1 / np.log2(above_T + 2.0), 0.0)
                gains_C[number] += (np.bincount(rows, gain_T, len(batch)) / ideal_B).sum()
            done = turn * len(users) + start + len(batch)
            tick(done, turns * len(users))
        return int(gains_C.argmax())


def _best(
    rank_CT: NDArray[np.int64], weight_T: NDArray[np.float64], metric: str, cutoff: int | None
) -> int:
    """The place of the best ranks by hit or NDCG down to the cut-off, by NDCG@10 among equals."""

    def ndcg(cutoff: int) -> NDArray[np.float64]:
        return np.where(rank_CT <= cutoff, 1 / np.log2(rank_CT + 1), 0.0) @ weight_T

    hit_C = (rank_CT <= (cutoff or CUTOFF)) @ weight_T
    asked_C = hit_C if metric == "hit" else ndcg(cutoff if metric == "ndcg" and cutoff else CUTOFF)
    return int(np.lexsort((-np.arange(len(rank_CT)), ndcg(CUTOFF), asked_C))[-1])


def mixtures(members: int) -> Tensor:
    """Weights that are not negative and sum to 1, on a grid.

    Parameters
    ----------
    members : int
        M.

    Returns
    -------
    Tensor
        float32, shape (C, M), in lexicographic order.
    """
    steps = next(each for each in STEPS if each == 1 or _count(each, members) <= MOST)
    # Between the parts of a sum of so many steps stand bars, one less than there are members.
    places = steps + members - 1
    bars_CK = np.array(list(itertools.combinations(range(places), members - 1)))
    edges = np.pad(bars_CK, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, places)))
    return torch.from_numpy(np.diff(edges, axis=1) - 1).float() / steps


def _count(steps: int, members: int) -> int:
    return math.comb(steps + members - 1, members - 1)


def _places(sequences: Sequences) -> tuple[Tensor, Tensor]:
    """Row and item of every entry."""
    return torch.from_numpy(sequences.row_of_item()), torch.from_numpy(sequences.items).long()


def _ideal(counts_B: np.ndarray) -> np.ndarray:
    """The greatest DCG of as many targets."""
    return np.cumsum(1 / np.log2(np.arange(CUTOFF) + 2))[np.minimum(counts_B, CUTOFF) - 1]
