"""The store that MLFLOW_TRACKING_URI names, as MLflow's users expect: real commands, real stores."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from experiments.config.compose import compose, typed
from experiments.config.schema import TrackingConfig
from experiments.runs.folder import RunFolder
from reports.errors import ReportError
from reports.options import Options, parse
from reports.read import read
from tests import fork_server

from .mlflow_server import PasswordGate, Server, free_port

ROOT = Path(__file__).parents[2]
URI = "MLFLOW_TRACKING_URI"
SECRET = "s3cret-Pa55"
TINY = f"dataset.source={ROOT / 'datasets' / 'tiny'}"
ASKED = ("model=bpr", "model.epochs=1", "dataset=tiny", TINY, "device=cpu", "progress=false")


class Commands:
    """Commands in a working folder of their own, each in a process of its own."""

    def __init__(self, folder: Path, data_dir: Path) -> None:
        self.folder, self.data_dir = folder, data_dir

    def run(self, *overrides: str, environment: str | None = None) -> str:
        """The output of run.py; both streams, whatever its exit code."""
        held = {} if environment is None else {URI: environment}
        done = fork_server.run(
            [sys.executable, str(ROOT / "run.py"), *overrides, f"data_dir={self.data_dir}"],
            cwd=self.folder,
            env=os.environ | held,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    @property
    def trained(self) -> RunFolder:
        (path,) = (self.folder / "runs").glob("*/*/*/seed-1")
        return RunFolder(path)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """One run, tracked nowhere."""
    commands = Commands(tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("data"))
    out = commands.run(*ASKED, "tracking=off")
    assert list((commands.folder / "runs").glob("*/*/*/seed-1/result.json")), out
    return commands


@pytest.fixture
def commands(first: Commands, tmp_path: Path) -> Commands:
    """The same run in a folder of the test's own."""
    shutil.copytree(first.folder / "runs", tmp_path / "work" / "runs")
    return Commands(tmp_path / "work", first.data_dir)


@pytest.fixture(scope="module")
def gate(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Iterator[tuple[PasswordGate, Server]]:
    """A real MLflow server behind a password."""
    server = Server(tmp_path_factory.mktemp("server"), store=empty_store)
    server.start()
    gate = PasswordGate(server.uri, user="me", password=SECRET)
    yield gate, server
    gate.close()
    server.kill()


def runs_in(uri: str) -> list[Any]:
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name("tiny/loo")
    if found is None:
        return []
    return list(client.search_runs([found.experiment_id], "tags.`paddock.kind` = 'run'"))


def test_a_sqlite_file_named_by_the_environment_gets_the_run(
    commands: Commands, tmp_path: Path, empty_store: Path
) -> None:
    shutil.copy(empty_store, tmp_path / "named.db")
    named = f"sqlite:///{tmp_path}/named.db"
    untracked = commands.trained.run
    shutil.rmtree(commands.folder / "runs")
    out = commands.run(*ASKED, environment=named)
    (run,) = runs_in(named)
    folder = commands.trained
    assert run.info.run_id == folder.published["run_id"]
    assert f"Dashboard: python -m paddock ui tracking.uri={named}" in out
    assert not list(commands.folder.rglob("*.db"))
    # The store is no part of what the run is.
    for key in ("config_hash", "command", "config"):
        assert folder.run[key] == untracked[key], key
    assert str(tmp_path / "named.db") not in (folder.path / "run.json").read_text()


def test_what_the_command_says_wins(commands: Commands, tmp_path: Path, empty_store: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    shutil.copy(empty_store, tmp_path / "said.db")
    said = f"sqlite:///{tmp_path}/said.db"
    assert "tracking.uri is null" in commands.run("mode=upload", "tracking=off", environment=nobody)
    out = commands.run("mode=upload", f"tracking.uri={said}", environment=nobody)
    assert "1 runs uploaded" in out
    assert f"Dashboard: python -m paddock ui tracking.uri={said}" in out
    (run,) = runs_in(said)
    stored = MlflowClient(tracking_uri=said).download_artifacts(run.info.run_id, "result.json")
    content = json.loads(Path(stored).read_text())
    assert content.pop("seal")
    assert content == commands.trained.result


def test_an_unset_or_empty_variable_means_the_file_in_the_working_folder(
    commands: Commands, empty_store: Path
) -> None:
    shutil.copy(empty_store, commands.folder / "mlflow.db")
    out = commands.run("mode=upload", environment="")
    assert "1 runs uploaded" in out
    assert "Dashboard: make ui" in out
    assert len(runs_in(f"sqlite:///{commands.folder}/mlflow.db")) == 1


def test_a_server_with_a_password_is_used_and_the_password_kept_nowhere(
    commands: Commands, gate: tuple[PasswordGate, Server], tmp_path: Path
) -> None:
    door, server = gate
    secret, shown = f"http://me:{SECRET}@{door.host}", f"http://me@{door.host}"
    wrong = f"http://me:{SECRET[::-1]}@{door.host}"

    refused = commands.run("mode=upload", environment=wrong)
    assert door.refused
    assert runs_in(server.uri) == []
    assert SECRET[::-1] not in refused
    assert f"The tracking store {shown} cannot be reached" in refused

    outputs = [commands.run("mode=upload", environment=secret)]
    assert "1 runs uploaded" in outputs[0]
    assert f"Dashboard: {shown}" in outputs[0]
    (run,) = runs_in(server.uri)
    folder = commands.trained
    assert folder.published["tracking_uri"] == shown

    # Another time the command itself names it with the password.
    (folder.path / "published.json").unlink()
    said = commands.run("mode=upload", f"tracking.uri={secret}")
    assert "1 runs uploaded" in said
    assert SECRET not in said

    # The address as it is shown, without its password, is the same store to a command.
    outputs.append(commands.run("mode=upload", f"tracking.uri={shown}", environment=secret))
    assert "0 runs uploaded, 1 were there before" in outputs[1]
    shutil.rmtree(commands.folder / "runs")
    reproduce = ("mode=reproduce", f"run_id={run.info.run_id}", "progress=false")
    outputs.append(commands.run(*reproduce, environment=secret))
    assert outputs[2].rstrip().endswith("reproduced"), outputs[2]
    outputs.append(commands.run(*ASKED, "--cfg", "job", "--resolve", environment=secret))
    assert f"uri: {shown}" in outputs[3]

    assert not any(SECRET in out for out in outputs)
    files = [p for p in (*commands.folder.rglob("*"), *server.folder.rglob("*")) if p.is_file()]
    assert any(path.name == "run.json" for path in files)
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_reports_read_the_same_store(
    commands: Commands,
    gate: tuple[PasswordGate, Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door, _ = gate
    secret, shown = f"http://me:{SECRET}@{door.host}", f"http://me@{door.host}"
    commands.run("mode=upload", environment=secret)
    monkeypatch.setenv(URI, secret)
    source = read(parse(["dataset=tiny"]))
    assert {run.model for run in source.runs} == {"bpr"}
    assert source.uri == shown
    assert parse(["tracking.uri=sqlite:///else.db"]).tracking_uri == "sqlite:///else.db"
    with pytest.raises(ReportError, match=r"else\.db"):
        read(parse(["dataset=tiny", "tracking.uri=sqlite:///else.db"]))
    monkeypatch.setenv(URI, f"http://me:{SECRET}@127.0.0.1:{free_port()}")
    with pytest.raises(ReportError, match="no answer") as caught:
        read(parse(["dataset=tiny"]))
    assert SECRET not in str(caught.value)
    monkeypatch.delenv(URI)
    assert parse([]).tracking_uri == Options.tracking_uri


@pytest.mark.parametrize("name", ["config", "tune"])
def test_every_command_composes_the_same_store(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.tuning.config import TuneConfig

    schemas: dict[str, Any] = {"config": {}, "tune": {"name": "tune", "schema": TuneConfig}}
    only_typed = {} if name == "config" else {"schema": TuneConfig}

    def uri(*overrides: str) -> str | None:
        composed = compose([*overrides], **schemas[name])
        return typed(composed, **only_typed).tracking.uri

    assert uri() == TrackingConfig.uri
    monkeypatch.setenv(URI, f"postgresql://me:{SECRET}@db:5432/mlflow?sslmode=require")
    assert uri() == uri("tracking=server") == "postgresql://me@db:5432/mlflow?sslmode=require"
    assert uri("tracking=off") is None
    assert uri("tracking.uri=sqlite:///mlflow.db") == "sqlite:///mlflow.db"
    assert SECRET not in str(compose([], **schemas[name]))
