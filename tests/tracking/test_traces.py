"""Turns as MLflow's traces, read back by MLflow's own client."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.config.schema import TrackingConfig
from experiments.tracking.traces import Traces
from tests.tracking.mlflow_state import client_of

AT = time.time() - 100


def turn(name: str = "a" * 32) -> dict[str, Any]:
    steps = [("understand", 2.0), ("rank", 5.5), ("say", 1.0)]
    spans, at = [], AT
    for step, milliseconds in steps:
        spans.append(
            {
                "name": step,
                "at": at,
                "input": {"of": step},
                "output": [step],
                "milliseconds": milliseconds,
            }
        )
        at += milliseconds / 1000
    origin = {"run_id": "r1", "model": "ease", "data": "d" * 64}
    return {"id": name, "intent": "recommend", "rule": "run", "origin": origin, "spans": spans}


@pytest.fixture(autouse=True)
def _own_address() -> Iterator[None]:
    """What MLflow writes to is put back."""
    import mlflow

    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)


def test_a_turn_is_a_trace(tracking: TrackingConfig) -> None:
    traces = Traces(tracking, dataset="tiny", session="s1")
    first = traces.log(turn(), message="hello", words="hi", state={"likes": ["i1"]})
    second = traces.log(turn("b" * 32), message="more", words="ok", state={})
    assert first is not None
    assert second is not None
    assert traces.assess("a" * 32, item="i1", kind="dislike")
    assert not traces.assess("c" * 32, item="i1", kind="like")
    client = client_of(tracking)
    experiment = client.get_experiment_by_name("tiny/talk")
    found = client.search_traces(locations=[experiment.experiment_id])
    assert {each.info.trace_id for each in found} == {first, second}
    assert {each.info.trace_metadata["mlflow.trace.session"] for each in found} == {"s1"}
    trace = client.get_trace(first)
    assert trace.info.tags["paddock.run_id"] == "r1"
    assert trace.info.tags["paddock.dataset_hash"] == "d" * 64
    root, *steps = trace.data.spans
    assert root.inputs == {"message": "hello"}
    assert root.outputs == {"words": "hi", "state": {"likes": ["i1"]}}
    assert [each.name for each in steps] == ["understand", "rank", "say"]
    assert steps[1].inputs == {"of": "rank"}
    assert (steps[1].end_time_ns - steps[1].start_time_ns) / 1e6 == pytest.approx(5.5, abs=0.1)
    assert {each.parent_id for each in steps} == {root.span_id}
    (feedback,) = trace.info.assessments
    assert (feedback.name, feedback.feedback.value) == ("dislike", False)
    assert feedback.metadata["item"] == "i1"
    assert feedback.source.source_id == "s1"


def test_a_store_that_is_away_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "other.db").write_text("no database\n" * 100)
    away = TrackingConfig(uri=f"sqlite:///{tmp_path / 'other.db'}")
    traces = Traces(away, dataset="tiny")
    with caplog.at_level(logging.WARNING):
        assert traces.log(turn(), message="a", words="b", state={}) is None
        assert traces.log(turn(), message="a", words="b", state={}) is None
    assert [each.message for each in caplog.records if "not tracked" in each.message][1:] == []
    assert "The conversation is not tracked" in caplog.text


def test_without_a_store_nothing_is_logged() -> None:
    traces = Traces(TrackingConfig(uri=None), dataset="tiny")
    assert traces.log(turn(), message="a", words="b", state={}) is None
