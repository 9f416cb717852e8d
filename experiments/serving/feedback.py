"""What users answer to recommendations: kept once each, in SQLite or PostgreSQL.

A record carries an idempotency key that its sender chose: sent again after a timeout, it is stored no
second time. A batch is one transaction, and when `FeedbackStore.add` returns it is on the disk.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

from experiments.address import problem, sqlite_file
from experiments.databases import of_machine, problem_of_file, reason_of, with_driver
from experiments.errors import FailedError, PaddockError
from experiments.files import hash_of
from experiments.locks import lock
from experiments.passwords import concealed, revealed, without_password

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, Table

Kind = Literal["click", "rating", "dismiss", "like", "dislike"]

KINDS: tuple[str, ...] = get_args(Kind)

LONGEST = 256
"""Characters of a key, a user, a session, an item or a run's id."""

MOST = 10_000
"""Records of one call of `FeedbackStore.add`."""

LARGEST = 1e9
"""Of a rating, either sign."""

LATEST = 253_402_300_800.0
"""The year 10000 in seconds since 1970: a time in milliseconds is refused."""

_TABLE = "paddock_feedback"
_AT_ONCE = 500
"""Rows of one statement; SQLite takes 32,766 values."""
_BUSY_SECONDS = 30.0
"""How long a SQLite connection waits for another's transaction."""
_ADVISORY_LOCK = int(hash_of(["paddock", "feedback"])[:15], 16)


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """One answer of one user to one item.

    Attributes
    ----------
    key : str
        Idempotency key: what is sent again under it is the same answer.
    user, session : str or None
        Who answered, at least one of them; a session is a visitor without an account.
    item : str
        The item's id.
    kind : str
        "click", "rating", "dismiss", "like" or "dislike".
    value : float or None
        The rating; None for every other kind.
    time : float
        When, in seconds since 1970.
    origin : str or None
        Id of the run whose recommendation was answered.

    Raises
    ------
    PaddockError
        A value is of another type, too long, or impossible.
    """

    key: str
    item: str
    kind: Kind
    time: float
    user: str | None = None
    session: str | None = None
    value: float | None = None
    origin: str | None = None

    def __post_init__(self) -> None:
        for name in ("key", "item"):
            _check_text(name, getattr(self, name))
        for name in ("user", "session", "origin"):
            if getattr(self, name) is not None:
                _check_text(name, getattr(self, name))
        if self.user is None and self.session is None:
            raise PaddockError("feedback names neither user nor session: give one of them")
        if self.kind not in KINDS:
            raise PaddockError(f"feedback kind={self.kind!r:.80} is unknown: {', '.join(KINDS)}")
        _set_number(self, "time", least=0.0, most=LATEST)
        if self.kind == "rating":
            _set_number(self, "value", least=-LARGEST, most=LARGEST)
        elif self.value is not None:
            raise PaddockError(
                f"feedback value={self.value!r:.80} belongs to kind=rating, not to kind={self.kind}"
            )

    @property
    def who(self) -> str:
        """The user; of a visitor without an account, "session:" and the session."""
        return self.user if self.user is not None else f"session:{self.session}"


def feedback_hash(records: Iterable[Feedback]) -> str:
    """The SHA-256 of records, whatever their order: equal for equal answers on every machine.

    Parameters
    ----------
    records : iterable of Feedback
        Each key once.
    """
    return hash_of([asdict(each) for each in sorted(records, key=lambda each: each.key)])


class FeedbackStore:
    """The database of feedback; its table is made where it is missing.

    Threads and processes share a store: each call is one transaction.

    Parameters
    ----------
    url : str
        sqlite:///FILE or postgresql://USER@HOST/NAME; a password in it is never shown.

    Raises
    ------
    PaddockError
        The address is none, or the database cannot be opened.
    """

    def __init__(self, url: str) -> None:
        if reason := problem(url, ("sqlite", "postgresql")):
            raise PaddockError(f"the feedback store {without_password(url)}: {reason}")
        if url.startswith("sqlite") and sqlite_file(url) is None:
            raise PaddockError(f"the feedback store {url} ends with its process: name a file")
        self.url = concealed(url)
        self.make_tables(self._table.metadata)

    def add(self, records: Sequence[Feedback]) -> int:
        """Store records; those whose key is there already change nothing.

        All of them are stored, or none is.

        Parameters
        ----------
        records : sequence of Feedback
            At most 10,000.

        Returns
        -------
        int
            How many were new.

        Raises
        ------
        PaddockError
            There are too many, a key stands for another answer already, or the database fails.
        """
        if len(records) > MOST:
            raise PaddockError(f"{len(records)} records of feedback at once: send at most {MOST}")
        new = 0
        with self.transaction() as connection:
            for start in range(0, len(records), _AT_ONCE):
                new += self._insert(connection, records[start : start + _AT_ONCE])
        return new

    def read(self, since: float | None = None) -> list[Feedback]:
        """The records in the order of their times, those of one time in the order of their keys.

        Parameters
        ----------
        since : float, optional
            Seconds since 1970: earlier answers are left out.

        Raises
        ------
        PaddockError
            The database fails.
        """
        import sqlalchemy

        columns = [column for column in self._table.columns if column.name != "number"]
        wanted = sqlalchemy.select(*columns)
        if since is not None:
            wanted = wanted.where(self._table.columns.time >= since)
        with self._explained(), self._engine.connect() as connection:
            records = [Feedback(**row) for row in connection.execute(wanted).mappings()]
        # Databases sort texts by rules of their own.
        return sorted(records, key=lambda each: (each.time, each.key))

    @contextmanager
    def transaction(self) -> "Iterator[Connection]":
        """A transaction of the database: all of it is stored, or none.

        Raises
        ------
        PaddockError
            The database fails.
        """
        with self._explained(), self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _insert(self, connection: "Connection", records: Sequence[Feedback]) -> int:
        from sqlalchemy.dialects import postgresql, sqlite

        insert = (sqlite if self._file is not None else postgresql).insert
        key = self._table.columns.key
        # Rows of two transactions are locked in one order, so that neither waits for the other.
        rows = [asdict(each) for each in sorted(records, key=lambda each: each.key)]
        statement = insert(self._table).values(rows).on_conflict_do_nothing(index_elements=[key])
        new = set(connection.execute(statement.returning(key)).scalars())
        if len(new) < len(records):
            self._check_repeated(connection, records)
        return len(new)

    def _check_repeated(self, connection: "Connection", records: Sequence[Feedback]) -> None:
        """Refuse a key that stands for another answer; its time may differ, as retries may say theirs."""
        import sqlalchemy

        keys = [each.key for each in records]
        found = sqlalchemy.select(self._table).where(self._table.columns.key.in_(keys))
        stored = {row["key"]: row for row in connection.execute(found).mappings()}
        for each in records:
            row = stored[each.key]
            for name, value in asdict(each).items():
                if name != "time" and row[name] != value:
                    raise PaddockError(
                        f"feedback key={each.key} stands for another answer already "
                        f"({name}={row[name]!r:.80}, not {value!r:.80}): choose a key of its own"
                    )

    @property
    def _file(self) -> Any:
        return sqlite_file(self.url)

    @cached_property
    def _engine(self) -> "Engine":
        import sqlalchemy

        if self._file is None:
            options: dict[str, Any] = {"pool_pre_ping": True}
        else:
            # A transaction that begins by reading cannot wait for another's lock when it comes to
            # write: SQLite then fails at once. IMMEDIATE takes the lock at the first write's begin.
            arguments = {"timeout": _BUSY_SECONDS, "isolation_level": "IMMEDIATE"}
            options = {"connect_args": arguments}
        return sqlalchemy.create_engine(with_driver(revealed(self.url)), **options)

    @cached_property
    def _table(self) -> "Table":
        from sqlalchemy import BigInteger, Column, Double, Integer, MetaData, Table, Text

        number = BigInteger().with_variant(Integer, "sqlite")
        return Table(
            _TABLE,
            MetaData(),
            Column("number", number, primary_key=True, autoincrement=True),
            Column("key", Text, nullable=False, unique=True),
            *(Column(name, Text) for name in ("user", "session")),
            *(Column(name, Text, nullable=False) for name in ("item", "kind")),
            Column("value", Double),
            Column("time", Double, nullable=False, index=True),
            Column("origin", Text),
        )

    def make_tables(self, metadata: "MetaData") -> None:
        """Make the tables that are missing.

        One process at a time: two that make a table at once fail, whatever `IF NOT EXISTS` says.

        Parameters
        ----------
        metadata : MetaData
            Tables of this database, the feedback's or those that stand beside it.

        Raises
        ------
        PaddockError
            The database fails, or is another program's.
        """
        with self._explained():
            self._make_tables(metadata)

    def _make_tables(self, metadata: "MetaData") -> None:
        import sqlalchemy

        file = self._file
        if file is None:
            with self._engine.begin() as connection:
                take = sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)")
                connection.execute(take, {"key": _ADVISORY_LOCK})
                metadata.create_all(connection)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with lock(file.with_name(f"{file.name}.lock")):
            if (reason := problem_of_file(file, table=_TABLE, column="key")) is not None:
                raise FailedError(f"{file}: {reason}")
            with self._engine.connect() as connection:
                # Readers do not wait for writers; the file remembers it.
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                metadata.create_all(connection)
                connection.commit()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """A database's error in one sentence without passwords."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (SQLAlchemyError, ImportError, OSError) as error:
            raise (FailedError if of_machine(error) else PaddockError)(
                f"the feedback store {self.url} cannot be used: {reason_of(error)}"
            ) from error


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise PaddockError(f"feedback {name}={value!r:.80} is no text: give an id")
    if len(value) > LONGEST:
        raise PaddockError(f"feedback {name} has {len(value)} characters: at most {LONGEST}")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise PaddockError(f"feedback {name}={value!r:.80} holds a letter that no database stores")


def _set_number(record: Feedback, name: str, *, least: float, most: float) -> None:
    """Check a number and make it a float, so that 4 and 4.0 have one hash."""
    value = getattr(record, name)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or value in (math.inf, -math.inf) or value != value:
        raise PaddockError(f"feedback {name}={value!r:.80} is no finite number")
    if not least <= value <= most:
        raise PaddockError(f"feedback {name}={value!r:.80} lies outside of {least:g} to {most:g}")
    object.__setattr__(record, name, float(value))
