"""MovieLens releases: 1M and 10M with '::' and no header, the later ones as CSV.

Columns: user_id, item_id, rating, timestamp; of films title, year and genres. The year, which the
files write in brackets behind the title, is a column of its own.
"""

from dataclasses import replace
from pathlib import Path

import polars as pl

from experiments.data.readers.delimited import read_delimited
from experiments.data.readers.dialect import Dialect
from experiments.data.readers.table import Table

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


def read_ratings(path: Path, required: dict[str, str]) -> Table:
    """The ratings; `required` maps the columns that are used to the keys that ask for them."""
    return read_delimited(
        path,
        {column: name for column, name in RATINGS.items() if column in required},
        required=required,
        types={"rating": "float", "timestamp": "time"},
        tidy=False,
        dialect=_dialect(path, RATINGS),
    )


def read_movies(path: Path) -> Table:
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


def read_users(path: Path) -> Table:
    """What the 1M release tells of its users."""
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
