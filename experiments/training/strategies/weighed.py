"""The strategy `weighed`: weights of several trained models, chosen by what they rank of the valid part.

B batch, N items (padding included), M parts of the score, C mixtures.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from experiments.bridge.scorer import RecBoleScorer
from experiments.protocol.sequences import Sequences
from experiments.training.strategy import Task, Tick
from paddock import key
from paddock.training_keys import LoopConfig

CUTOFF = 10
"""Mixtures are compared by NDCG@10 of the ranking of all items but the history."""

STEPS = (20, 10, 5, 4, 3, 2, 1)
MOST = 130
"""Weights are multiples of the finest 1 / step that makes at most so many mixtures."""

USERS = 256


class WeighedConfig(LoopConfig):
    """The best of a grid of weights by NDCG@10 on the valid part; nothing is trained."""

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

    @torch.no_grad()
    def _best(self, tried_C2M: Tensor, tick: Tick, *, turn: int) -> int:
        """The place of the mixture of the greatest mean NDCG@10; the first among equals."""
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
