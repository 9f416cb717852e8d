"""Parquet files, whose columns have types of their own: all of them read as text, or refused by name."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.data.readers.table import cell_error
from experiments.errors import PaddockError

_REFUSED = (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError)


def open_parquet(
    path: Path,
) -> tuple[list[str], Callable[[list[str]], pl.DataFrame], Callable[[int], int]]:
    """Columns, what reads them, and the number of a row, which has no line, counted from 1.

    Parameters
    ----------
    path : Path

    Raises
    ------
    PaddockError
        If it is no Parquet file, or a damaged one.
    """
    try:
        schema = pq.read_schema(path)
        if len(set(schema.names)) < len(schema.names):
            twice = next(name for name in schema.names if schema.names.count(name) > 1)
            raise cell_error(path, 1, twice, "two columns have this name; rename one")
        odd = [field.name for field in schema if _unknown_zone(field.type)]
    except _REFUSED as error:
        raise PaddockError(f"{path} is no Parquet file: {_line(error)}; get it again") from None

    def read(names: list[str]) -> pl.DataFrame:
        try:
            if odd:
                return _with_zones(path, names)
            return pl.scan_parquet(path, glob=False).select(names).collect(engine="streaming")
        except _REFUSED as error:
            raise PaddockError(
                f"{path} is a damaged Parquet file, or holds a type that is unknown here: "
                f"{_line(error)}; get it again, or write it with other types"
            ) from None

    return schema.names, read, lambda row: row + 1


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


def _with_zones(path: Path, names: list[str]) -> pl.DataFrame:
    """The columns with the same moments in UTC, which is how a file keeps them."""
    table = pq.ParquetFile(path).read(columns=names)
    schema = pa.schema(
        pa.field(field.name, pa.timestamp(field.type.unit, "UTC"))
        if _unknown_zone(field.type)
        else field
        for field in table.schema
    )
    return cast(pl.DataFrame, pl.from_arrow(table.cast(schema))).select(names)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
