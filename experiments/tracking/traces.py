"""Turns of conversations as MLflow's traces: a span a step, sessions, feedback as assessments.

MLflow's pages Traces and Sessions of the experiment <dataset>/talk then show conversations.
"""

import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from experiments.address import absolute, with_password
from experiments.config.schema import TrackingConfig
from experiments.tracking.store import Store, connect, find_or_create_experiment, reason

_log = logging.getLogger(__name__)

_KINDS = {"understand": "PARSER", "retrieve": "RETRIEVER", "rank": "RERANKER", "ask": "TOOL"}
"""Step -> MLflow's type of a span."""


class Traces:
    """The traces of one session.

    A store that does not answer is warned of once, and no turn fails for it.

    Parameters
    ----------
    tracking : TrackingConfig
        Without a `uri` nothing is logged.
    dataset : str
        Name of the data set.
    session : str, optional
        By default a fresh id.
    """

    def __init__(
        self, tracking: TrackingConfig, *, dataset: str, session: str | None = None
    ) -> None:
        self.session = session or uuid.uuid4().hex
        self._tracking = tracking
        self._dataset = dataset
        self._open: tuple[Any, str] | None = None
        self._failed = tracking.uri is None
        self._ids: dict[str, str] = {}

    def log(
        self, trace: Mapping[str, Any], *, message: str, words: str, state: Mapping[str, Any]
    ) -> str | None:
        """Log a turn.

        Parameters
        ----------
        trace : mapping
            Of `experiments.talk.turn.Turn`.
        message, words : str
            What was said and answered.
        state : mapping
            After the turn.

        Returns
        -------
        str or None
            MLflow's id of the trace; None where it was not logged.
        """
        return self._tried(lambda: self._log(trace, message, words, state))

    def assess(self, trace_id: str, *, item: str, kind: str) -> bool:
        """Log feedback on an item of a turn as an assessment of its trace.

        Parameters
        ----------
        trace_id : str
            The turn's own id.
        item : str
        kind : str
            "like" or "dislike".

        Returns
        -------
        bool
            Whether it was logged.
        """
        known = self._ids.get(trace_id)
        return known is not None and bool(self._tried(lambda: self._assess(known, item, kind)))

    def _tried(self, do: Any) -> Any:
        if self._failed:
            return None
        try:
            return do()
        except Exception as error:
            self._failed = True
            _log.warning("The conversation is not tracked: %s.", reason(error, self._tracking))
            return None

    def _mlflow(self) -> tuple[Any, str]:
        """MLflow, writing to the store, and the id of the experiment."""
        if self._open is None:
            store = connect(self._tracking)
            with store.guard():
                experiment = find_or_create_experiment(
                    store, dataset=self._dataset, protocol="talk"
                )
            import mlflow

            self._open = mlflow, experiment
        mlflow, experiment = self._open
        # Spans go where the process writes; another session may write elsewhere.
        mlflow.set_tracking_uri(absolute(with_password(str(self._tracking.uri))))
        return mlflow, experiment

    def _log(
        self, trace: Mapping[str, Any], message: str, words: str, state: Mapping[str, Any]
    ) -> str:
        mlflow, experiment = self._mlflow()
        origin = trace["origin"]
        spans = trace["spans"]
        began = _nanoseconds(spans[0]["at"])
        root = mlflow.start_span_no_context(
            "turn",
            span_type="AGENT",
            inputs={"message": message},
            attributes={
                "paddock.intent": trace["intent"],
                "paddock.rule": trace["rule"],
                "paddock.read_by": trace.get("read_by", "rules"),
            },
            tags={
                "paddock.llm": str(trace.get("model") or "none"),
                "paddock.trace_id": trace["id"],
                "paddock.run_id": str(origin.get("run_id") or ""),
                "paddock.model": str(origin.get("model") or ""),
                "paddock.dataset_hash": str(origin.get("data") or ""),
            },
            metadata={"mlflow.trace.session": self.session},
            experiment_id=experiment,
            start_time_ns=began,
        )
        end = began
        for step in spans:
            start = max(_nanoseconds(step["at"]), began)
            end = max(end, start + int(1e6 * step.get("milliseconds", 0.0)))
            span = mlflow.start_span_no_context(
                step["name"],
                span_type=_KINDS.get(step["name"], "CHAIN"),
                parent_span=root,
                inputs=step["input"],
                start_time_ns=start,
            )
            span.end(outputs=step["output"], end_time_ns=end)
        root.end(outputs={"words": words, "state": dict(state)}, end_time_ns=end)
        mlflow.flush_trace_async_logging()
        self._ids[trace["id"]] = root.trace_id
        made: str = root.trace_id
        return made

    def _assess(self, trace_id: str, item: str, kind: str) -> bool:
        from mlflow.entities import AssessmentSource

        mlflow, _ = self._mlflow()
        mlflow.log_feedback(
            trace_id=trace_id,
            name=kind,
            value=kind == "like",
            source=AssessmentSource(source_type="HUMAN", source_id=self.session),
            metadata={"item": item},
        )
        return True


def track_measures(
    tracking: TrackingConfig,
    *,
    dataset: str,
    name: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
) -> str | None:
    """Keep what was measured of conversations as a run of the experiment <dataset>/talk.

    Parameters
    ----------
    tracking : TrackingConfig
    dataset : str
    name : str
        Of the run.
    tags : mapping of str to str
        Are prefixed with `paddock.`.
    metrics : mapping of str to float

    Returns
    -------
    str or None
        The MLflow run id; None where there is no store or it fails, which is warned of.
    """
    named = {f"paddock.{key}": value for key, value in tags.items()}

    def keep(store: Store, experiment: str) -> str:
        run = store.client.create_run(
            experiment, tags={"paddock.kind": "talk-eval", **named}, run_name=name
        )
        for metric, value in metrics.items():
            store.client.log_metric(run.info.run_id, metric, value)
        store.client.set_terminated(run.info.run_id)
        made: str = run.info.run_id
        return made

    return kept_in_talk(tracking, dataset, keep)


def kept_in_talk(
    tracking: TrackingConfig, dataset: str, keep: Callable[[Store, str], str]
) -> str | None:
    """Keep something in the experiment <dataset>/talk.

    Parameters
    ----------
    tracking : TrackingConfig
    dataset : str
    keep : callable
        Is given the store and the experiment's id, and gives a run id.

    Returns
    -------
    str or None
        The run id; None where there is no store or it fails, which is warned of.
    """
    if tracking.uri is None:
        return None
    try:
        store = connect(tracking)
        with store.guard():
            experiment = find_or_create_experiment(store, dataset=dataset, protocol="talk")
        return keep(store, experiment)
    except Exception as error:
        _log.warning("The measures were not tracked: %s.", reason(error, tracking))
        return None


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
