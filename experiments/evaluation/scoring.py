"""Scoring a trained model on the shared data, by the protocol."""

from collections.abc import Mapping

from recbole.model.abstract_recommender import AbstractRecommender

from experiments.bridge.candidates import reads_prompts
from experiments.bridge.dataset import TrainingRows
from experiments.bridge.inputs import reads_histories
from experiments.bridge.kept_scores import KeptScores
from experiments.bridge.scorer import RecBoleScorer
from experiments.components.registry import functions
from experiments.config.metric_names import parse
from experiments.config.schema import Inputs, ProtocolConfig, Refit
from experiments.errors import PaddockError
from experiments.evaluation.applicability import not_applicable
from experiments.evaluation.catalogue import Catalogue, catalogue, item_features
from experiments.evaluation.evaluate import Evaluation, RankingTask, evaluate
from experiments.evaluation.generation import generation
from experiments.evaluation.probes import probes
from experiments.evaluation.prompts import evaluate_by_prompts
from experiments.evaluation.rating_errors import rating_errors
from experiments.protocol.shared_data import SharedData
from experiments.protocol.split import Phase
from experiments.training.loop import Metrics
from paddock import ListMeasure

READS_NO_VALID = "reads no valid item"
"""Note on a model whose test scores follow from the training part alone."""


def input_note(
    model: AbstractRecommender, dataset: TrainingRows, protocol: ProtocolConfig
) -> str | None:
    """What a reader must know of what the model reads at test; None where it reads all histories.

    Parameters
    ----------
    model
        A trained model.
    dataset : TrainingRows
        What it was trained on.
    protocol : ProtocolConfig
    """
    if protocol.refit is Refit.valid:
        return None
    sequential = hasattr(dataset, "max_item_list_len")
    rows = not sequential and protocol.inputs is Inputs.recbole
    if rows or not reads_histories(model):
        return READS_NO_VALID
    own: str | None = getattr(model, "input_note", None)
    return own


def ranking_task(phase: Phase, shared: SharedData, protocol: ProtocolConfig) -> RankingTask:
    """What a protocol asks of a phase: beyond accuracy and by slice for the test alone.

    Parameters
    ----------
    phase : "valid" or "test"
    shared : SharedData
    protocol : ProtocolConfig
    """
    final = phase == "test"
    return RankingTask(
        split=shared.split,
        phase=phase,
        rankings=protocol.rankings,
        candidates=shared.candidates[phase],
        metrics=protocol.metrics,
        catalogue=_catalogue(shared, protocol) if final else None,
        beyond=protocol.beyond,
        slicing=protocol.slices if final else None,
    )


def evaluation(
    model: AbstractRecommender,
    dataset: TrainingRows,
    phase: Phase,
    shared: SharedData,
    protocol: ProtocolConfig,
    *,
    keep: KeptScores | None = None,
) -> Evaluation:
    """All metrics of the protocol for one phase; beyond accuracy and by slice for the test alone.

    Parameters
    ----------
    model
        A trained model.
    dataset : TrainingRows
        What it was trained on.
    phase : "valid" or "test"
    shared : SharedData
    protocol : ProtocolConfig
    keep : KeptScores, optional
        Where a model that reads prompts notes the scores of candidates.

    Raises
    ------
    PaddockError
        For scores that are NaN or plus infinity, and for a ranking that the model cannot make.
    """
    final, task = phase == "test", ranking_task(phase, shared, protocol)
    if reads_prompts(model):
        checks = final and model.order_check
        made = evaluate_by_prompts(model, dataset, task, checks=checks, keep=keep)
        if final:
            made.system.update(generation(model, dataset, shared.split, task.candidates))
            named = {"titles": shared.data.item_titles, "tokens": shared.data.item_tokens}
            made.system.update(probes(model, dataset, task, **named))
            made.system.update(_weights(model))
        return made
    made = evaluate(_scorer(model, dataset, task, protocol), task)
    made.system.update(_weights(model) if final else {})
    made.system.update(rating_errors(model, phase, data=shared.data, split=shared.split))
    return made


def validate(
    model: AbstractRecommender,
    dataset: TrainingRows,
    *,
    shared: SharedData,
    protocol: ProtocolConfig,
) -> Metrics:
    """The metrics of a validation: the one that selects epochs, hit and NDCG of the same ranking.

    Parameters
    ----------
    model
        As it is after an epoch.
    dataset : TrainingRows
        What it is trained on.
    shared : SharedData
    protocol : ProtocolConfig

    Returns
    -------
    dict
        "valid/<ranking>/<metric>_at_<cutoff>" -> the mean over users; "valid/ratings/rmse" and
        "valid/ratings/mae" for a model that predicts ratings.

    Raises
    ------
    PaddockError
        As `evaluation`, and for a model that cannot score the valid users.
    """
    reason = not_applicable(model, dataset, "valid", split=shared.split, inputs=protocol.inputs)
    if reason is not None:
        raise PaddockError(
            f"protocol={protocol.name} cannot validate {type(model).__name__}, {reason}; choose a model "
            f"that reads histories (protocol.history=N) or the users' own columns"
        )
    selecting = parse(protocol.valid_metric)
    wanted = {selecting.metric, "hit", "ndcg"} & set(protocol.metrics)
    task = RankingTask(
        split=shared.split,
        phase="valid",
        rankings={selecting.ranking: protocol.rankings[selecting.ranking]},
        candidates=shared.candidates["valid"],
        metrics=sorted(wanted),
    )
    if reads_prompts(model):
        made = evaluate_by_prompts(model, dataset, task)
    else:
        made = evaluate(_scorer(model, dataset, task, protocol), task)
    errors = rating_errors(model, "valid", data=shared.data, split=shared.split)
    return {f"valid/{name}": value for name, value in {**made.means, **errors}.items()}


def _weights(model: AbstractRecommender) -> dict[str, float]:
    """The weights of a fusion's members, as "weights/<member>"."""
    chosen: Mapping[str, float] = getattr(model, "chosen_weights", {})
    return {f"weights/{name}": weight for name, weight in chosen.items()}


def _scorer(
    model: AbstractRecommender, dataset: TrainingRows, task: RankingTask, protocol: ProtocolConfig
) -> RecBoleScorer:
    return RecBoleScorer(
        model,
        dataset=dataset,
        history=task.split.history(task.phase),
        trained_rows=protocol.inputs is Inputs.recbole,
    )


def _catalogue(shared: SharedData, protocol: ProtocolConfig) -> Catalogue | None:
    """What the list measures of the protocol need of the items; None without any."""
    if not protocol.beyond:
        return None
    measures = functions(ListMeasure)
    needed = any(measures[name].declaration.needs_features for name in protocol.beyond)
    features = item_features(shared.data) if needed else None
    return catalogue(shared.split, features)
