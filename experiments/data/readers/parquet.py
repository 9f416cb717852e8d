"""Parquet files, whose columns have types of their own: all of them read as text, or refused by name."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.data.readers.table import PIECE_ROWS, cell_error
from experiments.data.sources.locate import parquet_parts
from experiments.errors import PaddockError

_REFUSED = (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError)
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class Piece(NamedTuple):
    """Some rows of one file: the first is row `start` of it, whose line `line_of` tells."""

    path: Path
    cells: pl.DataFrame
    start: int
    line_of: Callable[[int], int]


class ParquetParts:
    """A Parquet file, or all of a folder, whose rows follow each other in the order of their paths.

    Parameters
    ----------
    path : Path
        A file or a folder. Names of folders such as year=2020 are columns.

    Raises
    ------
    PaddockError
        If one is no Parquet file or a damaged one, or the first has two columns of a name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts = parquet_parts(path) if path.is_dir() else [path]
        self._schema = _schema(self._parts[0])
        self._folders = list(_folder_values(path, self._parts[0]))
        self.header = [*self._schema.names, *self._folders]
        twice = next((name for name in self.header if self.header.count(name) > 1), None)
        if twice is not None:
            raise cell_error(self._parts[0], 1, twice, "two columns have this name; rename one")

    def line_of(self, row: int) -> int:
        """The number of a row, which has no line, counted from 1."""
        return row + 1

    def empty(self, names: list[str]) -> pl.DataFrame:
        """No row of some columns, with their types."""
        schema = self._schema
        for part in self._parts[1:]:
            self._compare(part, names)
        own = [name for name in names if name not in self._folders]
        with _refusing(self._parts[0]):
            table = pa.schema([_field(schema.field(name)) for name in own]).empty_table()
            cells = cast(pl.DataFrame, pl.from_arrow(table))
        folders = [pl.lit(None, dtype=pl.String).alias(name) for name in self._folders]
        return cells.with_columns(folders).select(names).clear()

    def pieces(self, names: list[str]) -> Iterator[Piece]:
        """The cells of some columns, some rows at a time."""
        for part in self._parts:
            values = _folder_values(self._path, part)
            folders = [pl.lit(values[name], dtype=pl.String).alias(name) for name in self._folders]
            own = [name for name in names if name not in self._folders]
            start = 0
            with (
                _refusing(part),
                # Without buffers of its own it would hold the columns of a whole row group.
                pq.ParquetFile(part, buffer_size=1 << 20, pre_buffer=False) as opened,
            ):
                schema = pa.schema([_field(self._schema.field(name)) for name in own])
                for batch in opened.iter_batches(PIECE_ROWS, columns=own):
                    rows = batch.select(own).cast(schema)
                    cells = cast(pl.DataFrame, pl.from_arrow(rows)).with_columns(folders)
                    yield Piece(part, cells.select(names), start, self.line_of)
                    start += cells.height

    def _compare(self, part: Path, names: list[str]) -> None:
        """Refuse a part whose columns, among those that are read, are not those of the first."""
        schema, first = _schema(part), self._parts[0]
        if list(_folder_values(self._path, part)) != self._folders:
            raise PaddockError(
                f"{part}: its folders name other columns than those of {first}; let all parts lie "
                f"as deep, in folders such as year=2020"
            )
        for name in names:
            if name in self._folders:
                continue
            if name not in schema.names:
                raise cell_error(
                    part, 1, name, f"no such column, which {first} has; write both alike"
                )
            here, there = schema.field(name).type, self._schema.field(name).type
            if here != there:
                raise cell_error(
                    part, 1, name, f"its type is {here}, in {first} it is {there}; write both alike"
                )


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except _REFUSED as error:
        raise PaddockError(f"{path} is no Parquet file: {_line(error)}; get it again") from None


def _field(field: pa.Field) -> pa.Field:
    """The column in UTC where its time zone has no name, which polars gives up on; moments are equal."""
    if not _unknown_zone(field.type):
        return field
    return pa.field(field.name, pa.timestamp(field.type.unit, "UTC"))


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except _REFUSED as error:
        raise PaddockError(
            f"{path} is a damaged Parquet file, or holds a type that is unknown here: "
            f"{_line(error)}; get it again, or write it with other types"
        ) from None


def _folder_values(folder: Path, part: Path) -> dict[str, str | None]:
    """Column to value, of the names of folders such as year=2020 between the folder and the part."""
    if part == folder:
        return {}
    pairs = (name.partition("=") for name in part.relative_to(folder).parent.parts)
    return {
        unquote(key): None if value == _NO_VALUE else unquote(value)
        for key, equals, value in pairs
        if equals
    }


def as_texts(
    path: Path, cells: pl.DataFrame, found: Mapping[str, str], *, flat: Collection[str]
) -> pl.DataFrame:
    """Cells as text, null where they are empty; lists as lists of text.

    Parameters
    ----------
    path : Path
        The file, for messages.
    cells : polars.DataFrame
        Columns of any type.
    found : mapping of str to str
        Column -> what the file calls it.
    flat : collection of str
        The columns that hold one id, number or time a row.

    Raises
    ------
    PaddockError
        Naming the first column whose type has no text.
    """
    texts = []
    for column, name in found.items():
        dtype = cells.schema[name]
        if column in flat and (dtype.is_nested() or dtype == pl.Duration):
            raise _refused(path, name, dtype)
        try:
            texts.append(cells.select(_as_text(name, dtype).alias(column)).to_series())
        except _REFUSED as error:
            raise _refused(path, name, dtype, f" ({_line(error)})") from None
    return pl.DataFrame(texts)


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.String:
        return pl.when(column != "").then(column)
    if isinstance(dtype, pl.List):
        return column.cast(pl.List(pl.String))
    if dtype.is_float():
        return column.fill_nan(None).cast(pl.String)  # what pandas writes for none
    if dtype.is_temporal() and dtype != pl.Duration and dtype != pl.Time:
        return column.cast(pl.Datetime("us")).dt.to_string("iso:strict")
    return column.cast(pl.String)


def _refused(path: Path, name: str, dtype: pl.DataType, why: str = "") -> PaddockError:
    return cell_error(
        path, 1, name, f"its type {dtype} is not read{why}; write strings, numbers or dates"
    )


def _unknown_zone(dtype: pa.DataType) -> bool:
    """Whether a time zone has no name: polars gives up on such a file, its other columns included."""
    if not pa.types.is_timestamp(dtype) or dtype.tz is None:
        return False
    try:
        ZoneInfo(dtype.tz)
    except (OSError, ValueError, KeyError):  # not found, or no name at all
        return True
    return False


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
