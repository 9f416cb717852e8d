"""More columns of the items, from a table of another source: items are matched by title and year.

Titles match that are equal once normalised (`titles`), within a year of each other. Of several such rows the
one of the nearest year counts, of these the one with the largest value of `prefer` (its votes, say), of these
the first of the table. An item whose whole title matches nothing is matched by the parts of longer titles
("Star Wars" by "Star Wars: Episode IV"), where that leaves one row. The interactions, and all that is drawn
of them, stay as they are.
"""

import re
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from experiments.data.readers.table import Table, nearest
from experiments.data.text import item_titles
from experiments.data.titles import titles
from experiments.errors import PaddockError

YEARS = 1
"""How far apart the years of a match may lie: premieres and releases differ."""

_PARTS = re.compile(r":|\s[-–—]\s")


class Joined(NamedTuple):
    """The items with more columns.

    Attributes
    ----------
    items : Table
    found : polars.Series of bool
        Whether the item was found, one value a row of the items.
    """

    items: Table
    found: pl.Series


def join_columns(items: Table, recipe: Mapping[str, Any], path: Path) -> Joined:
    """Give items the columns of the rows that match them.

    Parameters
    ----------
    items : Table
        Of I items.
    recipe : mapping
        As `experiments.data.sources.joined.join_recipe` makes it.
    path : Path
        An SQLite file.

    Raises
    ------
    PaddockError
        Where the file, its table or a column is not what the recipe says.
    """
    taken = [name for name in recipe["columns"] if name in items.types]
    if taken:
        raise PaddockError(
            f"dataset.join.columns holds {taken[0]}, which is a column of {items.path} already: "
            f"give it another name"
        )
    if recipe["item_year"] not in items.types:
        raise PaddockError(
            f"dataset.join.item_year: {items.path} has no column {recipe['item_year']!r}; "
            f"{nearest(recipe['item_year'], items.types)}"
        )
    titles = item_titles(items, recipe["item_title"], key="dataset.join.item_title").to_list()
    years = items.cells[recipe["item_year"]].cast(pl.Int64, strict=False).to_list()
    rows = _rows(path, recipe)
    places = _Index(rows).places(titles, years)
    cells = {
        name: [None if place is None else rows[place].values[number] for place in places]
        for number, name in enumerate(recipe["columns"])
    }
    made = [_column(name, values, recipe["lists"].get(name)) for name, values in cells.items()]
    kinds = {name: "token_seq" if name in recipe["lists"] else "token" for name in cells}
    return Joined(
        replace(items, cells=items.cells.with_columns(made), types={**items.types, **kinds}),
        pl.Series([place is not None for place in places], dtype=pl.Boolean),
    )


class _Row(NamedTuple):
    title: str
    year: int
    preferred: float
    values: Sequence[str | None]


class _Index:
    """Rows of the table by their normalised names, and by the parts of these."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows = rows
        self._whole: dict[str, list[int]] = defaultdict(list)
        self._part: dict[str, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            for name in titles(row.title):
                self._whole[name].append(place)
            pieces = _PARTS.split(row.title)
            if len(pieces) > 1:
                for name in dict.fromkeys(name for piece in pieces for name in titles(piece)):
                    self._part[name].append(place)

    def places(self, named: Sequence[str | None], years: Sequence[int | None]) -> list[int | None]:
        """The row of each title and year; None where there is none."""
        return [self._place(name or "", year) for name, year in zip(named, years, strict=True)]

    def _place(self, title: str, year: int | None) -> int | None:
        if year is None:
            return None
        names = titles(title)
        whole = self._near(self._whole, names, year)
        if whole:
            rows = self._rows
            return min(whole, key=lambda at: (abs(rows[at].year - year), -rows[at].preferred, at))
        part = self._near(self._part, names, year)
        return part[0] if len(part) == 1 else None

    def _near(self, index: Mapping[str, list[int]], names: Sequence[str], year: int) -> list[int]:
        found = {place for name in names for place in index.get(name, ())}
        return sorted(at for at in found if abs(self._rows[at].year - year) <= YEARS)


def _rows(path: Path, recipe: Mapping[str, Any]) -> list[_Row]:
    """The rows with a title and a year, in the order of the table."""
    wanted = [recipe["title"], recipe["year"], *recipe["columns"].values()]
    wanted += [recipe["prefer"]] if recipe["prefer"] else []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            known = _columns(database, path, recipe["table"])
            for name in wanted:
                if name not in known:
                    raise PaddockError(
                        f"dataset.join: the table {recipe['table']} of {path} has no column {name!r}; "
                        f"{nearest(name, known)}"
                    )
            chosen = ", ".join(map(_quoted, wanted))
            found = database.execute(
                f"SELECT {chosen} FROM {_quoted(recipe['table'])} ORDER BY rowid"
            ).fetchall()
    except sqlite3.Error as error:
        raise PaddockError(
            f"{path} cannot be read as an SQLite file ({error}); set dataset.join.source to another"
        ) from error
    stop = 2 + len(recipe["columns"])
    return [
        _Row(
            str(row[0]),
            int(row[1]),
            _number(row[stop]) if recipe["prefer"] else 0.0,
            [None if cell in (None, "") else _one_line(str(cell)) for cell in row[2:stop]],
        )
        for row in found
        if row[0] and _number(row[1])
    ]


def _columns(database: sqlite3.Connection, path: Path, table: str) -> list[str]:
    tables = [
        name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    if table not in tables:
        raise PaddockError(
            f"dataset.join.table: {path} has no table {table!r}; "
            f"{nearest(table, tables, what='tables')}"
        )
    return [row[1] for row in database.execute(f"PRAGMA table_info({_quoted(table)})")]


def _quoted(name: str) -> str:
    """A name in SQL, whatever stands in it."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _number(cell: object) -> float:
    """A cell as a number; 0 where it is none."""
    try:
        return float(str(cell))
    except ValueError:
        return 0.0


def _one_line(cell: str) -> str:
    """A cell as atomic files could hold it."""
    return " ".join(cell.replace("\0", " ").split())


def _column(name: str, values: Sequence[str | None], most: int | None) -> pl.Series:
    """Strings; of a list, whose entries commas part, the first `most` entries."""
    if most is None:
        return pl.Series(name, values, dtype=pl.String)
    parted = [
        value and [each.strip() for each in value.split(",") if each.strip()][:most]
        for value in values
    ]
    return pl.Series(name, parted, dtype=pl.List(pl.String))
