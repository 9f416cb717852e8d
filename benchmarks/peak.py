"""How much of a core's peak our training and ranking reach.

    python -m benchmarks.peak [--datasets ml-100k,ml-1m] [--repeats N]

The floating-point operations of the dense products (attention included) are counted by torch while a
pass or a ranking of all users runs, once, untimed; then passes and square products of 2,048 by oneDNN, which
stand for the peak, take turns on one thread. The share is operations over CPU seconds over the peak: time in
softmax, dropout, normalisation, the optimizer, masks and comparisons all lowers it.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.data import available, overrides
from benchmarks.evaluation import our_evaluation
from benchmarks.measure import machine, spread, timed
from benchmarks.setup_model import untrained
from experiments.files import write_json
from experiments.runs.provenance import packages
from experiments.training.memory import keep_freed_memory
from paddock.layers import onednn_products

OUT = Path(__file__).resolve().parent / "out" / "peak.json"
TRAINED = ("sasrec", "bert4rec", "gru4rec", "multivae")
RANKED = "bpr"
SIZE = 2048
REPEATS = 3


def works(dataset: str, folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name and work of all that is measured on a data set."""
    for model in TRAINED:
        strategy = untrained([*overrides(dataset), f"model={model}"], folder).strategy()
        yield f"{model}, a pass", lambda made=strategy: made.train_epoch(0, lambda done, of: None)
    made = untrained([*overrides(dataset), f"model={RANKED}"], folder)
    yield f"{RANKED}, full ranking", our_evaluation(made)


def peak() -> float:
    """Operations in a CPU second of a product of two square matrices, float32."""
    square = torch.ones(SIZE, SIZE)
    with timed() as seconds, onednn_products():
        torch.mm(square, square)
    return 2 * SIZE**3 / seconds.cpu


def share(work: Callable[[], Any], *, repeats: int) -> dict[str, Any]:
    """What was counted and measured of one work."""
    with FlopCounterMode(display=False) as counter:
        work()
    operations = counter.get_total_flops()
    seconds, peaks = [], []
    for _ in range(repeats):
        peaks.append(peak())
        with timed() as taken:
            work()
        seconds.append(taken.cpu)
    rates = [operations / each for each in seconds]
    shares = [rate / most for rate, most in zip(rates, peaks, strict=True)]
    return {
        "operations": operations,
        "cpu_seconds": spread(seconds),
        "operations_per_second": spread(rates),
        "peak": spread(peaks),
        "share": spread(shares),
    }


def main() -> None:
    """Measure, print a table, and write benchmarks/out/peak.json."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--datasets", help="some of those at hand")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    peak()
    found: dict[str, dict[str, Any]] = {}
    table = Table(title="Dense products, one thread, medians")
    for column in ("Work", "GFLOP", "CPU s", "GFLOP/s", "Peak", "Share (min-median-max)"):
        table.add_column(column, justify="left" if column == "Work" else "right")
    for dataset in given.datasets.split(",") if given.datasets else available():
        with TemporaryDirectory() as folder:
            for name, work in works(dataset, Path(folder)):
                print(f"peak: {dataset}, {name}", file=sys.stderr)
                one = found[f"{dataset}, {name}"] = share(work, repeats=given.repeats)
                table.add_row(
                    f"{dataset}, {name}",
                    f"{one['operations'] / 1e9:.1f}",
                    f"{one['cpu_seconds']['median']:.3g}",
                    f"{one['operations_per_second']['median'] / 1e9:.1f}",
                    f"{one['peak']['median'] / 1e9:.1f}",
                    " - ".join(f"{value:.0%}" for value in one["share"].values()),
                )
    write_json(OUT, {"works": found, "host": machine(), "packages": packages()})
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
