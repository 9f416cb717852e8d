"""The data sets of the benchmarks: ml-100k always, the larger ones where a folder holds them."""

import os
from pathlib import Path

VARIABLE = "PADDOCK_BENCH_DATA"
"""Names a folder with ml-1m/ and amazon-beauty/, each a folder of RecBole atomic files."""

LARGER = ("ml-1m", "amazon-beauty")


def data_folder(name: str) -> Path | None:
    """Where the atomic files of a larger data set are, or None."""
    if folder := os.environ.get(VARIABLE):
        path = Path(folder).resolve() / name
        if (path / f"{name}.inter").is_file():
            return path
    return None


def available() -> dict[str, list[str]]:
    """Name of a data set -> the overrides that choose it, of all that are at hand."""
    found = {"ml-100k": ["dataset=ml-100k"]}
    for name in LARGER:
        if (path := data_folder(name)) is not None:
            found[name] = ["dataset=atomic", f"dataset.source={path}"]
    return found


def overrides(name: str) -> list[str]:
    """The overrides that choose the data set.

    Raises
    ------
    SystemExit
        If it is not at hand.
    """
    known = available()
    if name not in known:
        raise SystemExit(
            f"{name} is not at hand: set {VARIABLE} to a folder that holds {name}/{name}.inter"
        )
    return known[name]
