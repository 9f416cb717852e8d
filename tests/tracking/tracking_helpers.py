"""Run folders as training leaves them, and an MLflow server of one's own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments.config import TrackingConfig
from experiments.files import hash_of, write_json
from experiments.run_folder import RunFolder, run_path

METRICS = [f"{m}_at_{k}" for m in ("hit", "ndcg") for k in (1, 5, 10)]
HASHES = {"dataset": "d" * 64, "split": "5" * 64, "candidates_c20": "c" * 64}


def begin_run(
    runs_dir: Path,
    *,
    seed: int = 1,
    model: str = "sasrec",
    lr: float = 0.001,
    dataset: str = "ml-100k",
    hashes: dict[str, str] | None = None,
    dirty: bool = False,
) -> RunFolder:
    config = {
        "seed": seed,
        "device": "cpu",
        "dataset": {"name": dataset, "filters": {"min_rating": None}},
        "protocol": {
            "name": "loo",
            "rankings": {"full": {"cutoffs": [1, 5, 10]}, "c20": {"candidates": 20}},
            "valid_metric": "full/ndcg_at_10",
        },
        "model": {"name": model.upper(), "learning_rate": lr, "note": "x" * 7000},
        "tracking": {"uri": "sqlite:///mlflow.db"},
    }
    config_hash = hash_of([model, lr, dataset])
    path = run_path(
        runs_dir,
        dataset=dataset,
        protocol="loo",
        model_key=model,
        config_hash=config_hash,
        seed=seed,
    )
    run = {
        "dataset": dataset,
        "protocol": "loo",
        "model": model.upper(),
        "model_key": model,
        "config_hash": config_hash,
        "seed": seed,
        "command": f"python run.py model={model} dataset={dataset} seed={seed}",
        "config": config,
        "hashes": hashes or HASHES,
        "git": {"commit": "a" * 40, "dirty": dirty, "diff": "--- a\n+++ b\n" if dirty else ""},
        "packages": {"torch": "2.9.0"},
        "host": {"name": "laptop", "cores": 8},
        "tags": {"purpose": "test"},
    }
    return RunFolder.create(path, run)


def epoch_record(seed: int, step: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, step])
    names = [f"valid/{ranking}/{metric}" for ranking in ("full", "c20") for metric in METRICS]
    metrics = {"train/loss": 1 / (step + 1)} | {name: float(rng.random()) for name in names}
    return {"stage": "main", "epoch": step, "step": step, "seconds": 0.5, "metrics": metrics}


def result_of(seed: int, lr: float = 0.001) -> dict[str, Any]:
    rng = np.random.default_rng([seed, round(lr * 1e6)])
    names = [f"{ranking}/{metric}" for ranking in ("full", "c20") for metric in METRICS]
    metrics = {f"{phase}/{n}": float(rng.random()) for phase in ("test", "valid") for n in names}
    phases = {
        "prepare": {"seconds": 0.25, "peak_memory_mb": 100.0},
        "train": {"seconds": 10.0 + seed, "peak_memory_mb": 200.0 + seed},
    }
    return {"metrics": metrics, "phases": phases, "best_epoch": 1}


def end_run(folder: RunFolder, *, result: dict[str, Any] | None = None) -> None:
    seed = folder.run["seed"]
    users = np.arange(1, 101)
    scores = np.random.default_rng(seed).random(100)
    pl.DataFrame({"user": users, "ndcg": scores}).write_parquet(folder.path / "per_user.parquet")
    (folder.path / "config.yaml").write_text(f"seed: {seed}\n")
    (folder.path / "model").mkdir(exist_ok=True)
    (folder.path / "model" / "model.safetensors").write_bytes(os.urandom(10_000))
    write_json(folder.path / "model" / "model.json", {"n_items": 100})
    folder.update(params_trained=12345)
    folder.finish(result or result_of(seed, folder.run["config"]["model"]["learning_rate"]))


def make_run(
    runs_dir: Path, *, epochs: int = 3, result: dict[str, Any] | None = None, **options: Any
) -> RunFolder:
    """A finished run folder. Its clock says that the epochs took the time they claim."""
    folder = begin_run(runs_dir, **options)
    for step in range(epochs):
        folder.append_epoch(epoch_record(folder.run["seed"], step))
    end_run(folder, result=result)
    ended = datetime.fromisoformat(folder.run["started"]) + timedelta(seconds=epochs * 0.5 + 1)
    folder.update(finished=ended.isoformat(timespec="milliseconds"))
    return folder


def sqlite_tracking(folder: Path) -> TrackingConfig:
    return TrackingConfig(
        uri=f"sqlite:///{folder / 'mlflow.db'}", artifacts=str(folder / "artifacts")
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`mlflow server` on a port and a folder that it keeps over a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "server-artifacts")]
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.2)
        raise AssertionError(
            "the server did not start: " + (self.folder / "server.log").read_text()
        )

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


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
