"""Run folders as training leaves them."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments.config.schema import TrackingConfig
from experiments.files import hash_of, write_json
from experiments.runs.folder import RunFolder, run_path
from experiments.tracking import Tracker

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
