"""Ranking by a language model: the candidates of a user by one prompt, in the order of their file."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl
from recbole.model.abstract_recommender import AbstractRecommender

from experiments.bridge.candidates import CandidateScorer
from experiments.bridge.dataset import TrainingRows
from experiments.bridge.kept_scores import KeptScores
from experiments.bridge.scorer import RecBoleScorer
from experiments.evaluation.evaluate import Evaluation, RankingTask, evaluate

ORDERS = ("reversed", "shuffled")


def evaluate_by_prompts(
    model: AbstractRecommender,
    dataset: TrainingRows,
    task: RankingTask,
    *,
    checks: bool = False,
    keep: KeptScores | None = None,
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
    keep : KeptScores, optional
        Where the scores of candidates are noted for fusions of the model.

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
        by_prompt = CandidateScorer(model, dataset=dataset, history=history, keep=keep)
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
