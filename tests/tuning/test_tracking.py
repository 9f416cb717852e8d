"""A study in MLflow, read back by MLflow's own client."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from experiments.config.schema import TrackingConfig
from experiments.tracking.store import connect

from .tuner import Tuner

ASKED = [
    *("model=bpr", "dataset=tiny", "model.epochs=10", "device=cpu", "progress=false"),
    *("study.sampler=random", "study.startup_trials=2", "study.warmup_epochs=2"),
    *("study.n_trials=6", "study.timeout=3600", "study.final_seeds=2"),
]


def overrides(folder: Path) -> list[str]:
    return [f"tracking.uri=sqlite:///{folder}/mlflow.db", f"tracking.artifacts={folder}/artifacts"]


def client_of(folder: Path) -> Any:
    return connect(TrackingConfig(uri=f"sqlite:///{folder}/mlflow.db")).client


def runs(client: Any, experiment: str, kind: str) -> list[Any]:
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(
        client.search_runs([found.experiment_id], f"tags.`paddock.kind` = '{kind}'", max_results=99)
    )


def check_trials(client: Any, tuner: Tuner) -> Any:
    """One child for each trial, with what the storage says; the parent is returned."""
    (parent,) = runs(client, "tiny/loo/hpo", "study")
    children = runs(client, "tiny/loo/hpo", "trial")
    by_number = {int(child.data.tags["paddock.trial"]): child for child in children}
    assert len(children) == len(by_number) == len(tuner.trials)
    for trial in tuner.trials:
        child = by_number[trial.number]
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.tags["paddock.state"] == trial.state.name.lower()
        assert child.info.status == "FINISHED"
        assert child.data.params == {name: str(value) for name, value in trial.params.items()}
        history = client.get_metric_history(child.info.run_id, "valid/full/ndcg_at_10")
        curve = {point.step: point.value for point in history}
        if trial.state is TrialState.COMPLETE:
            assert curve.pop(max(curve)) == pytest.approx(trial.value)
        else:
            assert child.data.metrics["pruned_epoch"] == trial.last_step
        assert curve == pytest.approx(trial.intermediate_values)
        # Every epoch is validated, so that the last one says how many there were.
        assert child.data.metrics["epochs"] == trial.last_step
        assert child.data.metrics["seconds"] == pytest.approx(trial.duration.total_seconds())
    return parent


def test_study_in_mlflow(tuner: Tuner, tmp_path: Path) -> None:
    tuner(*ASKED, *overrides(tmp_path))
    client = client_of(tmp_path)
    parent = check_trials(client, tuner)
    assert TrialState.PRUNED in {trial.state for trial in tuner.trials}
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["paddock.timeout"] == "3600.0"
    best = tuner.study.best_trial
    assert parent.data.metrics["valid/full/ndcg_at_10"] == pytest.approx(best.value)
    assert parent.data.tags["paddock.winner"] == str(best.number)
    (page,) = client.list_artifacts(parent.info.run_id)
    text = Path(client.download_artifacts(parent.info.run_id, page.path)).read_text()
    for title in ("Optimization history", "Parameter importances", "Parallel", "Slices"):
        assert title in text
    assert text.count('class="plotly-graph-div"') == 4
    assert "cdn.plot.ly" not in text.replace("plotlyServerURL", "")[:2000]
    # What a reader sees first: rounded values, a description of the study, a table of all studies.
    assert parent.data.tags["objective"] == f"{best.value:.4f}"
    ended = [trial.state for trial in tuner.trials]
    pruned = ended.count(TrialState.PRUNED)
    assert parent.data.tags["trials"] == f"6: {6 - pruned} complete, {pruned} pruned"
    note = parent.data.tags["mlflow.note.content"]
    assert f"Best: trial {best.number}, valid full NDCG@10 {best.value:.4f}" in note
    assert "python tune.py model=bpr" in note
    experiment = client.get_experiment_by_name("tiny/loo/hpo")
    row = f"| valid full NDCG@10 | {best.value:.4f} | {parent.data.tags['trials']} |"
    assert row in experiment.tags["mlflow.note.content"]
    views = {
        json.loads(value)["name"]: json.loads(json.loads(value)["state"])
        for key, value in experiment.tags.items()
        if key.startswith("mlflow.sharedViewState.")
    }
    assert list(views) == ["Studies", "Trials"]
    for kind, state in zip(("study", "trial"), views.values(), strict=True):
        found = client.search_runs([experiment.experiment_id], state["searchFilter"])
        assert {run.data.tags["paddock.kind"] for run in found} == {kind}
    # The final runs stand among all others, linked both ways.
    final = runs(client, "tiny/loo", "run")
    assert len(final) == 2
    assert {run.data.tags["paddock.study_run"] for run in final} == {parent.info.run_id}
    assert set(parent.data.tags["paddock.final_runs"].split(",")) == {r.info.run_id for r in final}


@pytest.mark.slow
def test_what_was_not_tracked_is_sent_later(tuner: Tuner, tmp_path: Path) -> None:
    tuner(*ASKED, "tracking=off")
    tuner(*ASKED, *overrides(tmp_path))
    check_trials(client_of(tmp_path), tuner)
    tuner(*ASKED, *overrides(tmp_path))
    check_trials(client_of(tmp_path), tuner)


def test_store_out_of_reach_stops_nothing(tuner: Tuner, tmp_path: Path) -> None:
    said = tuner(*ASKED, "study.n_trials=2", "tracking.uri=http://127.0.0.1:9")
    assert len(tuner.trials) == 2
    assert "The study is not shown in MLflow" in said
    assert "Every trial stays in its storage" in said
    assert (tmp_path / "conf/tuned/tiny/loo/bpr.yaml").exists()
    logging.getLogger("alembic").setLevel(logging.ERROR)
