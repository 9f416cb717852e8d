"""The interactions of a source, piece by piece: checked, coded, filtered, put in order.

Dimensions: R rows. What is held at a time are some rows and one number or token a user and item; all rows
are held on the disk.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from experiments.data.cells import Times, first_true, numbers, tokens
from experiments.data.columns import Appended, ArrowColumns
from experiments.data.feature_tables import FeatureTable
from experiments.data.filters import by_user_and_time, k_core
from experiments.data.readers.table import Table, shown
from experiments.errors import PaddockError

MOST_ROWS = 2**31 - 1
"""Of an Arrow batch."""
ROW_BYTES = 64
"""Most that one row takes while rows are sorted: its columns twice, a key, its place."""

_UNSAFE = ((r"[\t\n]", "a line break"), (r"\x00", "a NUL byte or half a character"))


class Codes:
    """Tokens numbered from 0 in the order of their first appearance, those of a column."""

    def __init__(self) -> None:
        self._dtype = pl.Categorical(pl.Categories.random())
        # polars forgets the categories when no series has them.
        self._kept = pl.Series([], dtype=self._dtype)
        self._known = 0

    def __len__(self) -> int:
        return self._known

    def of(self, cells: pl.Series) -> np.ndarray:
        """Int32 codes of the next cells, none of them null."""
        codes = cells.cast(self._dtype).to_physical().to_numpy()
        new = codes[codes >= self._known]
        if len(new):
            found = pl.Series(new).unique(maintain_order=True).to_numpy()
            assert np.array_equal(found, np.arange(self._known, self._known + len(found)))
            self._known += len(found)
        return codes.astype(np.int32)

    def tokens(self, start: int = 0) -> pl.Series:
        """The token of each code, those from `start` on."""
        codes = pl.Series(np.arange(start, self._known, dtype=np.uint32))
        return codes.cat.to(self._dtype).cast(pl.String)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What was read: `columns` holds code of user and item, time and rating of the rows above the minimum.

    Attributes
    ----------
    columns : Appended
    times : Times or None
    rated : bool
        Whether there are ratings.
    users, items : Codes
    read, left : int
        Rows that were read, and those of them that are not below the least rating.
    """

    columns: Appended
    times: Times | None
    rated: bool
    users: Codes
    items: Codes
    read: int
    left: int


def read_rows(
    file: Table,
    columns: Mapping[str, str | None],
    min_rating: float | None,
    tables: Mapping[str, FeatureTable],
    into: Appended,
) -> Rows:
    """Read all interactions onto the disk.

    Parameters
    ----------
    file : Table
    columns : mapping of str to str or None
        "user", "item", "time", "rating" -> the column that holds it.
    min_rating : float or None
        Rows below it are counted, and left out.
    tables : mapping of str to FeatureTable
        "user" and "item" -> what is known of them; a complete file must have them all.
    into : Appended

    Raises
    ------
    PaddockError
        For a malformed cell, no row at all, or an id that is unknown to its file.
    """
    codes = {"user": Codes(), "item": Codes()}
    when = Times(columns["time"]) if columns["time"] else None
    read = left = 0
    for piece in file.pieces():
        found = {role: _coded(piece, tables[role].column, codes[role]) for role in codes}
        if when is not None:
            found["time"] = when.read(piece)
        if columns["rating"]:
            ratings = numbers(piece, columns["rating"])
            found["rating"] = ratings.astype(np.float32)
            if min_rating is not None:
                kept = ratings >= min_rating
                found = {name: values[kept] for name, values in found.items()}
        into.append(found)
        read += piece.cells.height
        left += len(found["user"])
        if read > MOST_ROWS:
            raise PaddockError(
                f"{file.path} has more than {MOST_ROWS:,} interactions, the most of one data set; "
                f"leave some out, or part them into several"
            )
    if read == 0:
        raise PaddockError(
            f"{file.path}, line 2: no interaction below the header ({', '.join(file.types)}); "
            f"write one row an interaction"
        )
    for role, each in codes.items():
        _refuse_unknown(file, tables[role], each)
    return Rows(
        columns=into,
        times=when,
        rated=bool(columns["rating"]),
        users=codes["user"],
        items=codes["item"],
        read=read,
        left=left,
    )


def core(rows: Rows, filters: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of each user and each item that the filters keep, by code; 0 for those that are dropped.

    Parameters
    ----------
    rows : Rows
    filters : mapping
        Of `dataset.filters`.

    Raises
    ------
    PaddockError
        When nothing is left.
    """
    user_rows, item_rows = k_core(
        lambda: ((each["user"], each["item"]) for each in rows.columns.pieces("user", "item")),
        users=len(rows.users),
        items=len(rows.items),
        min_user_interactions=filters["min_user_interactions"],
        min_item_interactions=filters["min_item_interactions"],
    )
    if not user_rows.any():
        said = ", ".join(
            f"dataset.filters.{key}={value}" for key, value in filters.items() if value
        )
        raise PaddockError(
            f"no interaction is left: of {rows.read} rows, {rows.left} pass the rating filter and "
            f"none of them the minima; loosen {said}"
        )
    return user_rows, item_rows


def types_of(rows: Rows) -> dict[str, np.dtype]:
    """The columns that are kept, with their types."""
    types: dict[str, np.dtype] = {"user": np.dtype(np.int32), "item": np.dtype(np.int32)}
    if rows.times is not None:
        types["time"] = np.dtype(rows.times.dtype)
    if rows.rated:
        types["rating"] = np.dtype(np.float32)
    return types


def put_in_order(
    rows: Rows, user_rows: np.ndarray, item_rows: np.ndarray, into: ArrowColumns, *, memory: int
) -> None:
    """Write the rows that are kept by user and time, with ids from 1 in the order of the codes.

    Users are parted into ranges whose rows fit into the memory. Each row goes to the place of its
    range, whose rows are then sorted there.

    Parameters
    ----------
    rows : Rows
    user_rows, item_rows : np.ndarray of int64
        As `core` gives them.
    into : ArrowColumns
        As long as all that are kept.
    memory : int
        Bytes; the rows of one user are held whole, whatever it is.
    """
    ends = np.cumsum(user_rows)
    ranges = _ranges(ends, max(memory // ROW_BYTES, 1))
    starts = np.append(0, ends)[ranges]
    user_ids, item_ids = (np.cumsum(each > 0, dtype=np.int32) for each in (user_rows, item_rows))
    filled = starts.copy()
    for piece in rows.columns.pieces(*into.types):
        kept = (user_rows[piece["user"]] > 0) & (item_rows[piece["item"]] > 0)
        codes = piece["user"][kept]
        found = {name: values[kept] for name, values in piece.items()}
        found["user"], found["item"] = user_ids[codes], item_ids[found["item"]]
        if rows.times is not None:
            found["time"] = rows.times.final(found["time"])
        for number, chosen in _by_range(ranges, codes):
            into.write(filled[number], {name: values[chosen] for name, values in found.items()})
            filled[number] += len(found["user"][chosen])
    for start, stop in zip(starts, [*starts[1:], ends[-1]], strict=True):
        users = into.read("user", start, stop)
        times = into.read("time", start, stop) if "time" in into.types else None
        order = by_user_and_time(users - users[:1], times)
        into.write(start, {"user": users[order]})
        if times is not None:
            into.write(start, {"time": times[order]})
        del users, times
        for name in into.types.keys() - {"user", "time"}:
            into.write(start, {name: into.read(name, start, stop)[order]})


def _ranges(ends: np.ndarray, most: int) -> np.ndarray:
    """The first code of each range of users that has at most so many rows, or is one user."""
    firsts, before = [0], 0
    while ends[-1] - before > most:
        # The users whose rows all end within what one range may hold, and one at least.
        following = int(np.searchsorted(ends, before + most, side="right"))
        following = max(following, firsts[-1] + 1)
        if following >= len(ends):
            break
        firsts.append(following)
        before = int(ends[following - 1])
    return np.array(firsts)


def _by_range(ranges: np.ndarray, codes: np.ndarray) -> Iterator[tuple[int, Any]]:
    """Every range with rows, and which rows they are, in their order."""
    if len(ranges) == 1:
        yield 0, slice(None)
        return
    of = (np.searchsorted(ranges, codes, side="right") - 1).astype(np.min_scalar_type(len(ranges)))
    order = np.argsort(of, kind="stable")
    stops = np.cumsum(np.bincount(of, minlength=len(ranges)))
    for number in np.unique(of):
        start = stops[number - 1] if number else 0
        yield int(number), order[start : stops[number]]


def _coded(piece: Table, column: str, codes: Codes) -> np.ndarray:
    known = len(codes)
    found = codes.of(tokens(piece, column))
    new = codes.tokens(known)
    # Half of a character, which JSON may spell, is a NUL byte in the columns.
    for pattern, what in _UNSAFE:
        first = first_true(new.str.contains(pattern))
        if first is not None:
            row = int(np.argmax(found == known + first))
            raise piece.error(row, column, f"{shown(new[first])} is an id that holds {what}")
    return found


def _refuse_unknown(file: Table, table: FeatureTable, codes: Codes) -> None:
    """Refuse the first id that a complete file does not have."""
    if table.file is None or not table.file.complete:
        return
    found = codes.tokens()
    unknown = ~found.is_in(table.file.cells[table.column].implode())
    code = first_true(unknown)
    if code is None:
        return
    problem = (
        f"{shown(found[code])} is unknown to {table.file.path.name}, which lacks "
        f"{unknown.sum()} of {len(found)}; add its row there, or drop its interactions"
    )
    for piece in file.pieces():
        row = first_true(piece.cells[table.column] == found[code])
        if row is not None:
            raise piece.error(row, table.column, problem)
