"""Training with large catalogues: memory and seconds of SASRec's losses as the number of items grows.

    python -m benchmarks.catalogue [--items 10000,100000,1000000] [--batches 10]

A generated set (5 interactions an item on average, popularity by a power law, every item at least
once, histories of 25) is prepared by the command's own code, and some batches of 64 windows are
trained, each size and loss in a process of one thread. Shown are the most memory held before the first
batch (data, weights) and through the last one (with the optimizer's two moments of every weight), and
the seconds of a batch after the first. Nothing of it is a figure of quality.
"""

import argparse
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measure import Seconds, machine, now, peak_megabytes, since
from benchmarks.process import python_output
from experiments.files import write_json
from experiments.runs.provenance import packages

OUT = Path(__file__).resolve().parent / "out" / "catalogue.json"
ITEMS = (10_000, 100_000, 1_000_000)
LOSSES = ("softmax", "sampled_softmax")
HISTORY, ROWS_AN_ITEM = 25, 5


class _Enough(Exception):
    """The batches that were asked for are done."""


def generate(path: Path, *, n_items: int) -> None:
    """Write interactions in which every item occurs, users in turn, from a fixed seed."""
    random = np.random.default_rng(0)
    rows = ROWS_AN_ITEM * n_items
    drawn = (n_items * random.random(rows - n_items) ** 3).astype(np.int64)
    items = random.permutation(np.concatenate([np.arange(n_items), drawn]))
    pl.DataFrame(
        {
            "user_id": np.arange(rows) // HISTORY,
            "item_id": items,
            "timestamp": np.arange(rows) % HISTORY,
        }
    ).write_csv(path)


def measure(folder: Path, *, loss: str, batches: int) -> dict[str, Any]:
    """Train some batches in this process.

    Parameters
    ----------
    folder : Path
        Holds interactions.csv; what is prepared goes there too.
    loss : str
        Of the strategy `windows`.
    batches : int
        At least 2; the first one is not timed.
    """
    import torch

    from benchmarks.setup_model import untrained
    from experiments.training.memory import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()
    made = untrained(
        [
            "model=sasrec",
            f"model.loss={loss}",
            "model.train_batch_size=64",
            "dataset=csv",
            f"dataset.source={folder / 'interactions.csv'}",
            f"data_dir={folder / 'data'}",
        ],
        folder,
    )
    strategy = made.strategy()
    before = peak_megabytes()
    times: list[Seconds] = []
    passes = 0

    def tick(done: int, total: int) -> None:
        nonlocal passes
        passes = total
        times.append(now())
        if done == batches:
            raise _Enough

    with suppress(_Enough):
        strategy.train_epoch(0, tick)
    taken = since(times[0], times[-1])
    return {
        "items": made.shared.split.n_items,
        "loss": loss,
        "interactions": len(made.shared.split.part),
        "batches_of_a_pass": passes,
        "cpu_seconds_of_a_batch": taken.cpu / (len(times) - 1),
        "megabytes_before": before,
        "peak_megabytes": peak_megabytes(),
    }


def child(folder: Path, *, loss: str, batches: int) -> dict[str, Any]:
    """`measure` in a process of its own, whose peak is of nothing else."""
    options = ["--child", folder, "--loss", loss, "--batches", batches]
    printed = python_output("-W", "ignore", "-m", "benchmarks.catalogue", *options)
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def show(found: list[dict[str, Any]]) -> None:
    """A line for every size and loss."""
    table = Table("items", "loss", "before, MB", "peak, MB", "s a batch", "batches a pass")
    for each in found:
        table.add_row(
            f"{each['items']:,}",
            each["loss"],
            f"{each['megabytes_before']:,.0f}",
            f"{each['peak_megabytes']:,.0f}",
            f"{each['cpu_seconds_of_a_batch']:.3f}",
            f"{each['batches_of_a_pass']:,}",
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.catalogue",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--items", default=",".join(map(str, ITEMS)), help="numbers of items")
    parser.add_argument("--batches", type=int, default=10, help="trained batches, at least 2")
    parser.add_argument("--loss", help=argparse.SUPPRESS)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(given.child, loss=given.loss, batches=given.batches)))
        return
    sizes = [(int(text), loss) for text in given.items.split(",") for loss in LOSSES]
    found = []
    for n_items, loss in track(sizes, description="sizes and losses"):
        with TemporaryDirectory() as folder:
            generate(Path(folder) / "interactions.csv", n_items=n_items)
            found.append(child(Path(folder), loss=loss, batches=given.batches))
    show(found)
    write_json(OUT, {"measured": found, "packages": packages(), "host": machine()})


if __name__ == "__main__":
    main()
