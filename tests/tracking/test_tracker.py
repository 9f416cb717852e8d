from experiments.config.schema import TrackingConfig
from experiments.runs.folder import RunFolder
from experiments.tracking import Tracker, publish
from tests.runs.run_folders import begin_run, end_run, epoch_record, train

from .mlflow_state import assert_mirrors, client_of, runs_by_kind


def test_live_logging_and_publishing_log_each_value_once(tracking, tmp_path):
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


def test_a_killed_run_goes_on_in_the_same_mlflow_run(tracking, tmp_path):
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


def test_a_failed_run_is_shown_as_failed_and_goes_on(tracking, tmp_path):
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


def test_a_resumed_run_that_took_another_course_replaces_what_was_shown(tracking, tmp_path):
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
