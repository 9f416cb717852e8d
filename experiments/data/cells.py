"""The cells of tables turned into values: tokens, numbers, times, features."""

import numpy as np
import polars as pl

from experiments.data.readers.table import Table, shown
from experiments.errors import PaddockError

# Past this size a 64-bit float cannot tell one whole number from the next.
_EXACT = 2.0**53
_DATE = r"^\d{4}-\d{2}-\d{2}"


def tokens(file: Table, column: str) -> pl.Series:
    """The strings of a column of ids, none of them empty.

    Parameters
    ----------
    file : Table
        Of R rows.
    column : str

    Returns
    -------
    polars.Series of String, shape (R,)

    Raises
    ------
    PaddockError
        For an empty cell, or a column that is no token.
    """
    if file.types[column] != "token":
        raise _retype(file, column, "token", "ids")
    cells = file.cells[column]
    _refuse_first(
        file,
        column,
        cells.is_null() | (cells.str.strip_chars() == ""),
        "an empty id; fill it in or drop the row",
    )
    return cells


def numbers(file: Table, column: str) -> np.ndarray:
    """The numbers of a column that lacks none.

    Parameters
    ----------
    file : Table
        Of R rows.
    column : str

    Returns
    -------
    np.ndarray of float64, shape (R,)
        All finite.

    Raises
    ------
    PaddockError
        For a cell that is empty or no finite number, or a column that is not of numbers.
    """
    if file.types[column] not in ("float", "time"):
        raise _retype(file, column, "float", "numbers")
    cells = file.cells[column]
    _refuse_first(file, column, cells.is_null(), "no number; fill it in or drop the row")
    return _floats(file, column, cells).to_numpy()


def times(file: Table, column: str) -> np.ndarray:
    """The time of each row.

    Float32, which RecBole reads times into, is 64 seconds coarse for seconds since 1970. Where a
    column of type time begins with an ISO date, all its cells must be dates.

    Parameters
    ----------
    file : Table
        Of R rows.
    column : str

    Returns
    -------
    np.ndarray of int64 or float64, shape (R,)
        Int64 where all are whole numbers. In the unit of the file; dates are seconds since 1970.

    Raises
    ------
    PaddockError
        For a cell that is no time, or too large to be exact.
    """
    if file.types[column] == "time" and file.cells[column].head(1).str.contains(_DATE).any():
        return _dates(file, column)
    if file.types[column] in ("float", "time"):
        whole = file.cells[column].cast(pl.Int64, strict=False)
        if whole.null_count() == 0:
            return whole.to_numpy()
    values = numbers(file, column)
    _refuse_first(
        file,
        column,
        pl.Series(np.abs(values) >= _EXACT),
        "too large to be exact beside times with fractions; write all times as whole numbers",
    )
    return values


def features(file: Table) -> pl.DataFrame:
    """All columns by their types: String, Float64, List(String), List(Float64).

    An empty cell is null, in a sequence column an empty list.

    Raises
    ------
    PaddockError
        For a cell that is not of its column's type.
    """
    return pl.DataFrame([_feature(file, column) for column in file.cells.columns])


def encode(cells: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Number tokens from 0 in the order of their first appearance.

    Parameters
    ----------
    cells : polars.Series of String, shape (R,)

    Returns
    -------
    codes : np.ndarray of int32, shape (R,)
    tokens : polars.Series, shape (N,)
        The token of each code.
    """
    dictionary = cells.to_arrow().dictionary_encode()
    known = pl.Series(cells.name, dictionary.dictionary, dtype=pl.String)
    return dictionary.indices.to_numpy(), known


def first_true(flags: pl.Series) -> int | None:
    """The first row where `flags` is true, None where none is."""
    return flags.arg_max() if flags.any() else None


def _feature(file: Table, column: str) -> pl.Series:
    cells = file.cells[column]
    kind = file.types[column]
    if kind == "token" or isinstance(cells.dtype, pl.List):
        return cells
    if kind == "float":
        return _floats(file, column, cells)
    element = pl.element()
    parts = cells.fill_null("").str.split(" ").list.eval(element.filter(element != ""))
    if kind == "token_seq":
        return parts
    values = parts.list.eval(element.cast(pl.Float64, strict=False))
    bad = values.list.eval(element.is_null() | ~element.is_finite()).list.any()
    _refuse_first(file, column, bad, "not finite numbers parted by blanks; correct it or empty it")
    return values


def _dates(file: Table, column: str) -> np.ndarray:
    """Seconds since 1970 of ISO dates with or without a time of day: int64 when all are whole."""
    cells = file.cells[column].str.replace("Z$", "").str.replace("T", " ")
    days = cells.str.to_datetime("%Y-%m-%d", strict=False, time_unit="us")
    exact = cells.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us")
    moments = pl.select(pl.coalesce(exact, days)).to_series()
    _refuse_first(
        file, column, moments.is_null(), "no date such as 2017-12-31 or 2017-12-31 23:59:59"
    )
    micros = moments.dt.epoch("us").to_numpy()
    return micros // 1_000_000 if not (micros % 1_000_000).any() else micros / 1e6


def _floats(file: Table, column: str, cells: pl.Series) -> pl.Series:
    """Numbers where there is a cell, null where it is empty."""
    values = cells.cast(pl.Float64, strict=False)
    _refuse_first(
        file,
        column,
        (values.is_null() & cells.is_not_null()) | ~values.is_finite().fill_null(True),
        "not a finite number; correct it or drop the row",
    )
    return values


def _refuse_first(file: Table, column: str, bad: pl.Series, problem: str) -> None:
    """Refuse the first cell where `bad` is true."""
    row = first_true(bad)
    if row is not None:
        value = file.cells[column][row]
        raise file.error(row, column, f"{shown('' if value is None else value)} is {problem}")


def _retype(file: Table, column: str, kind: str, what: str) -> PaddockError:
    # The header is one line above the first row.
    return file.error(
        -1,
        column,
        f"the type is {file.types[column]!r} where {what} are needed; write '{column}:{kind}'",
    )
