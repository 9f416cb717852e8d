"""A SQLite store per test, copied from one that holds the schema already."""

import shutil
from pathlib import Path

import pytest

from experiments.config.schema import TrackingConfig
from experiments.tracking.store import connect

from .mlflow_state import sqlite_tracking, without_fsync


@pytest.fixture(scope="session")
def fast_sqlite() -> None:
    without_fsync()


@pytest.fixture(scope="session")
def empty_store(fast_sqlite: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's schema, which takes seventy migrations to make."""
    folder = tmp_path_factory.mktemp("store")
    connect(sqlite_tracking(folder))
    return folder / "mlflow.db"


@pytest.fixture
def tracking(tmp_path: Path, empty_store: Path) -> TrackingConfig:
    """A store of the test's own."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return sqlite_tracking(tmp_path)
