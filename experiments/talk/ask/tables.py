"""The tables that questions are asked of, in a DuckDB that can read nothing else."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl

from experiments.address import sqlite_file
from experiments.errors import PaddockError
from experiments.serving.feedback import FeedbackStore
from experiments.talk.ask.statement import checked_statement
from experiments.talk.catalogue import Catalogue

if TYPE_CHECKING:
    import duckdb

    from experiments.data.prepared import Prepared

FEEDBACK = "feedback"
FEEDBACK_COLUMNS: Mapping[str, type[pl.DataType]] = {
    "user_id": pl.String,
    "session": pl.String,
    "item_id": pl.String,
    "kind": pl.String,
    "value": pl.Float64,
    "time": pl.Float64,
    "run_id": pl.String,
}
"""A row an answer to a recommendation: who gave it, to which item, "like" or another kind, its rating, seconds since
1970, the run that had recommended."""

ReadFeedback = Callable[[], pl.DataFrame]

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
    feedback : callable, optional
        Reads the table `feedback`, as `read_feedback` gives it. It grows while questions are asked: each
        that names it reads it again.
    """

    def __init__(
        self, frames: Mapping[str, pl.DataFrame], *, feedback: ReadFeedback | None = None
    ) -> None:
        import duckdb

        self._feedback = feedback
        if feedback is not None:
            frames = {**frames, FEEDBACK: pl.DataFrame(schema=FEEDBACK_COLUMNS)}
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
        cls, data: "Prepared", catalogue: Catalogue, *, feedback: ReadFeedback | None = None
    ) -> "Tables":
        """The tables of a prepared data set.

        Parameters
        ----------
        data : Prepared
        catalogue : Catalogue
        feedback : callable, optional
            Reads what people said of what was recommended.
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
        return cls(frames, feedback=feedback)

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
            It may not run, fails, or takes too long, or the feedback cannot be read.
        """
        statement = checked_statement(sql, self.columns)
        limited = f"SELECT * FROM ({statement}) AS answer LIMIT {rows + 1}"
        given = None
        if self._feedback is not None and re.search(rf"\b{FEEDBACK}\b", statement, re.IGNORECASE):
            given = self._feedback().to_arrow()
        with self._lock, self._within(seconds) as connection:
            if given is not None:
                connection.register(FEEDBACK, given)
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


def read_feedback(url: str) -> ReadFeedback:
    """What reads the feedback of a database, and writes nothing: no row where it is not there yet.

    Parameters
    ----------
    url : str
        As of `FeedbackStore`.
    """

    def read() -> pl.DataFrame:
        file = sqlite_file(url)
        rows: list[tuple[Any, ...]] = []
        if file is None or file.is_file():
            store = FeedbackStore(url)
            try:
                rows = [
                    (
                        each.user,
                        each.session,
                        each.item,
                        each.kind,
                        each.value,
                        each.time,
                        each.origin,
                    )
                    for each in store.read()
                ]
            finally:
                store.close()
        return pl.DataFrame(rows, schema=FEEDBACK_COLUMNS, orient="row")

    return read


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
