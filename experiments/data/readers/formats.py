"""The formats of data sets, and how each is read into tables.

Known releases have columns of their own names: user_id, item_id, rating, timestamp. For `csv` and
`json`, `dataset.columns.*` says what the file calls them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from experiments.data.readers import amazon, movielens, steam
from experiments.data.readers.atomic import read_atomic
from experiments.data.readers.delimited import read_delimited
from experiments.data.readers.dialect import Dialect
from experiments.data.readers.jsonlines import known_fields, lists, read_objects
from experiments.data.readers.table import Table, Tables, nearest, require
from experiments.data.sources.find import Sources
from experiments.errors import PaddockError


def read_tables(recipe: Mapping[str, Any], sources: Sources) -> Tables:
    """Read the files of one data set.

    Parameters
    ----------
    recipe : mapping
        Of `prepare`: the columns, and under "reader" the format where it is not atomic.

    Raises
    ------
    PaddockError
        For a file that is malformed or lacks a column, naming the line and the column.
    """
    columns: dict[str, str | None] = recipe["columns"]
    reader = recipe.get("reader", {"format": "atomic"})
    required = {
        column: f"dataset.columns.{role}" for role, column in columns.items() if column is not None
    }
    return FORMATS[reader["format"]](sources, columns, required, reader)


def check_format(name: str) -> None:
    """Refuse the name of a format that is unknown."""
    if name not in FORMATS:
        raise PaddockError(
            f"dataset.format: {name!r} is unknown; {nearest(name, FORMATS).replace('columns', 'formats')}"
        )


def _atomic(
    sources: Sources, columns: dict[str, Any], required: dict[str, str], reader: Mapping[str, Any]
) -> Tables:
    def side(path: Path | None, role: str) -> Table | None:
        if path is None:
            return None
        return read_atomic(path, required={columns[role]: f"dataset.columns.{role}"})

    user, item = side(sources.user, "user"), side(sources.item, "item")
    return Tables(read_atomic(sources.inter, required=required, rest=False), item, user)


def _movielens(
    sources: Sources, columns: dict[str, Any], required: dict[str, str], reader: Mapping[str, Any]
) -> Tables:
    _known_columns(sources.inter, required, movielens.RATINGS)
    return Tables(
        movielens.read_ratings(sources.inter, required),
        movielens.read_movies(sources.item) if sources.item else None,
        movielens.read_users(sources.user) if sources.user else None,
    )


def _amazon(
    sources: Sources, columns: dict[str, Any], required: dict[str, str], reader: Mapping[str, Any]
) -> Tables:
    _known_columns(sources.inter, required, amazon.EARLY)
    reviews = amazon.read_reviews(sources.inter, required)
    metadata = None
    if sources.item:
        metadata = amazon.read_metadata(sources.item, reviews.cells["item_id"])
    return Tables(reviews, metadata, None)


def _steam(
    sources: Sources, columns: dict[str, Any], required: dict[str, str], reader: Mapping[str, Any]
) -> Tables:
    _known_columns(sources.inter, required, steam.REVIEWS)
    reviews = steam.read_reviews(sources.inter, required)
    games = steam.read_games(sources.item, reviews.cells["item_id"]) if sources.item else None
    return Tables(reviews, games, None)


def _csv(
    sources: Sources, columns: dict[str, Any], required: dict[str, str], reader: Mapping[str, Any]
) -> Tables:
    dialect = Dialect(**reader["csv"])

    def side(path: Path | None, role: str) -> Table | None:
        if path is None:
            return None
        # The header that is given is that of the interactions.
        return read_delimited(
            path,
            None,
            required={columns[role]: f"dataset.columns.{role}"},
            types={columns[role]: "token"},
            dialect=Dialect(encoding=dialect.encoding),
            complete=False,
        )

    inter = read_delimited(
        sources.inter,
        {name: name for name in required},
        required=required,
        types=_types(columns),
        dialect=dialect,
        tidy=False,
    )
    return Tables(inter, side(sources.item, "item"), side(sources.user, "user"))


def _json(
    sources: Sources, columns: dict[str, Any], required: dict[str, str], reader: Mapping[str, Any]
) -> Tables:
    def side(path: Path | None, role: str) -> Table | None:
        if path is None:
            return None
        table = read_objects(
            path,
            {name: name for name in known_fields(path)},
            required={columns[role]: f"dataset.columns.{role}"},
            complete=False,
        )
        told = [
            name
            for name in table.cells.columns
            if name != columns[role] and _holds_lists(table.cells[name].drop_nulls())
        ]
        return Table(
            path=path,
            types=table.types | dict.fromkeys(told, "token_seq"),
            cells=table.cells.with_columns(lists(table.cells[name]) for name in told),
            line_of=table.line_of,
            complete=False,
        )

    inter = read_objects(
        sources.inter,
        {name: name for name in required},
        required=required,
        types=_types(columns),
        tidy=False,
    )
    return Tables(inter, side(sources.item, "item"), side(sources.user, "user"))


FORMATS: dict[
    str, Callable[[Sources, dict[str, Any], dict[str, str], Mapping[str, Any]], Tables]
] = {
    "atomic": _atomic,
    "movielens": _movielens,
    "amazon": _amazon,
    "steam": _steam,
    "csv": _csv,
    "json": _json,
}


def _holds_lists(cells: pl.Series) -> bool:
    return len(cells) > 0 and cells.str.starts_with("[").all()


def _types(columns: Mapping[str, str | None]) -> dict[str, str]:
    """The types of a file of interactions whose columns are given."""
    kinds = {"user": "token", "item": "token", "time": "time", "rating": "float"}
    return {name: kinds[role] for role, name in columns.items() if name}


def _known_columns(path: Path, required: Mapping[str, str], known: Mapping[str, str]) -> None:
    """Refuse a column that the release does not have under that name."""
    for column, key in required.items():
        require(path, column, key, known)
