"""RecBole's learning curves, kept as what ours is measured against.

    python -m benchmarks.curves SASRec --seconds 1200

RecBole's own class with its own loader, epoch and defaults trains until its CPU seconds of training
are used up, or for RecBole's default of 300 epochs. After each epoch the model is scored by
Paddock's evaluator on the valid targets among all items but the user's history; this costs none of
the seconds. The curve is kept as benchmarks/curves/DATASET-MODEL.json after every epoch.

Importing RecBole's sequential models turns on autograd's anomaly detection for the whole process,
which slows every step down; RecBole is spared it here.
"""

import argparse
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.data import overrides
from benchmarks.measure import Seconds, machine, peak_megabytes, timed
from benchmarks.setup_model import untrained_peer
from experiments.evaluation.scoring import validate
from experiments.files import read_json, write_json
from experiments.runs.provenance import packages

CURVES = Path(__file__).resolve().parent / "curves"
METRIC = "full/ndcg_at_10"


def curve_path(dataset: str, model: str) -> Path:
    return CURVES / f"{dataset}-{model.lower()}.json"


def read_curve(dataset: str, model: str) -> dict[str, Any]:
    """The curve that was kept."""
    found: dict[str, Any] = read_json(curve_path(dataset, model))
    return found


def best(epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """The first epoch with the best valid metric."""
    return max(epochs, key=lambda epoch: (epoch["valid"], -epoch["epoch"]))


def take(model: str, *, dataset: str, seconds: float, seed: int) -> None:
    """Train by RecBole's loop and keep the curve."""
    torch.set_num_threads(1)
    path = curve_path(dataset, model)
    arguments = [model, "--dataset", dataset, "--seconds", f"{seconds:g}", "--seed", str(seed)]
    with TemporaryDirectory() as folder:
        made = untrained_peer(
            [*overrides(dataset), "model=recbole", f"model.name={model}"], Path(folder), seed=seed
        )
        curve: dict[str, Any] = {
            "command": shlex.join(["python", "-m", "benchmarks.curves", *arguments]),
            "dataset": dataset,
            "model": f"{type(made.model).__module__}.{type(made.model).__name__}",
            "hyperparameters": made.values,
            "metric": METRIC,
            "seed": seed,
            "threads": 1,
            "budget_cpu_seconds": seconds,
            "packages": packages(),
            "host": machine(),
            "epochs": [],
        }
        spent = Seconds()
        with timed(spent):
            loop = made.strategy()
        for epoch in range(made.values["epochs"]):
            if spent.cpu >= seconds:
                break
            with timed(spent):
                loss = loop.train_epoch(epoch, lambda done, total: None)
            metrics = validate(
                made.model, made.dataset, shared=made.shared, protocol=made.config.protocol
            )
            curve["epochs"].append(
                {
                    "epoch": epoch + 1,
                    "cpu_seconds": round(spent.cpu, 3),
                    "wall_seconds": round(spent.wall, 3),
                    "loss": loss,
                    "valid": metrics[f"valid/{METRIC}"],
                }
            )
            write_json(path, curve | {"peak_megabytes": round(peak_megabytes())})
            print(model, curve["epochs"][-1], file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.curves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="class name of a model that RecBole ships")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--seconds", type=float, default=1200, help="CPU seconds of training")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    take(
        arguments.model,
        dataset=arguments.dataset,
        seconds=arguments.seconds,
        seed=arguments.seed,
    )


if __name__ == "__main__":
    main()
