"""Time to quality: seconds until ours is as good as RecBole's best within its budget.

    python -m benchmarks quality
    python -m benchmarks.quality --models BPR --dataset ml-100k --seeds 1,2,3

RecBole's curves are kept (`benchmarks.curves`) and tell how many passes its best took. A pass of
RecBole's is timed here, in turns with ours, so that a curve of another or a busier machine serves as
well; its seconds are those passes'. Ours trains from scratch by its YAML, once a seed, and is scored
after every pass by the same evaluator on the same valid targets. Both count training alone; ours
counts the making of its batches' tables too. Evaluation and the making of data and model count on
neither side.

A best of many noisy epochs is partly luck, so that a run of the same mathematics misses it as often
as not; the seconds to 95 % of it are given beside it.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.curves import CURVES, METRIC, best, read_curve
from benchmarks.data import available, overrides
from benchmarks.measure import Measured, Seconds, timed
from benchmarks.pair import Side
from benchmarks.setup_model import untrained
from experiments.evaluation.scoring import validate
from experiments.training.memory import keep_freed_memory

SEEDS = (1, 2, 3)
SHARES = (1.0, 0.95)
"""Of RecBole's best valid metric, which are to be reached."""

SECONDS = 20.0
"""CPU seconds of a pass of RecBole's that are timed; the rest is scaled up."""


def measure(
    models: list[str] | None = None, dataset: str = "ml-100k", seeds: tuple[int, ...] = SEEDS
) -> Iterator[Measured]:
    """Every model with a kept curve on this data set."""
    torch.set_num_threads(1)
    keep_freed_memory()
    if dataset not in available():
        return
    kept = sorted(path.stem for path in CURVES.glob(f"{dataset}-*.json"))
    names = models or [name.removeprefix(f"{dataset}-") for name in kept]
    for name in names:
        yield from _measure(name.lower(), dataset, seeds)


def _measure(model: str, dataset: str, seeds: tuple[int, ...]) -> Iterator[Measured]:
    curve = read_curve(dataset, model)
    name, goal = curve["hyperparameters"]["name"], best(curve["epochs"])
    passes, runs = [], []
    with Side("recbole", [*overrides(dataset), "model=recbole", f"model.name={name}"]) as recbole:
        for seed in seeds:
            passes.append(recbole.turn(SECONDS))
            runs.append(train(model, dataset, seed=seed, value=goal["valid"]))
            print(f"quality: {name} on {dataset}, seed {seed}: {runs[-1][-1]}", file=sys.stderr)
    for share in SHARES:
        value = share * goal["valid"]
        reached = first_at(curve["epochs"], value)
        assert reached is not None
        label = f"{share:.0%} of RecBole's best"
        measured = Measured(
            name=f"{name} quality {dataset} {label}, seconds to valid NDCG@10 {value:.4f}"
        )
        for a_pass, run in zip(passes, runs, strict=True):
            measured.add(_times(reached["epoch"], a_pass), _seconds(first_at(run, value)))
        measured.facts = {
            "metric": METRIC,
            "value": value,
            "recbole_reached": reached,
            "recbole_passes": passes,
            "seeds": list(seeds),
            "paddock_reached": [first_at(run, value) for run in runs],
            "paddock_best": [best(run) for run in runs],
        }
        yield measured


def train(model: str, dataset: str, *, seed: int, value: float) -> list[dict[str, Any]]:
    """Our curve up to the first epoch whose valid metric is at least `value`, or to its last."""
    chosen = [*overrides(dataset), f"model={model}"]
    spent, curve = Seconds(), []
    with TemporaryDirectory() as folder:
        made = untrained(chosen, Path(folder), seed=seed)
        with timed(spent):
            strategy = made.strategy()
        for epoch in range(made.values["epochs"]):
            with timed(spent):
                strategy.train_epoch(epoch, lambda done, total: None)
            metrics = validate(
                made.model, made.dataset, shared=made.shared, protocol=made.config.protocol
            )
            curve.append(
                {
                    "epoch": epoch + 1,
                    "cpu_seconds": spent.cpu,
                    "wall_seconds": spent.wall,
                    "valid": metrics[f"valid/{METRIC}"],
                }
            )
            if curve[-1]["valid"] >= value:
                break
    return curve


def first_at(curve: list[dict[str, Any]], value: float) -> dict[str, Any] | None:
    """The first epoch whose valid metric is at least `value`."""
    return next((epoch for epoch in curve if epoch["valid"] >= value), None)


def _times(passes: int, a_pass: dict[str, float]) -> Seconds:
    return Seconds(wall=passes * a_pass["wall"], cpu=passes * a_pass["cpu"])


def _seconds(reached: dict[str, Any] | None) -> Seconds:
    """The epoch's seconds; what is never reached takes for ever, and the ratio is 0."""
    if reached is None:
        return Seconds(wall=math.inf, cpu=math.inf)
    return Seconds(wall=reached["wall_seconds"], cpu=reached["cpu_seconds"])


def main() -> None:
    from benchmarks.__main__ import report

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", help="some of those with a kept curve")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    given = parser.parse_args()
    seeds = tuple(int(seed) for seed in given.seeds.split(","))
    report(measure(given.models and given.models.split(","), given.dataset, seeds))


if __name__ == "__main__":
    main()
