import logging
import multiprocessing
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError
from rich.console import Console
from tracking_helpers import (
    assert_mirrors,
    begin_run,
    client_of,
    end_run,
    epoch_record,
    make_run,
    result_of,
    runs_by_kind,
    snapshot,
    sqlite_tracking,
)

from experiments.config import TrackingConfig
from experiments.errors import PaddockError
from experiments.run_folder import RunFolder
from experiments.track import Tracker, Uploads, publish, ui_command, upload_pending

ROOT = Path(__file__).parents[2]


def train(
    folder: RunFolder, tracking: TrackingConfig, *, epochs: range, tracker: Tracker | None = None
) -> Tracker:
    """Epochs with every one sent at once."""
    if tracker is None:
        tracker = Tracker(tracking, folder, flush_seconds=0)
        tracker.start()
    for step in epochs:
        record = epoch_record(folder.run["seed"], step)
        folder.append_epoch(record)
        tracker.epoch(record)
    return tracker


def test_importing_the_tracker_does_not_import_mlflow():
    code = (
        "import sys, experiments.track, experiments.leaderboard; sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_published_run_mirrors_its_folder(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    folder = make_run(tmp_path / "runs", seed=3, dirty=True)
    run_id = publish(folder, tracking)
    assert_mirrors(folder, tracking)
    (parent,), (child,) = runs_by_kind(tracking)
    assert child.info.run_id == run_id == folder.published["run_id"]
    assert folder.published["tracking_uri"] == tracking.uri
    assert folder.published["parent_run_id"] == parent.info.run_id
    assert folder.published["experiment_id"] == child.info.experiment_id
    assert child.info.run_name == "sasrec seed 3"
    assert parent.info.run_name == "sasrec"
    expected = {
        "mlflow.parentRunId": parent.info.run_id,
        "mlflow.source.git.commit": "a" * 40,
        "paddock.kind": "run",
        "paddock.seed": "3",
        "paddock.config_hash": folder.run["config_hash"],
        "paddock.command": folder.run["command"],
        "paddock.model": "SASREC",
        "paddock.dirty": "true",
        "paddock.dataset_hash": "d" * 64,
        "paddock.split_hash": "5" * 64,
        "paddock.candidates_c20_hash": "c" * 64,
        "purpose": "test",
    }
    assert expected.items() <= child.data.tags.items()
    params = child.data.params
    assert params["model.learning_rate"] == "0.001"
    assert params["dataset.filters.min_rating"] == "null"
    assert params["protocol.rankings.full.cutoffs"] == "[1, 5, 10]"
    assert params["model.note"] == "x" * 6000
    assert "tracking.uri" not in params
    assert "seed" not in parent.data.params
    assert child.data.metrics["params_trained"] == 12345


def test_publishing_twice_changes_nothing(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    folder = make_run(tmp_path / "runs")
    first, before = publish(folder, tracking), snapshot(tracking)
    assert publish(folder, tracking) == first
    (folder.path / "published.json").unlink()
    (folder.path / "tracking.json").unlink()
    assert publish(folder, tracking) == first
    assert snapshot(tracking) == before


def test_a_long_curve_and_many_params_pass_mlflows_limits(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    folder = make_run(tmp_path / "runs", epochs=90)
    config = folder.run["config"]
    config["model"] |= {f"p{i}": i for i in range(250)} | {"odd key!": None}
    folder.update(config=config)
    publish(folder, tracking)
    assert_mirrors(folder, tracking)
    _, (child,) = runs_by_kind(tracking)
    assert child.data.params["model.p249"] == "249"
    assert child.data.params["model.odd key_"] == "null"


def test_the_parent_holds_mean_and_sample_deviation(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    folders = [make_run(tmp_path / "runs", seed=seed) for seed in (1, 2, 10)]
    publish(folders[0], tracking)
    (parent,), _ = runs_by_kind(tracking)
    name = "test/full/ndcg_at_10"
    assert parent.data.metrics["seeds"] == 1
    assert parent.data.metrics[name] == result_of(1)["metrics"][name]
    assert f"{name}_std" not in parent.data.metrics
    publish(folders[1], tracking)
    publish(folders[2], tracking)
    # A seed that still runs does not count.
    Tracker(tracking, begin_run(tmp_path / "runs", seed=11)).start()
    (parent,), children = runs_by_kind(tracking)
    assert len(children) == 4
    assert parent.info.status == "FINISHED"
    assert parent.info.end_time >= parent.info.start_time
    assert parent.data.tags["paddock.seeds"] == "1,2,10"
    assert parent.data.metrics["seeds"] == 3
    results = [folder.result for folder in folders]
    for metric in results[0]["metrics"]:
        values = [result["metrics"][metric] for result in results]
        assert parent.data.metrics[metric] == pytest.approx(np.mean(values), rel=1e-12)
        assert parent.data.metrics[f"{metric}_std"] == pytest.approx(np.std(values, ddof=1))
    assert parent.data.metrics["time/train_seconds"] == pytest.approx(np.mean([11, 12, 20]))
    assert "train/loss" not in parent.data.metrics


def test_live_logging_and_publishing_log_each_value_once(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    folder = begin_run(tmp_path / "runs")
    tracker = train(folder, tracking, epochs=range(3))
    _, (child,) = runs_by_kind(tracking)
    assert child.info.status == "RUNNING"
    history = client_of(tracking).get_metric_history(child.info.run_id, "train/loss")
    assert [point.step for point in history] == [0, 1, 2]
    assert folder.tracking["run_id"] == child.info.run_id
    # These two wait for the next flush, and the end comes first.
    tracker.flush_seconds = 3600
    train(folder, tracking, epochs=range(3, 5), tracker=tracker)
    end_run(folder)
    assert tracker.finish() == child.info.run_id
    assert_mirrors(folder, tracking)
    assert tracker.seconds > 0


def test_a_killed_run_goes_on_in_the_same_mlflow_run(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    folder = begin_run(tmp_path / "runs")
    train(folder, tracking, epochs=range(4))
    # The last checkpoint was written after step 1.
    folder.truncate_curve(1)
    resumed = RunFolder(folder.path)
    tracker = train(resumed, tracking, epochs=range(2, 6))
    end_run(resumed)
    tracker.finish()
    parents, children = runs_by_kind(tracking)
    assert (len(parents), len(children)) == (1, 1)
    assert_mirrors(resumed, tracking)


def test_a_failed_run_is_shown_as_failed_and_goes_on(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    folder = begin_run(tmp_path / "runs")
    train(folder, tracking, epochs=range(2)).fail()
    _, (child,) = runs_by_kind(tracking)
    assert child.info.status == "FAILED"
    tracker = train(folder, tracking, epochs=range(2, 3))
    _, (child,) = runs_by_kind(tracking)
    assert child.info.status == "RUNNING"
    end_run(folder)
    tracker.finish()
    assert_mirrors(folder, tracking)


def test_a_resumed_run_that_took_another_course_replaces_what_was_shown(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    folder = begin_run(tmp_path / "runs")
    train(folder, tracking, epochs=range(4))
    folder.truncate_curve(1)
    tracker = Tracker(tracking, folder, flush_seconds=0)
    tracker.start()
    for step in (2, 3):
        record = epoch_record(99, step)
        folder.append_epoch(record)
        tracker.epoch(record)
    end_run(folder)
    tracker.finish()
    parents, children = runs_by_kind(tracking)
    assert (len(parents), len(children)) == (1, 1)
    assert_mirrors(folder, tracking)


def test_a_forced_repetition_replaces_the_seed(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    first = publish(make_run(tmp_path / "runs", seed=1), tracking)
    publish(make_run(tmp_path / "runs", seed=2), tracking)
    folder = make_run(tmp_path / "runs", seed=1, result=result_of(77))
    second = publish(folder, tracking)
    assert second != first
    (parent,), children = runs_by_kind(tracking)
    assert [child.data.tags["paddock.seed"] for child in children] == ["1", "2"]
    assert_mirrors(folder, tracking)
    name = "test/c20/hit_at_1"
    values = [result_of(77)["metrics"][name], result_of(2)["metrics"][name]]
    assert parent.data.metrics[name] == pytest.approx(np.mean(values))


def test_a_repetition_on_another_node_of_a_cluster_replaces_the_seed(tmp_path, monkeypatch):
    tracking = sqlite_tracking(tmp_path)
    for seed, node in ((77, "node-1"), (78, "node-2"), (79, "node-3")):
        monkeypatch.setattr("socket.gethostname", lambda node=node: node)
        folder = make_run(tmp_path / "runs", seed=1, result=result_of(seed))
        if seed != 78:
            publish(folder, tracking)
    (parent,), children = runs_by_kind(tracking)
    assert len(children) == 1
    assert_mirrors(folder, tracking)
    name = "test/c20/hit_at_1"
    assert parent.data.metrics[name] == result_of(79)["metrics"][name]


def test_the_same_seed_from_two_machines_counts_once(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    publish(make_run(tmp_path / "mine", seed=1), tracking)
    publish(make_run(tmp_path / "yours", seed=1, result=result_of(77)), tracking)
    (parent,), children = runs_by_kind(tracking)
    assert len(children) == 2
    assert parent.data.metrics["seeds"] == 1
    name = "test/c20/hit_at_1"
    assert parent.data.metrics[name] == result_of(1)["metrics"][name]


def test_values_that_are_not_finite_survive_publishing_twice(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    folder = begin_run(tmp_path / "runs")
    losses = {"train/loss": float("nan"), "train/norm": float("inf")}
    folder.append_epoch({"stage": "a", "epoch": 0, "step": 0, "seconds": 1.0, "metrics": losses})
    end_run(folder)
    assert publish(folder, tracking) is not None
    before = snapshot(tracking)
    publish(folder, tracking)
    assert snapshot(tracking) == before


def test_a_run_deleted_in_the_dashboard_is_made_again(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    folder = make_run(tmp_path / "runs")
    client_of(tracking).delete_run(publish(folder, tracking))
    publish(folder, tracking)
    assert_mirrors(folder, tracking)


def test_a_deleted_experiment_is_named_with_the_way_back(tmp_path, caplog):
    tracking = sqlite_tracking(tmp_path)
    folder = make_run(tmp_path / "runs")
    publish(folder, tracking)
    client_of(tracking).delete_experiment(folder.published["experiment_id"])
    assert publish(folder, tracking) is None
    assert "mlflow experiments restore -x 1" in caplog.text


def start_and_publish(runs_dir: str, place: str, seed: int) -> None:
    tracking = sqlite_tracking(Path(place))
    folder = begin_run(Path(runs_dir), seed=seed)
    train(folder, tracking, epochs=range(2))
    end_run(folder)
    assert publish(folder, tracking) is not None


def test_four_processes_at_once_on_a_store_that_does_not_exist(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(
            target=start_and_publish, args=(str(tmp_path / "runs"), str(tmp_path), seed)
        )
        for seed in (1, 2, 3, 4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    tracking = sqlite_tracking(tmp_path)
    (parent,), children = runs_by_kind(tracking)
    assert [child.data.tags["paddock.seed"] for child in children] == ["1", "2", "3", "4"]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert parent.data.tags["paddock.seeds"] == "1,2,3,4"
    values = [result_of(seed)["metrics"]["test/full/hit_at_10"] for seed in (1, 2, 3, 4)]
    assert parent.data.metrics["test/full/hit_at_10"] == pytest.approx(np.mean(values))
    for folder in (tmp_path / "runs").glob("*/*/*/*"):
        assert_mirrors(RunFolder(folder), tracking)


def test_pending_runs_are_uploaded_once(tmp_path):
    tracking = sqlite_tracking(tmp_path)
    runs_dir = tmp_path / "runs"
    publish(make_run(runs_dir, seed=1), tracking)
    late = [make_run(runs_dir, seed=2), make_run(runs_dir, model="pop")]
    begin_run(runs_dir, seed=3)
    quiet = Console(quiet=True)
    assert upload_pending(runs_dir, tracking, console=quiet) == Uploads(2, 0, 1)
    assert upload_pending(runs_dir, tracking, console=quiet) == Uploads(0, 0, 3)
    for folder in late:
        assert_mirrors(folder, tracking)
    # Another store has not seen them.
    other = sqlite_tracking(tmp_path / "other")
    assert upload_pending(runs_dir, other, console=quiet) == Uploads(3, 0, 0)


def test_a_broken_folder_does_not_hold_up_the_others(tmp_path, caplog):
    tracking = sqlite_tracking(tmp_path)
    broken = make_run(tmp_path / "runs", seed=1)
    (broken.path / "result.json").write_text("{")
    good = make_run(tmp_path / "runs", seed=2)
    uploads = upload_pending(tmp_path / "runs", tracking, console=Console(quiet=True))
    assert uploads == Uploads(1, 1, 0)
    assert "result.json is not valid JSON" in caplog.text
    assert_mirrors(good, tracking)


def test_a_store_out_of_order_is_named(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is no database, and long enough to be seen as none")
    make_run(tmp_path / "runs")
    with pytest.raises(PaddockError, match=re.escape(str(tmp_path / "mlflow.db"))):
        upload_pending(tmp_path / "runs", sqlite_tracking(tmp_path))
    with pytest.raises(PaddockError, match=r"tracking\.uri is null"):
        upload_pending(tmp_path / "runs", TrackingConfig(uri=None))


def test_without_a_store_nothing_is_sent_or_said(tmp_path, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracking = TrackingConfig(uri=None)
    folder = begin_run(tmp_path / "runs")
    tracker = train(folder, tracking, epochs=range(2))
    end_run(folder)
    assert tracker.finish() is None
    assert publish(folder, tracking) is None
    assert folder.published == folder.tracking == {}
    assert caplog.text == ""
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_the_default_store_is_the_file_in_the_working_folder(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("mlflow"), "level", logging.CRITICAL)
    folder = make_run(Path("runs"))
    publish(folder, TrackingConfig())
    assert folder.published["tracking_uri"] == f"sqlite:///{tmp_path}/mlflow.db"
    stored = tmp_path / "mlartifacts/ml-100k/loo" / folder.published["run_id"] / "artifacts"
    assert sorted(path.name for path in stored.iterdir()) == [
        "config.yaml",
        "model",
        "per_user.parquet",
        "result.json",
        "run.json",
    ]
    # Neither migrations nor links to runs are printed.
    assert capfd.readouterr() == ("", "")


def test_the_dashboard_is_opened_by():
    assert ui_command(TrackingConfig()) == "mlflow ui --backend-store-uri sqlite:///mlflow.db"
    assert ui_command(TrackingConfig(uri="http://me:secret@host:5000")) == "http://me@host:5000"
    assert ui_command(TrackingConfig(uri=None)) == "python run.py mode=leaderboard"


def test_the_configurations_fit_the_schema(monkeypatch):
    def load(name: str) -> TrackingConfig:
        loaded = OmegaConf.load(ROOT / "conf" / "tracking" / f"{name}.yaml")
        return OmegaConf.merge(OmegaConf.structured(TrackingConfig), loaded)

    assert load("local") == OmegaConf.structured(TrackingConfig)
    assert load("off").uri is None
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InterpolationResolutionError, match="MLFLOW_TRACKING_URI"):
        _ = load("server").uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert load("server").uri == "http://127.0.0.1:5000"
