import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Barrier
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from experiments.config.schema import TrackingConfig
from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder
from experiments.tracking import Tracker, Uploads, publish, ui_command, upload_pending
from tests.runs.run_folders import begin_run, end_run, epoch_record, make_run

from .mlflow_server import Server, free_port
from .mlflow_state import assert_mirrors, runs_by_kind


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_store):
    server = Server(tmp_path_factory.mktemp("server"), store=empty_store)
    server.start()
    yield server
    server.kill()


def test_seeds_that_start_and_finish_at_once_share_one_parent(server, tmp_path):
    tracking = TrackingConfig(uri=server.uri)
    seeds = (1, 2, 3, 4)
    gate = Barrier(len(seeds))
    folders = [begin_run(tmp_path / "runs", seed=seed, dataset="race") for seed in seeds]

    def train(folder: RunFolder) -> str | None:
        tracker = Tracker(tracking, folder, flush_seconds=0)
        gate.wait()
        tracker.start()
        for step in range(3):
            folder.append_epoch(epoch_record(folder.run["seed"], step))
            tracker.epoch(epoch_record(folder.run["seed"], step))
        end_run(folder)
        gate.wait()
        return tracker.finish()

    with ThreadPoolExecutor(len(seeds)) as pool:
        assert None not in list(pool.map(train, folders))
    (parent,), children = runs_by_kind(tracking, "race/loo")
    assert [child.data.tags["paddock.seed"] for child in children] == ["1", "2", "3", "4"]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert parent.data.tags["paddock.seeds"] == "1,2,3,4"
    values = [folder.result["metrics"]["test/full/hit_at_10"] for folder in folders]
    assert parent.data.metrics["test/full/hit_at_10"] == pytest.approx(np.mean(values))
    assert_mirrors(folders[0], tracking)


@contextmanager
def refused_rows(server: Server) -> Iterator[Callable[[], None]]:
    """The server's database refuses a run's note, as of a row that another client just wrote.

    What is given lets it through.
    """

    def execute(statement: str) -> None:
        with closing(sqlite3.connect(server.folder / "server.db", timeout=30)) as database:
            database.execute(statement)
            database.commit()

    execute(
        "CREATE TRIGGER refused BEFORE INSERT ON tags WHEN NEW.key = 'mlflow.note.content' BEGIN "
        "SELECT RAISE(ABORT, 'UNIQUE constraint failed: tags.key, tags.run_uuid'); END"
    )
    try:
        yield lambda: execute("DROP TRIGGER IF EXISTS refused")
    finally:
        execute("DROP TRIGGER IF EXISTS refused")


def test_a_row_that_another_client_wrote_first_is_no_failure(server, tmp_path, caplog, monkeypatch):
    tracking = TrackingConfig(uri=server.uri)
    folder = make_run(tmp_path / "runs", seed=1, dataset="contended")
    with refused_rows(server) as let_through:
        assert publish(folder, tracking) is None, "it is refused for good"
        assert "UNIQUE constraint failed" in caplog.text
        assert folder.published == {}
        caplog.clear()
        clock = SimpleNamespace(sleep=lambda seconds: let_through())
        monkeypatch.setattr("experiments.tracking.store.time", clock)
        assert publish(folder, tracking) is not None
    assert "not uploaded" not in caplog.text
    assert_mirrors(folder, tracking)
    (parent,), _ = runs_by_kind(tracking, "contended/loo")
    assert parent.data.tags["paddock.seeds"] == "1"


def test_a_server_that_dies_midway_gets_the_runs_later(server, tmp_path, caplog, monkeypatch):
    # A refused connection is refused again: no need to wait in between.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracking = TrackingConfig(uri=server.uri)
    runs_dir = tmp_path / "runs"
    assert ui_command(tracking) == server.uri

    # While it answers, all is as with a file.
    folder = make_run(runs_dir, seed=1)
    assert publish(folder, tracking) is not None
    assert publish(folder, tracking) == folder.published["run_id"]
    assert_mirrors(folder, tracking)
    assert (server.folder / "server-artifacts").is_dir()

    running = begin_run(runs_dir, seed=2)
    tracker = Tracker(tracking, running, flush_seconds=0)
    tracker.start()
    for step in range(4):
        if step == 2:
            server.kill()
        running.append_epoch(epoch_record(2, step))
        tracker.epoch(epoch_record(2, step))
    end_run(running)
    assert tracker.finish() is None
    assert running.finished
    assert running.published == {}
    assert len(caplog.records) == 2
    command = f"python run.py mode=upload runs_dir={runs_dir} tracking.uri={server.uri}"
    assert caplog.records[1].getMessage().endswith(command)
    with pytest.raises(PaddockError, match=server.uri):
        upload_pending(runs_dir, tracking)

    server.start()
    uploads = upload_pending(runs_dir, tracking, console=Console(quiet=True))
    assert uploads == Uploads(uploaded=1, failed=0, already=1)
    assert_mirrors(running, tracking)
    (parent,), children = runs_by_kind(tracking)
    assert len(children) == 2
    assert running.published["run_id"] == children[1].info.run_id
    assert parent.data.tags["paddock.seeds"] == "1,2"


def test_an_unreachable_server_costs_a_warning(tmp_path, caplog):
    tracking = TrackingConfig(uri=f"http://127.0.0.1:{free_port()}")
    folder = begin_run(tmp_path / "runs")
    begun = time.perf_counter()
    tracker = Tracker(tracking, folder)
    tracker.start()
    assert not tracker.online
    for step in range(3):
        folder.append_epoch(epoch_record(1, step))
        tracker.epoch(epoch_record(1, step))
    end_run(folder)
    assert tracker.finish() is None
    assert tracker.seconds <= time.perf_counter() - begun
    assert folder.finished
    assert folder.published == {}
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert f"no answer from {tracking.uri}" in caplog.records[0].getMessage()
    assert f"tracking.uri={tracking.uri}" in caplog.records[1].getMessage()
