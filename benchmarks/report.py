"""The report of a store that holds many runs, which nobody trained.

    python -m benchmarks.report [--runs N] [--repeats N] [--store FOLDER]

The store has ten models of many configurations of five seeds, each run with some 270 metrics, a
learning curve of 20 epochs and a table of 943 users. `python -m reports` is a fresh process each
time, its imports included. --store keeps the store, which takes longer to make than to report on,
and uses the one that is there.
"""

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import machine, spread
from benchmarks.process import python_output
from benchmarks.synthetic_store import Fake, make_store
from experiments.files import write_json
from experiments.runs.provenance import packages

OUT = Path(__file__).resolve().parent / "out" / "report.json"
RUNS, REPEATS = 2000, 3
MODELS = (
    "pop",
    "itemknn",
    "ease",
    "bpr",
    "lightgcn",
    "multivae",
    "ract",
    "gru4rec",
    "sasrec",
    "cl",
)
SEEDS, EPOCHS, USERS = 5, 20, 943


def made_up(runs: int) -> list[Fake]:
    """So many runs; the qualities of a model's configurations lie close together."""
    return [
        Fake(
            model=MODELS[place // SEEDS % len(MODELS)],
            config=f"{(config := place // SEEDS // len(MODELS))}",
            seed=place % SEEDS + 1,
            quality=0.2 + 0.04 * (place // SEEDS % len(MODELS)) + 0.001 * (config % 30),
            seconds=1.0 + place % 97,
            epochs=EPOCHS,
            users=USERS,
            params={"model.learning_rate": f"{1e-4 * (config + 1):.4g}"},
        )
        for place in range(runs)
    ]


def measure(store: str, *, runs: int, repeats: int) -> dict[str, Any]:
    """Seconds and the peak memory of the reports of a store."""
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    message = ""
    with TemporaryDirectory() as out:
        arguments = [f"tracking.uri={store}", f"out={out}", "name=measured"]
        for _ in range(repeats):
            begin, cpu_begin = time.perf_counter(), _cpu_of_children()
            printed = python_output("-m", "reports", *arguments)
            seconds.append(time.perf_counter() - begin)
            cpu_seconds.append(_cpu_of_children() - cpu_begin)
            message = printed.strip().partition(": ")[2]
        size = sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file())
    return {
        "name": f"report of a store of {runs} runs, seconds of a whole process",
        "runs": runs,
        "seconds": spread(seconds),
        "cpu_seconds": spread(cpu_seconds),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "megabytes_written": size / 2**20,
        "told": message,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write benchmarks/out/report.json."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="how many runs the store holds")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="how many reports are made")
    parser.add_argument("--store", type=Path, help="a folder that keeps the store")
    given = parser.parse_args(arguments)
    with TemporaryDirectory() as temporary:
        folder = given.store or Path(temporary)
        found = measure(_store(folder, given.runs), runs=given.runs, repeats=given.repeats)
    write_json(OUT, {**found, "packages": packages(), "host": machine()})
    wall, cpu = (
        " - ".join(f"{found[key][part]:.1f}" for part in ("min", "median", "max"))
        for key in ("seconds", "cpu_seconds")
    )
    print(
        f"{found['name']}: {wall} (CPU seconds {cpu}), "
        f"peak {found['peak_megabytes']:.0f} MB; {found['told']}"
    )


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _store(folder: Path, runs: int) -> str:
    """The address of the store in a folder, which is made if it is not whole."""
    whole = folder / f"whole-{runs}"
    if not whole.exists():
        folder.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        make_store(folder, made_up(runs))
        whole.touch()
        print(f"made {runs} runs in {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    return f"sqlite:///{folder / 'mlflow.db'}"


if __name__ == "__main__":
    main()
