import logging
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.config.compose import compose, typed
from experiments.config.schema import TrackingConfig
from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder
from experiments.tracking import publish, ui_command
from experiments.tracking.store import reach
from tests import fork_server
from tests.runs.run_folders import begin_run, end_run, make_run, result_of, train

from .mlflow_state import assert_mirrors, runs_by_kind, sqlite_tracking, without_fsync

ROOT = Path(__file__).parents[2]


def test_importing_the_tracker_imports_neither_mlflow_nor_torch():
    code = (
        "import sys, experiments.tracking, experiments.runs.leaderboard;"
        "sys.exit(' '.join({'mlflow', 'torch'} & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def start_and_publish(runs_dir: str, place: str, seed: int) -> None:
    without_fsync()
    tracking = sqlite_tracking(Path(place))
    folder = begin_run(Path(runs_dir), seed=seed)
    train(folder, tracking, epochs=range(2))
    end_run(folder)
    assert publish(folder, tracking) is not None


def test_four_processes_at_once_on_a_store_that_does_not_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    workers = [
        fork_server.call(start_and_publish, str(tmp_path / "runs"), str(tmp_path), seed)
        for seed in (1, 2, 3, 4)
    ]
    assert [worker.wait() for worker in workers] == [0, 0, 0, 0]
    tracking = sqlite_tracking(tmp_path)
    (parent,), children = runs_by_kind(tracking)
    assert [child.data.tags["paddock.seed"] for child in children] == ["1", "2", "3", "4"]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert parent.data.tags["paddock.seeds"] == "1,2,3,4"
    values = [result_of(seed)["metrics"]["test/full/hit_at_10"] for seed in (1, 2, 3, 4)]
    assert parent.data.metrics["test/full/hit_at_10"] == pytest.approx(np.mean(values))
    for folder in (tmp_path / "runs").glob("*/*/*/*"):
        assert_mirrors(RunFolder(folder), tracking)


def test_the_default_store_is_the_file_in_the_working_folder(
    fast_sqlite, tmp_path, monkeypatch, capfd
):
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
    assert ui_command(TrackingConfig()) == "make ui"
    assert ui_command(TrackingConfig(uri="http://me:secret@host:5000")) == "http://me@host:5000"
    assert ui_command(TrackingConfig(uri=None)) == "python run.py mode=leaderboard"
    # A shell and Hydra read the address back as it is, without its password.
    addresses = {
        "sqlite:///other.db": "sqlite:///other.db",
        "sqlite:////a place/it.db?timeout=3": "sqlite:////a place/it.db?timeout=3",
        "postgresql://me:secret@host/db": "postgresql://me@host/db",
    }
    for uri, shown in addresses.items():
        python, *module, keys = shlex.split(ui_command(TrackingConfig(uri=uri)))
        assert (python, *module) == ("python", "-m", "paddock", "ui")
        assert typed(compose([keys])).tracking.uri == shown


def test_the_default_store_is_named_where_the_environment_names_another(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    named = "python -m paddock ui tracking.uri=sqlite:///mlflow.db"
    assert ui_command(TrackingConfig()) == named


def test_the_configurations_fit_the_schema(monkeypatch):
    def load(name: str) -> TrackingConfig:
        return typed(compose([f"tracking={name}"])).tracking

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert load("local") == TrackingConfig()
    assert load("off").uri is None
    with pytest.raises(PaddockError, match="MLFLOW_TRACKING_URI"):
        load("server")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert load("server").uri == load("local").uri == "http://127.0.0.1:5000"


def test_a_file_that_is_no_database_is_refused_at_once(tmp_path):
    (tmp_path / "notes.db").write_text("not a database, but long enough to be read as its header")
    tracking = TrackingConfig(uri=f"sqlite:///{tmp_path / 'notes.db'}")
    with pytest.raises(PaddockError, match=r"cannot be reached: file is not a database"):
        reach(tracking)
