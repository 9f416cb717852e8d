"""The very commands of deploy/compose.yaml, started by hand: a study of two workers."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
from optuna.trial import TrialState

from tests.tuning.postgres import Postgres, free_port

from .deployed import DEPLOY, ROOT, command, environment_file, services

TRIALS = 6
PASSWORD = "x-s3cr3t"
SHORT = ("model.epochs=15", "study.final_seeds=2", "model.stopping_step=0", "device=cpu")
"""Trials of some seconds on the tiny data set, so that none of the workers gets them all."""


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """The server as the image `postgres` makes it: a user, the first database, and databases.sql."""
    server = Postgres()
    server.start()
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE paddock LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE optuna OWNER paddock")
            rules = server.folder / "data" / "pg_hba.conf"
            asks = "host all paddock 127.0.0.1/32 scram-sha-256\n"
            rules.write_text(asks + rules.read_text())
            connection.execute("SELECT pg_reload_conf()")
        at = f"postgresql://paddock:{PASSWORD}@127.0.0.1:{server.port}/optuna"
        with psycopg.connect(at, autocommit=True) as connection:
            connection.execute((DEPLOY / "postgres" / "databases.sql").read_bytes())
        yield server
    finally:
        server.stop()


class Composed:
    """The services that are processes of ours, with the addresses of this machine."""

    def __init__(self, folder: Path, *, database: int) -> None:
        given = {"POSTGRES_PASSWORD": PASSWORD, "MODEL": "bpr", "DATASET": "tiny"}
        values = environment_file(DEPLOY / ".env.example") | given | {"TRIALS": str(TRIALS)}
        self.services = services(values)
        self.folder = folder
        self.port = free_port()
        self._addresses = {
            "@postgres/": f"@127.0.0.1:{database}/",
            "http://mlflow:5000": f"http://127.0.0.1:{self.port}",
            "=5000": f"={self.port}",
            ":5000": f":{self.port}",
            "0.0.0.0": "127.0.0.1",
            "s3://mlflow": str(folder / "artifacts"),
        }
        self._started: list[subprocess.Popen[bytes]] = []

    def here(self, word: str) -> str:
        for written, meant in self._addresses.items():
            word = word.replace(written, meant)
        return word

    def start(self, name: str, *more: str) -> "subprocess.Popen[bytes]":
        service = self.services[name]
        program, *words = [self.here(word) for word in command(service)]
        words = [str(ROOT / word) if word == "tune.py" else word for word in words]
        inherited = {"PATH", "HOME"} & set(os.environ)
        environment = {key: os.environ[key] for key in inherited} | service["environment"]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name(program)), *words, *more],
                cwd=self.folder,
                env={key: self.here(value) for key, value in environment.items()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def wait_until_healthy(self, name: str, process: "subprocess.Popen[bytes]") -> None:
        kind, program, *words = map(self.here, self.services[name]["healthcheck"]["test"])
        assert kind == "CMD"
        check = [str(Path(sys.executable).with_name(program)), *words]
        while subprocess.run(check, capture_output=True, check=False).returncode != 0:
            assert process.poll() is None, self.said(name)
            time.sleep(0.5)

    def stop(self) -> None:
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait()


@pytest.fixture
def composed(postgres: Postgres, tmp_path: Path) -> Iterator[Composed]:
    made = Composed(tmp_path, database=postgres.port)
    try:
        yield made
    finally:
        made.stop()


def answer(port: int, *, host: str) -> int:
    """The status with which MLflow answers who calls it by this name."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1",
        headers={"Host": host},
    )
    try:
        with urllib.request.urlopen(request) as found:
            return int(found.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_two_workers_finish_a_study(
    composed: Composed, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = composed.start("mlflow")
    composed.wait_until_healthy("mlflow", server)
    # By the name of its service, and by no other.
    assert answer(composed.port, host=f"mlflow:{composed.port}") == 200
    assert answer(composed.port, host="elsewhere.example.org") == 403

    tuners = {name: composed.start(name, *SHORT) for name in ("study", "worker")}
    for name, process in tuners.items():
        assert process.wait() == 0, composed.said(name)

    at = f"postgresql+psycopg://paddock:{PASSWORD}@127.0.0.1:{postgres.port}/optuna"
    (name,) = optuna.get_all_study_names(at)
    trials = optuna.load_study(study_name=name, storage=at).trials
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len(trials) == TRIALS
    assert {trial.user_attrs["worker"]["pid"] for trial in trials} == {
        process.pid for process in tuners.values()
    }

    runs = logged(f"http://127.0.0.1:{composed.port}", monkeypatch)
    kinds = [run.data.tags["paddock.kind"] for run in runs]
    assert (kinds.count("study"), kinds.count("trial")) == (1, TRIALS)
    seeds = [run for run in runs if run.data.tags.get("paddock.seed")]
    assert len(seeds) == 2
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert [*composed.folder.glob("artifacts/**/*.parquet")], "their files went through the server"
    assert (composed.folder / "runs" / "tuned" / "tiny" / "loo" / "bpr.yaml").is_file()
    for log in composed.folder.glob("*.log"):
        assert PASSWORD not in log.read_text(), log.name
    shutil.rmtree(composed.folder / "runs")


def logged(uri: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every run that MLflow holds."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri)
    ids = [each.experiment_id for each in client.search_experiments()]
    return list(client.search_runs(ids, max_results=1000))
