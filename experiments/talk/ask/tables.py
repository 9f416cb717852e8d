"""The tables that questions are asked of, in a DuckDB that can read nothing else."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl

from experiments.errors import PaddockError
from experiments.talk.ask.statement import checked_statement
from experiments.talk.catalogue import Catalogue

if TYPE_CHECKING:
    import duckdb

    from experiments.data.prepared import Prepared

SECONDS = 5.0
ROWS = 1000
CELL = 500
"""Characters of a cell that are given out."""

_LOCKED = (
    "SET memory_limit = '1GB'",
    "SET threads = 1",
    # Variables of the program are no tables.
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    # Neither files nor networks nor other databases, and no way back.
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


class Tables:
    """The tables `interactions`, `items`, `users` and, where there is one, `feedback`.

    Users and items are named as the source names them; columns of years and numbers hold numbers.

    Parameters
    ----------
    frames : mapping of str to DataFrame
    """

    def __init__(self, frames: dict[str, pl.DataFrame]) -> None:
        import duckdb

        self.columns = {name: tuple(frame.columns) for name, frame in frames.items()}
        self.types = {
            name: {column: str(dtype) for column, dtype in frame.schema.items()}
            for name, frame in frames.items()
        }
        self._connection = duckdb.connect(":memory:")
        # One question at a time: an interruption must not meet another's.
        self._lock = threading.Lock()
        for name, frame in frames.items():
            self._connection.register(name, frame.to_arrow())
        for setting in _LOCKED:
            self._connection.execute(setting)

    @classmethod
    def of(
        cls, data: "Prepared", catalogue: Catalogue, *, feedback: pl.DataFrame | None = None
    ) -> "Tables":
        """The tables of a prepared data set.

        Parameters
        ----------
        data : Prepared
        catalogue : Catalogue
        feedback : DataFrame, optional
            What people said of what was recommended.
        """
        tokens = {
            "user_id": pl.Series(data.user_tokens).gather(pl.Series(data.users)),
            "item_id": pl.Series(data.item_tokens).gather(pl.Series(data.items)),
        }
        values = {
            name: pl.Series(values)
            for name, values in (("rating", data.ratings), ("timestamp", data.timestamps))
            if values is not None
        }
        frames = {
            "interactions": pl.DataFrame({**tokens, **values}),
            "items": _items(catalogue),
            "users": _users(catalogue),
        }
        if feedback is not None and feedback.width:
            frames["feedback"] = feedback
        return cls(frames)

    def answer(self, sql: str, *, seconds: float = SECONDS, rows: int = ROWS) -> "Table":
        """What a statement gives.

        Parameters
        ----------
        sql : str
            Is checked by `checked_statement` first.
        seconds : float
            After which it is interrupted.
        rows : int
            The most rows of the answer.

        Raises
        ------
        PaddockError
            It may not run, fails, or takes too long.
        """
        statement = checked_statement(sql, self.columns)
        limited = f"SELECT * FROM ({statement}) AS answer LIMIT {rows + 1}"
        with self._lock, self._within(seconds) as connection:
            done = connection.execute(limited)
            names = [column[0] for column in done.description or ()]
            found = done.fetchall()
        cells = [tuple(map(_cell, row)) for row in found[:rows]]
        return Table(sql=statement, columns=names, rows=cells, cut=len(found) > rows)

    @contextmanager
    def _within(self, seconds: float) -> "Iterator[duckdb.DuckDBPyConnection]":
        import duckdb

        timer = threading.Timer(seconds, self._connection.interrupt)
        timer.start()
        try:
            yield self._connection
        except duckdb.InterruptException:
            raise PaddockError(
                f"the question took more than {seconds:g} seconds: ask for less"
            ) from None
        except duckdb.Error as error:
            said = str(error).splitlines()[0][:200]
            raise PaddockError(f"the SQL cannot be answered: {said}") from None
        finally:
            timer.cancel()


class Table:
    """The answer to a question.

    Attributes
    ----------
    sql : str
        The statement that gave it.
    columns : list of str
    rows : list of tuple
        Texts, numbers, booleans and None.
    cut : bool
        Whether there are more rows than are here.
    """

    def __init__(
        self, *, sql: str, columns: list[str], rows: Sequence[tuple[Any, ...]], cut: bool
    ) -> None:
        self.sql, self.columns, self.rows, self.cut = sql, columns, rows, cut

    def as_plain(self) -> dict[str, Any]:
        """Plain content, for JSON."""
        rows = [list(row) for row in self.rows]
        return {"sql": self.sql, "columns": self.columns, "rows": rows, "cut": self.cut}


def _items(catalogue: Catalogue) -> pl.DataFrame:
    frame = catalogue.items
    first = frame.columns[0]
    own = [name for name in frame.columns[1:] if name != "title"]
    return frame.select(
        pl.col(first).cast(pl.String).alias("item_id"),
        pl.Series("title", catalogue.titles),
        *(
            _typed(name, whole=name in catalogue.years, number=name in catalogue.numbers)
            for name in own
        ),
    )


def _users(catalogue: Catalogue) -> pl.DataFrame:
    frame = catalogue.users
    numbers = {name for name, values in catalogue.profile.items() if not values}
    return frame.select(
        pl.col(frame.columns[0]).cast(pl.String).alias("user_id"),
        *(_typed(name, whole=False, number=name in numbers) for name in frame.columns[1:]),
    )


def _typed(name: str, *, whole: bool, number: bool) -> pl.Expr:
    column = pl.col(name)
    if whole:
        return column.cast(pl.Float64, strict=False).cast(pl.Int32)
    return column.cast(pl.Float64, strict=False) if number else column


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return str(value)[:CELL]
