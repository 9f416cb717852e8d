"""Preparation of tables past memory: seconds, peak memory and disk by the number of rows.

    python -m benchmarks.preparation_large [--rows 3200000,32000000] [--memory 256MB] [--core 5]

Each size is a folder of Parquet files, made from a fixed seed: 200,948 users and 84,432 items, drawn by
power laws, a rating and a time. A process of its own and of one thread prepares it, with filters that take
the k-core. Its peak holds the interpreter and the libraries too. A line through the two largest sizes says
what a billion rows would take. Written to benchmarks/out/preparation-large.json.
"""

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from benchmarks.measure import machine, peak_megabytes
from benchmarks.preparation import FULL_ITEMS, FULL_USERS
from benchmarks.process import python_output
from experiments.files import write_json
from experiments.runs.provenance import packages

OUT = Path(__file__).resolve().parent / "out" / "preparation-large.json"
PART_ROWS = 1 << 21
BILLION = 10**9


def generate(folder: Path, rows: int) -> None:
    """Write Parquet files of so many rows, a part at a time."""
    folder.mkdir()
    random = np.random.default_rng(0)

    def draw(size: int, slope: float, n: int) -> np.ndarray:
        return np.minimum((size * random.random(n) ** slope).astype(np.int64), size - 1) + 1

    for number, start in enumerate(range(0, rows, PART_ROWS)):
        n = min(PART_ROWS, rows - start)
        frame = pl.DataFrame(
            {
                "user_id": draw(FULL_USERS, 2.0, n),
                "item_id": draw(FULL_ITEMS, 3.5, n),
                "rating": random.integers(1, 11, n) / 2,
                "timestamp": random.integers(800_000_000, 1_700_000_000, n),
            }
        )
        frame.write_parquet(folder / f"part-{number}.parquet")


def measure(folder: Path, out: Path, *, memory: str, core: int) -> dict[str, Any]:
    """Prepare a folder in this process; its figures."""
    from experiments.config.schema import DatasetConfig
    from experiments.data.prepare import prepare

    dataset = DatasetConfig(name="large", source=str(folder), format="csv", memory=memory)
    dataset.columns.rating = "rating"
    dataset.filters.min_user_interactions = dataset.filters.min_item_interactions = core
    before, begin, cpu = peak_megabytes(), time.perf_counter(), time.process_time()
    with _LargestFolder(out) as watched:
        made = prepare(dataset, data_dir=out, progress=False)
    return {
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": time.process_time() - cpu,
        "megabytes_before": before,
        "peak_megabytes": peak_megabytes(),
        "disk_megabytes": watched.bytes / 1e6,
        "prepared_megabytes": sum(path.stat().st_size for path in made.path.iterdir()) / 1e6,
        "kept": made.n_interactions,
    }


class _LargestFolder(threading.Thread):
    """Watches what a folder takes on the disk; `bytes` is the most that it took."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder, self._end = folder, threading.Event()
        self.bytes = 0

    def __enter__(self) -> "_LargestFolder":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()

    def run(self) -> None:
        while not self._end.wait(0.5):
            found = 0
            for path in self._folder.rglob("*"):
                try:
                    found += path.stat().st_blocks * 512
                except FileNotFoundError:  # renamed or removed meanwhile
                    continue
            self.bytes = max(self.bytes, found)


def extrapolated(found: list[dict[str, Any]]) -> dict[str, float]:
    """What a billion rows would take, by the line through the two largest sizes."""
    first, last = found[-2:]
    ratio = (BILLION - last["rows"]) / (last["rows"] - first["rows"])
    return {
        name: last[name] + (last[name] - first[name]) * ratio
        for name in ("seconds", "cpu_seconds", "disk_megabytes", "prepared_megabytes")
    }


def main() -> None:
    """Measure each size, print a line of it, and write benchmarks/out/preparation-large.json."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.preparation_large",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", default="3200000,32000000", help="numbers of rows, ascending")
    parser.add_argument("--memory", default="256MB", help="dataset.memory")
    parser.add_argument("--core", type=int, default=5, help="least rows of a user and an item")
    parser.add_argument("--folder", type=Path, help="where the files are made, by default in /tmp")
    parser.add_argument("--child", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measure(*given.child, memory=given.memory, core=given.core)))
        return
    found: list[dict[str, Any]] = []
    for rows in map(int, given.rows.split(",")):
        with TemporaryDirectory(dir=given.folder) as temporary:
            source, out = Path(temporary) / "source", Path(temporary) / "out"
            generate(source, rows)
            command = ("-m", "benchmarks.preparation_large", "--memory", given.memory)
            more = ("--core", given.core, "--child", source, out)
            figures = json.loads(python_output(*command, *more).splitlines()[-1])
        found.append({"rows": rows, **figures, "rows_per_second": rows / figures["seconds"]})
        print(json.dumps(found[-1]), flush=True)
        content = {"memory": given.memory, "core": given.core, "measured": found}
        if len(found) > 1:
            content["billion"] = extrapolated(found)
        write_json(OUT, {**content, "packages": packages(), "host": machine()})
    if len(found) > 1:
        print("a billion rows:", json.dumps(content["billion"]), file=sys.stderr)


if __name__ == "__main__":
    main()
