"""Scoring a trained model on the shared data, by the protocol."""

from typing import Any

from recbole.model.abstract_recommender import AbstractRecommender

from experiments.bridge.dataset import TrainingRows
from experiments.bridge.scorer import RecBoleScorer
from experiments.config.metric_names import parse
from experiments.config.schema import ProtocolConfig
from experiments.evaluation.catalogue import catalogue, item_features
from experiments.evaluation.evaluate import Evaluation, evaluate
from experiments.evaluation.generation import generation
from experiments.evaluation.prompts import evaluate_by_prompts, reads_prompts
from experiments.evaluation.rating_errors import rating_errors
from experiments.protocol.shared_data import SharedData
from experiments.protocol.split import Phase
from experiments.training.loop import Metrics


def evaluation(
    model: AbstractRecommender,
    dataset: TrainingRows,
    phase: Phase,
    shared: SharedData,
    protocol: ProtocolConfig,
) -> Evaluation:
    """All metrics of the protocol for one phase; beyond accuracy and by slice for the test alone."""
    final = phase == "test"
    items = None
    if final and protocol.beyond:
        told = item_features(shared.data) if "diversity" in protocol.beyond else None
        items = catalogue(shared.split, told)
    if reads_prompts(model):
        made = evaluate_by_prompts(
            model,
            dataset,
            phase,
            split=shared.split,
            rankings=protocol.rankings,
            candidates=shared.candidates[phase],
            metrics=protocol.metrics,
            checks=final and model.order_check,
            catalogue=items,
            beyond=protocol.beyond,
            slicing=protocol.slices if final else None,
        )
        if final:
            made.system.update(generation(model, dataset, shared.split, shared.candidates[phase]))
        return made
    made = evaluate(
        RecBoleScorer(model, dataset=dataset, history=shared.split.history(phase)),
        split=shared.split,
        phase=phase,
        rankings=protocol.rankings,
        candidates=shared.candidates[phase],
        metrics=protocol.metrics,
        catalogue=items,
        beyond=protocol.beyond,
        slicing=protocol.slices if final else None,
    )
    made.system.update(rating_errors(model, phase, data=shared.data, split=shared.split))
    return made


def validate(
    model: AbstractRecommender,
    dataset: TrainingRows,
    *,
    shared: SharedData,
    protocol: ProtocolConfig,
) -> Metrics:
    """The valid metrics that are worth a curve: those of the ranking that selects epochs."""
    selecting = parse(protocol.valid_metric)
    ranking = selecting.ranking
    wanted = {selecting.metric, "hit", "ndcg"} & set(protocol.metrics)
    asked: dict[str, Any] = {
        "split": shared.split,
        "rankings": {ranking: protocol.rankings[ranking]},
        "candidates": shared.candidates["valid"],
        "metrics": sorted(wanted),
    }
    if reads_prompts(model):
        made = evaluate_by_prompts(model, dataset, "valid", **asked)
    else:
        scorer = RecBoleScorer(model, dataset=dataset, history=shared.split.history("valid"))
        made = evaluate(scorer, phase="valid", **asked)
    errors = rating_errors(model, "valid", data=shared.data, split=shared.split)
    return {f"valid/{name}": value for name, value in {**made.means, **errors}.items()}
