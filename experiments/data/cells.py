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


class Times:
    """The times of a table that is read piece by piece.

    Float32, which RecBole reads times into, is 64 seconds coarse for seconds since 1970. Where a
    column of type time begins with an ISO date, all its cells must be dates.

    What they are is known at the end: int64 where all are whole numbers, else float64, in the unit of
    the file; dates are seconds since 1970.

    Parameters
    ----------
    column : str
    """

    def __init__(self, column: str) -> None:
        self._column = column
        self._dated: bool | None = None
        self._exact = True
        self._too_large: PaddockError | None = None

    def read(self, file: Table) -> np.ndarray:
        """The times of the next piece, 8 bytes each, for `final`.

        Parameters
        ----------
        file : Table
            Of R rows, at least one.

        Returns
        -------
        np.ndarray of int64 or float64, shape (R,)

        Raises
        ------
        PaddockError
            For a cell that is no time, or too large to be exact.
        """
        column, kind = self._column, file.types[self._column]
        if self._dated is None:
            first = file.cells[column].head(1)
            self._dated = kind == "time" and bool(first.str.contains(_DATE).any())
        if self._dated:
            micros = _micros(file, column)
            self._exact &= not (micros % 1_000_000).any()
            return micros
        if kind in ("float", "time"):
            whole = file.cells[column].cast(pl.Int64, strict=False)
            if whole.null_count() == 0:
                values = whole.to_numpy()
                if self._too_large is None:
                    self._too_large = _first_error(file, column, *_large(values))
                return values
        values = numbers(file, column)
        self._exact = False
        _refuse_first(file, column, *_large(values))
        return values

    @property
    def dtype(self) -> type[np.int64] | type[np.float64]:
        """The type of all of them.

        Raises
        ------
        PaddockError
            For a whole number too large to be exact, where others have fractions.
        """
        if self._exact:
            return np.int64
        if not self._dated and self._too_large is not None:
            raise self._too_large
        return np.float64

    def final(self, values: np.ndarray) -> np.ndarray:
        """The times of a piece, after the last one was read.

        Parameters
        ----------
        values : np.ndarray of int64 or float64
            Of `read`, or some of them.
        """
        if self._dated:
            return values // 1_000_000 if self._exact else values / 1e6
        return values.astype(self.dtype)


def _large(values: np.ndarray) -> tuple[pl.Series, str]:
    """Which are too large to be exact as floats, and the sentence that says so."""
    # The smallest whole number has no absolute value in its type.
    return (
        pl.Series((values >= _EXACT) | (values <= -_EXACT)),
        "too large to be exact beside times with fractions; write all times as whole numbers",
    )


def features(file: Table) -> pl.DataFrame:
    """All columns by their types: String, Float64, List(String), List(Float64).

    An empty cell is null, in a sequence column an empty list.

    Raises
    ------
    PaddockError
        For a cell that is not of its column's type.
    """
    return pl.DataFrame([_feature(file, column) for column in file.cells.columns])


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


def _micros(file: Table, column: str) -> np.ndarray:
    """Microseconds since 1970 of ISO dates with or without a time of day, int64."""
    cells = file.cells[column].str.replace("Z$", "").str.replace("T", " ")
    days = cells.str.to_datetime("%Y-%m-%d", strict=False, time_unit="us")
    exact = cells.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us")
    moments = pl.select(pl.coalesce(exact, days)).to_series()
    _refuse_first(
        file, column, moments.is_null(), "no date such as 2017-12-31 or 2017-12-31 23:59:59"
    )
    return moments.dt.epoch("us").to_numpy()


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
    error = _first_error(file, column, bad, problem)
    if error is not None:
        raise error


def _first_error(file: Table, column: str, bad: pl.Series, problem: str) -> PaddockError | None:
    """What refuses the first cell where `bad` is true; None where none is."""
    row = first_true(bad)
    if row is None:
        return None
    value = file.cells[column][row]
    return file.error(row, column, f"{shown('' if value is None else value)} is {problem}")


def _retype(file: Table, column: str, kind: str, what: str) -> PaddockError:
    # The header is one line above the first row.
    return file.error(
        -1,
        column,
        f"the type is {file.types[column]!r} where {what} are needed; write '{column}:{kind}'",
    )
