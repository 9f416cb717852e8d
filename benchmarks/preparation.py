"""Preparation: from atomic files to leave-one-out parts, RecBole's Dataset and ours.

    python -m benchmarks.preparation [--data FOLDER] [--rows N]

Each measurement is a fresh process, which tells the seconds after its imports and the most memory it
held. RecBole creates its Dataset and builds the parts, in memory. Paddock checks, prepares and
splits: cold, which writes the product, and warm, which opens it. FOLDER holds MovieLens-1M as
atomic files, by default ml-1m/ of PADDOCK_BENCH_DATA. With --rows, a generated set of the shape of
MovieLens-32M (200,948 users, 84,432 items, 32,000,000 rows, popularity by a power law) is measured
too, its users and rows scaled down to N rows.

RecBole runs on pandas 3 here because only interactions are loaded: its filling of empty features
does nothing there, and its reading of sequences fails.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from benchmarks.data import VARIABLE, data_folder
from benchmarks.measure import Measured
from benchmarks.process import python_output

REPEATS = 3
FULL_ROWS, FULL_USERS, FULL_ITEMS = 32_000_000, 200_948, 84_432


@dataclass(kw_only=True)
class Prepared(Measured):
    """Seconds as in `Measured`, ours cold; with ours warm, and the peak memory of each process."""

    warm: list[float] = field(default_factory=list)
    megabytes: dict[str, list[float]] = field(
        default_factory=lambda: {"recbole": [], "paddock": [], "paddock_warm": []}
    )

    def summary(self) -> dict[str, Any]:
        return {
            **super().summary(),
            "paddock_warm_seconds": self.warm,
            "peak_megabytes": self.megabytes,
        }


def measure(data: Path | None = None) -> Prepared | None:
    """Interleave the two preparations of MovieLens-1M; None where its files are absent."""
    folder = data or data_folder("ml-1m")
    if folder is None:
        print(f"preparation: {VARIABLE} names no folder with ml-1m; skipped", file=sys.stderr)
        return None
    return _measure(folder, f"preparation {folder.name}, seconds (cold)", REPEATS)


def measure_large(rows: int) -> Prepared:
    """Measure each side once on a generated set of `rows` rows."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "large"
        folder.mkdir()
        generate(folder / "large.inter", rows)
        return _measure(folder, f"preparation {rows} generated rows, seconds (cold)", 1)


def generate(path: Path, rows: int) -> None:
    """Write interactions whose users and items are drawn by power laws, from a fixed seed."""
    random = np.random.default_rng(0)
    users = max(100, FULL_USERS * rows // FULL_ROWS)

    def draw(size: int, slope: float) -> np.ndarray:
        return np.minimum((size * random.random(rows) ** slope).astype(np.int64), size - 1) + 1

    pl.DataFrame(
        {
            "user_id:token": draw(users, 2.0),
            "item_id:token": draw(FULL_ITEMS, 3.5),
            "rating:float": random.integers(1, 11, rows) / 2,
            "timestamp:float": random.integers(800_000_000, 1_700_000_000, rows),
        }
    ).write_csv(path, separator="\t")


def _measure(folder: Path, name: str, repeats: int) -> Prepared:
    measured = Prepared(name=name)
    for _ in range(repeats):
        with TemporaryDirectory() as out:
            theirs = _child("recbole", folder, out)
            cold, warm = _child("paddock", folder, out), _child("paddock", folder, out)
        assert theirs["parts"] == cold["parts"] == warm["parts"], (theirs, cold, warm)
        measured.theirs.append(theirs["seconds"])
        measured.ours.append(cold["seconds"])
        measured.warm.append(warm["seconds"])
        for side, figures in (("recbole", theirs), ("paddock", cold), ("paddock_warm", warm)):
            measured.megabytes[side].append(figures["megabytes"])
    return measured


def _child(side: str, folder: Path, out: str) -> dict[str, Any]:
    """The figures that a fresh process of one thread prints."""
    command = ["-W", "ignore", "-m", "benchmarks.preparation_child", side, folder, out]
    return json.loads(python_output(*command).splitlines()[-1])


def main() -> None:
    """Measure, print, and write benchmarks/out/."""
    from benchmarks.__main__ import report

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.preparation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, help="MovieLens-1M as atomic files")
    parser.add_argument("--rows", type=int, help="measure a generated set of so many rows too")
    given = parser.parse_args()
    found = [measure(given.data and given.data.resolve())]
    if given.rows:
        found.append(measure_large(given.rows))
    report(measured for measured in found if measured is not None)


if __name__ == "__main__":
    main()
