"""MovieLens releases: 1M and 10M with '::' and no header, the later ones as CSV.

Columns: user_id, item_id, rating, timestamp; of films title, year and genres. The year, which the
files write in brackets behind the title, is a column of its own.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from experiments.data.readers.delimited import Dialect, read_delimited
from experiments.data.readers.table import Table, Tables, require_known
from experiments.data.sources.find import Sources
from paddock import reader

RATINGS = {"user_id": "userId", "item_id": "movieId", "rating": "rating", "timestamp": "timestamp"}
MOVIES = {"item_id": "movieId", "title": "title", "genres": "genres"}
USERS = {
    "user_id": "userId",
    "gender": "gender",
    "age": "age",
    "occupation": "occupation",
    "zip_code": "zip_code",
}
_NO_GENRE = "(no genres listed)"
_YEAR = r"\s*\((\d{4})(?:[-–]\d{0,4})?\)\s*$"


@reader("movielens")
def read_movielens(
    sources: Sources,
    columns: Mapping[str, str | None],
    required: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Tables:
    """MovieLens as GroupLens publishes it: 1M and 10M ('::'), 20M, 25M and 32M (CSV).

    Parameters
    ----------
    sources : Sources
    columns : mapping of str to str or None
        Not read: the columns have the names of this module.
    required : mapping of str to str
        Columns that the interactions must have, each with the configuration key that asks for it.
    settings : mapping
        Not read.

    Raises
    ------
    PaddockError
        Naming file, line, column and value.
    """
    require_known(sources.inter, required, RATINGS)
    return Tables(
        _ratings(sources.inter, required),
        _movies(sources.item) if sources.item else None,
        _users(sources.user) if sources.user else None,
    )


def _ratings(path: Path, required: Mapping[str, str]) -> Table:
    """The ratings; `required` maps the columns that are used to the keys that ask for them."""
    return read_delimited(
        path,
        {column: name for column, name in RATINGS.items() if column in required},
        required=required,
        types={"rating": "float", "timestamp": "time"},
        tidy=False,
        stream=True,
        dialect=_dialect(path, RATINGS),
    )


def _movies(path: Path) -> Table:
    """Title, year and genres of each film."""
    table = read_delimited(
        path,
        MOVIES,
        required={"item_id": "dataset.columns.item", "title": "dataset.text.title"},
        dialect=_dialect(path, MOVIES),
        complete=False,
    )
    title = pl.col("title")
    cells = table.cells.select(
        "item_id",
        title=title.str.replace(_YEAR, ""),
        year=title.str.extract(_YEAR),
        genres=pl.when(pl.col("genres") != _NO_GENRE)
        .then(pl.col("genres"))
        .fill_null("")
        .str.split("|")
        .list.eval(pl.element().filter(pl.element() != "")),
    )
    types = {"item_id": "token", "title": "token", "year": "token", "genres": "token_seq"}
    return replace(table, types=types, cells=cells)


def _users(path: Path) -> Table:
    """Gender, age, occupation and zip code of the users of the 1M release."""
    return read_delimited(
        path,
        USERS,
        required={"user_id": "dataset.columns.user"},
        dialect=_dialect(path, USERS),
        complete=False,
    )


def _dialect(path: Path, columns: dict[str, str]) -> Dialect:
    if ".dat" in path.suffixes:
        return Dialect(separator="::", encoding="latin-1", header=list(columns.values()))
    return Dialect(separator=",")
