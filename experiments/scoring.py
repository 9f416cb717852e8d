"""Scoring a trained model in an arena, by the protocol."""

from recbole.model.abstract_recommender import AbstractRecommender

from experiments.arena import Arena
from experiments.bridge.dataset import TrainingRows
from experiments.bridge.scorer import RecBoleScorer
from experiments.catalogue import catalogue, item_features
from experiments.config import ProtocolConfig
from experiments.evaluate import Evaluation, evaluate
from experiments.split import Phase
from experiments.training.loop import Metrics


def evaluation(
    model: AbstractRecommender,
    dataset: TrainingRows,
    phase: Phase,
    shared: Arena,
    protocol: ProtocolConfig,
) -> Evaluation:
    """All metrics of the protocol for one phase; beyond accuracy and by slice for the test alone."""
    final = phase == "test"
    items = None
    if final and protocol.beyond:
        told = item_features(shared.data) if "diversity" in protocol.beyond else None
        items = catalogue(shared.split, told)
    return evaluate(
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


def validate(
    model: AbstractRecommender, dataset: TrainingRows, *, shared: Arena, protocol: ProtocolConfig
) -> Metrics:
    """The valid metrics that are worth a curve: those of the ranking that selects epochs."""
    ranking, _, selecting = protocol.valid_metric.partition("/")
    wanted = {selecting.partition("_at_")[0], "hit", "ndcg"} & set(protocol.metrics)
    made = evaluate(
        RecBoleScorer(model, dataset=dataset, history=shared.split.history("valid")),
        split=shared.split,
        phase="valid",
        rankings={ranking: protocol.rankings[ranking]},
        candidates=shared.candidates["valid"],
        metrics=sorted(wanted),
    )
    return {f"valid/{name}": value for name, value in made.means.items()}
