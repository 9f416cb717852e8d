"""MLflow stores for tests, and what they hold."""

import json
import sqlite3
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from experiments.config.schema import TrackingConfig
from experiments.runs.folder import RunFolder


def sqlite_tracking(folder: Path) -> TrackingConfig:
    return TrackingConfig(
        uri=f"sqlite:///{folder / 'mlflow.db'}", artifacts=str(folder / "artifacts")
    )


def without_fsync() -> None:
    """Let SQLite leave its writes to the system: no test store must survive a power cut."""
    from sqlalchemy import Engine, event

    @event.listens_for(Engine, "connect")
    def relax(connection: Any, _record: Any) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return  # another database's
        # A file that is no database is refused later, as without this.
        with suppress(sqlite3.DatabaseError):
            connection.execute("PRAGMA synchronous = OFF")


def client_of(tracking: TrackingConfig) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking.uri)


def runs_by_kind(
    tracking: TrackingConfig, experiment: str = "ml-100k/loo"
) -> tuple[list[Any], list[Any]]:
    """Parents, and children by seed."""
    client = client_of(tracking)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    parents = [run for run in found if run.data.tags["paddock.kind"] == "parent"]
    children = [run for run in found if run.data.tags["paddock.kind"] == "run"]
    return parents, sorted(children, key=lambda run: int(run.data.tags["paddock.seed"]))


def assert_mirrors(folder: RunFolder, tracking: TrackingConfig) -> None:
    """The child run holds what the folder holds: each value once, each file byte by byte."""
    client, run = client_of(tracking), folder.run
    child = client.get_run(folder.published["run_id"])
    assert child.info.status == "FINISHED"
    for key, moment in (("start_time", run["started"]), ("end_time", run["finished"])):
        assert getattr(child.info, key) == round(1000 * datetime.fromisoformat(moment).timestamp())
    (entered,) = child.inputs.dataset_inputs
    assert entered.dataset.name == run["dataset"]
    assert entered.dataset.digest == run["hashes"]["dataset"][:36]
    final = folder.result["metrics"]
    for name in set(final) | set(folder.curve[0]["metrics"]):
        history = client.get_metric_history(child.info.run_id, name)
        expected = [(r["step"], r["metrics"][name]) for r in folder.curve if name in r["metrics"]]
        if name in final:
            expected.append((folder.curve[-1]["step"] + 1, final[name]))
            assert child.data.metrics[name] == final[name]
        assert sorted((point.step, point.value) for point in history) == expected
    for phase, cost in folder.result["phases"].items():
        assert child.data.metrics[f"time/{phase}_seconds"] == cost["seconds"]
        assert child.data.metrics[f"memory/{phase}_peak_mb"] == cost["peak_memory_mb"]
    for name in ("config.yaml", "run.json", "result.json", "per_user.parquet"):
        assert_same_file(client, child, folder.path / name, name)
    for name in ("model.safetensors", "model.json"):
        assert_same_file(client, child, folder.path / "model" / name, f"model/{name}")


def assert_same_file(client: Any, child: Any, source: Path, name: str) -> None:
    assert Path(client.download_artifacts(child.info.run_id, name)).read_bytes() == (
        source.read_bytes()
    )


def snapshot(tracking: TrackingConfig) -> str:
    """All runs with every history, as text."""
    client = client_of(tracking)
    parents, children = runs_by_kind(tracking)
    state = [
        (
            run.info.run_id,
            run.info.status,
            run.info.start_time,
            run.info.end_time,
            sorted(run.data.tags.items()),
            sorted(run.data.params.items()),
            [
                (
                    name,
                    [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)],
                )
                for name in sorted(run.data.metrics)
            ],
        )
        for run in parents + children
    ]
    return json.dumps(state, indent=1)
