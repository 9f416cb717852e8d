"""The cells of one source file, whatever its format, and the errors that refuse one."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from experiments.errors import PaddockError

PIECE_ROWS = 1 << 19
"""Rows that are held at a time where a table is read piece by piece."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of one file of interactions, items or users.

    Attributes
    ----------
    path : Path
    types : dict of str to str
        Column to type: token, float, token_seq, float_seq, or time (a number or an ISO date).
    cells : polars.DataFrame
        Strings, null where a cell is empty; lists of strings where the file itself holds lists.
    line_of : callable
        The line of a row, both counted from 0 and 1: row 0 is the first that holds data.
    complete : bool
        Whether the file must hold every user or item that interacts, each of them once. Metadata
        that was collected apart from the interactions is not complete.
    names : mapping of str to str
        What the file itself calls a column, where that differs.
    stream : callable, optional
        Gives the rows piece by piece, each time that it is called from the first one. `cells` has no row
        then, but all columns.
    """

    path: Path
    types: dict[str, str]
    cells: pl.DataFrame
    line_of: Callable[[int], int]
    complete: bool = True
    names: Mapping[str, str] = field(default_factory=dict)
    stream: "Callable[[], Iterator[Table]] | None" = None

    def pieces(self) -> "Iterator[Table]":
        """The rows as tables of some, in their order, which keep their lines; none is empty."""
        if self.stream is None:
            starts = range(0, self.cells.height, PIECE_ROWS)
            yield from (self.piece(self.cells.slice(start, PIECE_ROWS), start) for start in starts)
        else:
            yield from (piece for piece in self.stream() if piece.cells.height)

    def piece(self, cells: pl.DataFrame, start: int) -> "Table":
        """A table of some of this one's rows.

        Parameters
        ----------
        cells : polars.DataFrame
        start : int
            The row that is the first of them.
        """
        line_of = self.line_of
        return replace(self, cells=cells, line_of=lambda row: line_of(row + start), stream=None)

    def line(self, row: int) -> int:
        """The line of a row; row 0 is the first that holds data."""
        return self.line_of(row)

    def error(self, row: int, column: str, problem: str) -> PaddockError:
        """The exception that refuses one cell, for the caller to raise.

        Parameters
        ----------
        row : int
            From 0; -1 is the header.
        column : str
            As in `cells`; the message has the file's own name of it.
        problem : str
            What is wrong and what to do, without the place.
        """
        return cell_error(self.path, self.line(row), self.names.get(column, column), problem)

    def take(self, rows: np.ndarray) -> "Table":
        """The given rows, which keep their lines.

        Parameters
        ----------
        rows : np.ndarray of int, shape (K,)
            Row numbers, from 0.
        """
        line_of = self.line_of
        return replace(self, cells=self.cells[rows], line_of=lambda row: line_of(int(rows[row])))


class Tables(NamedTuple):
    """The tables of one data set, as a reader gives them.

    Attributes
    ----------
    inter : Table
        One row an interaction, in the order of the file, with at least the required columns.
    item, user : Table or None
        One row an item or user, where the data set has such a file.
    """

    inter: Table
    item: Table | None
    user: Table | None


def cell_error(path: Path, line: int, column: str, problem: str) -> PaddockError:
    """The exception that refuses one cell."""
    return PaddockError(f"{path}, line {line}, column {column!r}: {problem}")


def line_error(path: Path, line: int, problem: str) -> PaddockError:
    """The exception that refuses a line which has no cells."""
    return PaddockError(f"{path}, line {line}: {problem}")


def nearest(word: str, known: Iterable[str], *, what: str = "columns") -> str:
    """The end of a message about a name that is not known: the nearest one, and all of them.

    Parameters
    ----------
    word : str
    known : iterable of str
    what : str
        What the names are the names of, in the plural.
    """
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.0)
    hint = f"the nearest is {close[0]!r}; " if close else ""
    return f"{hint}the {what} are {', '.join(names)}"


def shown(value: object) -> str:
    """A value as an error message shows it: quoted, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def require(path: Path, column: str, key: str, known: Iterable[str], *, line: int = 1) -> None:
    """Refuse a file that lacks a column, naming the key that asks for it.

    Parameters
    ----------
    path : Path
    column, key : str
        The column, and the configuration key that asks for it.
    known : iterable of str
        The columns that the file has.
    line : int
        The line that names them, counted from 1.

    Raises
    ------
    PaddockError
        Naming the nearest column.
    """
    names = list(known)
    if column not in names:
        without = f", or {key}=null" if key.endswith(OPTIONAL) else ""
        raise cell_error(
            path,
            line,
            column,
            f"no such column; {nearest(column, names)}; write {key}=COLUMN{without}",
        )


def interaction_types(columns: Mapping[str, str | None]) -> dict[str, str]:
    """Column to type, for interactions whose columns the configuration names.

    Parameters
    ----------
    columns : mapping of str to str or None
        "user", "item", "time", "rating" -> the column that holds it; None where there is none.
    """
    types = {"user": "token", "item": "token", "time": "time", "rating": "float"}
    return {name: types[role] for role, name in columns.items() if name}


def require_known(path: Path, required: Mapping[str, str], known: Iterable[str]) -> None:
    """Refuse a column that a release does not have under that name.

    Parameters
    ----------
    path : Path
    required : mapping of str to str
        Columns, each with the configuration key that asks for it.
    known : iterable of str
        The columns of the release, as Paddock calls them.

    Raises
    ------
    PaddockError
        Naming the nearest column.
    """
    for column, key in required.items():
        require(path, column, key, known)


OPTIONAL = (".time", ".rating")
"""The ends of the keys whose columns hold numbers, and may be null."""


def check_text(
    path: Path,
    chunk: bytes,
    *,
    offset: int,
    line: int,
    columns: list[str],
    separator: bytes = b"\t",
) -> None:
    """Refuse NUL bytes and bytes that are not UTF-8.

    Parameters
    ----------
    path : Path
    chunk : bytes
        Whole lines, of which the first is line `line` and begins at byte `offset`.
    columns : list of str
        The names of the cells of a line; cells past them go by their number.
    separator : bytes
        What parts the cells.

    Raises
    ------
    PaddockError
        Naming line, column and byte.
    """
    problem = ""
    at = chunk.find(b"\0")
    if at >= 0:
        problem = f"a NUL byte (byte {offset + at} of the file): not a text file, or not UTF-8"
    elif not chunk.isascii():
        try:
            chunk.decode()
        except UnicodeDecodeError as error:
            at = error.start
            problem = f"byte {chunk[at]:#04x} (byte {offset + at} of the file) is not UTF-8"
    if problem:
        first = chunk.rfind(b"\n", 0, at) + 1
        place = chunk[first:at].count(separator)
        cell = chunk[first:].split(b"\n", 1)[0].split(separator)[place]
        column = columns[place] if place < len(columns) else f"{place + 1}"
        raise cell_error(
            path,
            line + chunk.count(b"\n", 0, at),
            column,
            f"{problem}, in {shown(cell)}; save the file as UTF-8",
        )
