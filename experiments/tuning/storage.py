"""The database that holds the studies, and the lock that all workers on it share.

SQLite on one machine, PostgreSQL on many. Optuna's journal file would do without SQL, but it knows
no heartbeats, and optuna-dashboard and the workers on other machines read the same tables here.
"""

import logging
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, cast

from experiments.address import sqlite_file
from experiments.databases import of_machine, problem_of_file, reason_of, with_driver
from experiments.errors import FailedError, PaddockError
from experiments.files import hash_of
from experiments.locks import PATIENCE_SECONDS, lock
from experiments.passwords import concealed, revealed, without_password

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.storages._cached_storage import _CachedStorage
    from optuna.study import Study
    from sqlalchemy import Connection

    Storage = _CachedStorage

SILENCES = 6
"""So many heartbeats missing in a row are a worker's death."""

BUSY_SECONDS = 60.0
"""How long a SQLite connection waits for another's transaction."""

_HOLDER = """
SELECT application_name || ', since ' || date_trunc('second', xact_start)
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND CAST(classid AS bigint) = CAST(:key AS bigint) >> 32
    AND CAST(objid AS bigint) = CAST(:key AS bigint) & 4294967295
"""
"""Who holds the advisory lock :key, of which PostgreSQL shows the two halves."""

Exclusive = Callable[[], AbstractContextManager[None]]
"""A function whose context manager only one process at a time is in."""


def exclusive(url: str, *, purpose: str = "trials") -> Exclusive:
    """A lock that all processes on one database share, freed when its holder dies.

    A file's lock beside a SQLite file; a transaction's advisory lock in PostgreSQL, which the
    server frees when the connection ends.

    Parameters
    ----------
    url
        The address of the database.
    purpose
        Locks of different purposes do not wait for each other.
    """
    file = sqlite_file(url)
    if file is not None:
        path = file.with_name(f"{file.name}.{purpose}.lock")

        @contextmanager
        def by_file() -> Iterator[None]:
            with lock(path):
                yield

        return by_file

    import sqlalchemy

    # A connection of its own: it may wait while the storage's are at work. Its name tells those who
    # wait who holds the lock; PostgreSQL keeps 63 bytes of it.
    engine = sqlalchemy.create_engine(
        with_driver(revealed(url)),
        poolclass=sqlalchemy.NullPool,
        connect_args={"application_name": f"process {os.getpid()} on {socket.gethostname()}"[:63]},
    )
    key = int(hash_of(["paddock", purpose])[:15], 16)

    @contextmanager
    def by_database() -> Iterator[None]:
        with engine.begin() as connection:
            _take(connection, key, f"the lock for {purpose} of {concealed(url)}")
            yield

    return by_database


def _take(connection: "Connection", key: int, named: str) -> None:
    """Take PostgreSQL's advisory lock `key` for this transaction, and say for whom it waits."""
    import sqlalchemy
    from sqlalchemy.exc import OperationalError

    take = sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)")
    try:
        with connection.begin_nested():
            milliseconds = int(1000 * PATIENCE_SECONDS)
            connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = {milliseconds}"))
            connection.execute(take, {"key": key})
    except OperationalError as error:
        # Nothing else is waited for within the savepoint, whose end has undone the timeout.
        if getattr(error.orig, "sqlstate", None) != "55P03":  # lock_not_available
            raise
    else:
        return
    holder = connection.execute(sqlalchemy.text(_HOLDER), {"key": key}).scalar()
    print(f"waiting for {holder or 'another process'}, which holds {named}", file=sys.stderr)
    connection.execute(take, {"key": key})


def connect(url: str, *, heartbeat_seconds: int) -> "Storage":
    """Open the database; its tables are created where they are missing.

    Parameters
    ----------
    url
        sqlite:///FILE or postgresql://USER@HOST/NAME.
    heartbeat_seconds
        A worker reports its trial alive this often; SILENCES missing reports are its death.

    Raises
    ------
    PaddockError
        If it cannot be reached; a `FailedError` where its file is damaged or another's.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    file = sqlite_file(url)
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 1, "max_overflow": 2}
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        # A transaction that begins by reading cannot wait for another's lock when it comes to
        # write: SQLite then fails at once. IMMEDIATE takes the lock at the first write's begin.
        options = {"connect_args": {"timeout": BUSY_SECONDS, "isolation_level": "IMMEDIATE"}}
    try:
        with exclusive(url)(), warnings.catch_warnings():
            if file is not None:
                problem = problem_of_file(file, table="studies", column="study_id")
                if problem is not None:
                    raise FailedError(problem)
            warnings.simplefilter("ignore")  # heartbeats are experimental
            storage = optuna.storages.RDBStorage(
                with_driver(revealed(url)),
                engine_kwargs=options,
                heartbeat_interval=heartbeat_seconds,
                grace_period=SILENCES * heartbeat_seconds,
            )
            if file is not None:
                _write_ahead(storage)
    except (SQLAlchemyError, ImportError, RuntimeError, TypeError, ValueError) as error:
        raise (FailedError if of_machine(error) else PaddockError)(
            f"study.storage={without_password(url)} cannot be opened: {reason_of(error)}"
        ) from error
    # The very object that a study works with: it must know of every trial that is made.
    return cast("Storage", optuna.storages.get_storage(storage))


def create_study(
    storage: "Storage",
    url: str,
    name: str,
    attributes: dict[str, Any],
    *,
    objective: str | None = None,
) -> "Study":
    """Create a study, or open the one of that name.

    Parameters
    ----------
    storage
        What `connect` gave for the address.
    url
        The storage's address, whose lock is taken.
    name
        The name of the study in its storage.
    attributes
        User attributes of the study; those that it has already are kept.
    objective
        How Optuna's own tools call the values of the trials, such as "valid full NDCG@10".
    """
    import optuna

    with exclusive(url)():
        study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
        for key, value in attributes.items():
            if key not in study.user_attrs:
                study.set_user_attr(key, value)
        if objective is not None and study.metric_names is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # names of metrics are experimental
                study.set_metric_names([objective])
    return study


def _write_ahead(storage: "RDBStorage") -> None:
    """Readers do not wait for writers; a power cut may cost the last trials, a kill nothing."""
    import sqlalchemy

    def prepare(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    sqlalchemy.event.listen(storage.engine, "connect", prepare)
    storage.engine.dispose()  # connections made before know nothing of it
