"""Ranking by a language model: the candidates of a user by one prompt, in the order of their file.

B users, C candidates.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import torch
from recbole.model.abstract_recommender import AbstractRecommender
from torch import Tensor

from experiments.bridge.dataset import TrainingRows
from experiments.bridge.scorer import RecBoleScorer
from experiments.evaluation.evaluate import Evaluation, RankingTask, evaluate
from experiments.protocol.split import Sequences

ORDERS = ("reversed", "shuffled")
ORDER_SEED = 2024


class CandidateScorer(RecBoleScorer):
    """Scores the candidates of a user by one prompt that names them all.

    Parameters
    ----------
    model
        One that `reads_prompts`.
    dataset : TrainingRows
        What it was trained on.
    history : Sequences
        Of every user, as `Split.history` gives it.
    order : str or None
        None: as the candidate file has them. "reversed", "shuffled": the check of how much the
        place in the prompt counts.
    """

    full = False

    def __init__(
        self,
        model: AbstractRecommender,
        *,
        dataset: TrainingRows,
        history: Sequences,
        order: str | None = None,
    ) -> None:
        super().__init__(model, dataset=dataset, history=history)
        self._order = order

    @torch.no_grad()
    def score_candidates(self, users_B: np.ndarray, items_BC: np.ndarray) -> Tensor:
        """Scores of the candidates, the higher the better.

        Parameters
        ----------
        users_B : int64, (B,)
        items_BC : int64, (B, C)

        Returns
        -------
        (B, C)
            In the order of `items_BC`, whatever the order in the prompt.
        """
        self._model.eval()
        items = torch.from_numpy(items_BC)
        places_BC = self._places(users_B, items.shape)
        batch = self._joined(self._batch(users_B)).to(self._device)
        named_BC = items.gather(1, places_BC).to(self._device)
        scores_BC = self._model.predict_candidates(batch, named_BC)
        return torch.empty_like(scores_BC).scatter_(1, places_BC.to(scores_BC.device), scores_BC)

    def prompted(self, users_B: np.ndarray, items_BC: np.ndarray) -> tuple[Tensor, Tensor]:
        """The prompts as input embeddings, and their lengths.

        Parameters
        ----------
        users_B : int64, (B,)
        items_BC : int64, (B, C)

        Returns
        -------
        embeddings : (B, L, H)
            Of prompts of at most L tokens and hidden size H, padded at the end.
        lengths : (B,)
            Tokens of each prompt.
        """
        self._model.eval()
        batch = self._joined(self._batch(users_B)).to(self._device)
        return self._model.prompted(batch, torch.from_numpy(items_BC))

    def _places(self, users_B: np.ndarray, shape: torch.Size) -> Tensor:
        """The place in the file of what stands at each place of the prompt, (B, C)."""
        B, C = shape
        straight_BC = torch.arange(C).expand(B, C)
        if self._order == "reversed":
            return straight_BC.flip(1)
        if self._order == "shuffled":
            rows = [
                torch.randperm(C, generator=torch.Generator().manual_seed(ORDER_SEED + int(user)))
                for user in users_B
            ]
            return torch.stack(rows)
        return straight_BC


def reads_prompts(model: AbstractRecommender) -> bool:
    """Whether the model ranks candidates by a prompt that names them."""
    return bool(getattr(model, "reads_prompts", False))


def evaluate_by_prompts(
    model: AbstractRecommender,
    dataset: TrainingRows,
    task: RankingTask,
    *,
    checks: bool = False,
) -> Evaluation:
    """Rankings of candidates by one prompt each, those of all items by `full_sort_predict`.

    Parameters
    ----------
    model
        One that `reads_prompts`.
    dataset : TrainingRows
        What it was trained on.
    task : RankingTask
    checks : bool
        Whether the rankings of candidates are repeated with the candidates in other orders:
        "order_reversed/<ranking>/<metric>" and "order_shuffled/<ranking>/<metric>" of
        `Evaluation.system`.

    Raises
    ------
    PaddockError
        As `evaluate`.
    """
    history = task.split.history(task.phase)
    among = {name: each for name, each in task.rankings.items() if each.candidates is not None}
    full = {name: each for name, each in task.rankings.items() if each.candidates is None}
    of_candidates = replace(task, rankings=among, catalogue=None)
    parts: list[Evaluation] = []
    if full:
        scorer = RecBoleScorer(model, dataset=dataset, history=history)
        parts.append(evaluate(scorer, replace(task, rankings=full)))
    if among:
        by_prompt = CandidateScorer(model, dataset=dataset, history=history)
        parts.append(evaluate(by_prompt, of_candidates))
    made = joined(parts)
    if not (checks and among):
        return made
    orders: dict[str, float] = {}
    for order in ORDERS:
        reordered = CandidateScorer(model, dataset=dataset, history=history, order=order)
        means = evaluate(reordered, replace(of_candidates, slicing=None)).means
        orders |= {f"order_{order}/{name}": value for name, value in means.items()}
    return replace(made, system={**made.system, **orders})


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """Evaluations of the same users by different rankings, as one.

    Their seconds add up.
    """
    first, *others = parts
    for other in others:
        assert other.per_user["user"].equals(first.per_user["user"])
        shared = set(first.per_user.columns) & set(other.per_user.columns)
        first = replace(
            first,
            per_user=pl.concat([first.per_user, other.per_user.drop(shared)], how="horizontal"),
            means={**first.means, **other.means},
            system={**first.system, **other.system},
            slices={**first.slices, **other.slices},
            seconds=first.seconds + other.seconds,
        )
    return first
