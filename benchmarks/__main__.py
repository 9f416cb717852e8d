"""python -m benchmarks [NAME ...]: run the benchmarks, print a table, write benchmarks/out/NAME.json."""

import argparse
import importlib
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.files import write_json
from experiments.provenance import host, packages

NAMES = ("evaluation", "preparation", "sasrec")
OUT = Path(__file__).resolve().parent / "out"


def main() -> None:
    """Run the named benchmarks, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown benchmark {', '.join(unknown)}: choose from {', '.join(NAMES)}")
    table = Table(title="RecBole against Paddock, medians")
    for column in ("Benchmark", "RecBole s", "Paddock s", "Ratio (min-median-max)"):
        table.add_column(column, justify="left" if column == "Benchmark" else "right")
    for name in names:
        measured = importlib.import_module(f"benchmarks.{name}").measure()
        if measured is None:
            continue
        summary = measured.summary()
        write_json(OUT / f"{name}.json", {**summary, "packages": packages(), "host": host()})
        ratio = summary["ratio"]
        table.add_row(
            measured.name,
            f"{sorted(measured.theirs)[len(measured.theirs) // 2]:.3f}",
            f"{sorted(measured.ours)[len(measured.ours) // 2]:.3f}",
            f"{ratio['min']:.1f} - {ratio['median']:.1f} - {ratio['max']:.1f}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
