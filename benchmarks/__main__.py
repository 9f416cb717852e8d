"""python -m benchmarks [NAME ...]: run the benchmarks, print a table, write benchmarks/out/*.json."""

import argparse
import importlib
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Measured, machine, spread
from experiments.files import write_json
from experiments.runs.provenance import packages

NAMES = ("passes", "evaluation", "quality", "preparation", "llm", "tuning")
ON_DEMAND = ("peers", "tuners")
"""Run by name alone: they install other libraries from the package index."""

OUT = Path(__file__).resolve().parent / "out"


def report(found: Iterable[Measured]) -> None:
    """Keep every measurement, as it comes, as benchmarks/out/NAME.json; print a table of them.

    The table tells CPU seconds where they were taken, else wall seconds; the files tell both.
    """
    table = Table(title="RecBole against Paddock, medians")
    columns = ("Benchmark", "RecBole s", "Paddock s", "Ratio (min-median-max)", "MB")
    for column in columns:
        table.add_column(column, justify="left" if column == "Benchmark" else "right")
    try:
        for measured in found:
            content = {**measured.summary(), "packages": packages(), "host": machine()}
            write_json(OUT / f"{measured.file_name}.json", content)
            table.add_row(*_row(measured))
    finally:
        if table.row_count:
            Console(width=140).print(table)


def _row(measured: Measured) -> tuple[str, ...]:
    ratio = spread(measured.cpu_ratios if measured.theirs_cpu else measured.ratios)
    peaks = measured.facts.get("peak_megabytes", {})
    return (
        measured.name,
        f"{statistics.median(measured.theirs_cpu or measured.theirs):.3g}",
        f"{statistics.median(measured.ours_cpu or measured.ours):.3g}",
        f"{ratio['min']:.1f} - {ratio['median']:.1f} - {ratio['max']:.1f}",
        " / ".join(f"{peak:.0f}" for peak in peaks.values()),
    )


def measured_by(names: Iterable[str]) -> Iterator[Measured]:
    """What the benchmarks of these names measure, one after another."""
    for name in names:
        made = importlib.import_module(f"benchmarks.{name}").measure()
        if isinstance(made, Measured):
            yield made
        elif made is not None:
            yield from made


def main() -> None:
    """Run the named benchmarks, by default all but those on demand."""
    known = (*NAMES, *ON_DEMAND)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(known):
        parser.error(f"unknown benchmark {', '.join(unknown)}: choose from {', '.join(known)}")
    report(measured_by(names))


if __name__ == "__main__":
    main()
