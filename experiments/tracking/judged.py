"""Answers and what a judge says of them as an evaluation of MLflow's: a trace an answer, an assessment a criterion."""

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.address import absolute, with_password
from experiments.config.schema import TrackingConfig
from experiments.tracking.store import Store
from experiments.tracking.traces import kept_in_talk

Answers = Sequence[tuple[str, str, Sequence[str]]]
"""Message, answer and evidence."""

Assess = Callable[[str, str, Sequence[str]], tuple[Mapping[str, int], str]]
"""Message, answer and evidence to the level by each criterion and why; no levels where there is no verdict."""


def track_judged(
    tracking: TrackingConfig,
    *,
    dataset: str,
    name: str,
    answers: Answers,
    assess: Assess,
    judge: str,
    tags: Mapping[str, str],
) -> str | None:
    """Evaluate answers by mlflow.genai with a judge of ours, as a run of the experiment <dataset>/talk.

    Parameters
    ----------
    tracking : TrackingConfig
    dataset : str
    name : str
        Of the run.
    answers : sequence of (message, answer, evidence)
    assess : callable
        The judge; it asks through our own client, so that keys and addresses are ours.
    judge : str
        Who judges, for the assessments' source.
    tags : mapping of str to str
        Are prefixed with `paddock.`.

    Returns
    -------
    str or None
        The MLflow run id; None where there is no store or it fails, which is warned of.
    """
    if not answers:
        return None
    named = {f"paddock.{key}": value for key, value in tags.items()}

    def keep(_: Store, experiment: str) -> str:
        return _evaluated(tracking, experiment, name, answers, assess, judge, named)

    return kept_in_talk(tracking, dataset, keep)


def _evaluated(
    tracking: TrackingConfig,
    experiment: str,
    name: str,
    answers: Answers,
    assess: Assess,
    judge: str,
    tags: Mapping[str, str],
) -> str:
    import mlflow
    from mlflow.entities import AssessmentSource, Feedback
    from mlflow.genai.scorers import scorer

    source = AssessmentSource(source_type="LLM_JUDGE", source_id=judge)

    @scorer(name="judge")
    def by_rubric(inputs: dict[str, Any], outputs: str) -> list[Feedback]:
        levels, why = assess(inputs["message"], outputs, inputs["evidence"])
        if not levels:
            return [Feedback(name="verdict", error=why, source=source)]
        return [
            Feedback(name=criterion, value=level, rationale=why, source=source)
            for criterion, level in levels.items()
        ]

    rows = [
        {"inputs": {"message": message, "evidence": [*evidence]}, "outputs": answer}
        for message, answer, evidence in answers
    ]
    mlflow.set_tracking_uri(absolute(with_password(str(tracking.uri))))
    # MLflow shows bars and instructions; what came of it is shown by who asked.
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        mlflow.start_run(experiment_id=experiment, run_name=name, tags=dict(tags)),
    ):
        made: str = mlflow.genai.evaluate(data=rows, scorers=[by_rubric]).run_id
    return made
