"""SQLite files and tracking stores that cannot be used: what is wrong with them, in words of ours.

MLflow and Optuna make their tables in whatever file they are given. That of another program is refused
before they open it.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from experiments.errors import FailedError
from experiments.failures import sentence
from experiments.passwords import hidden

_NAMED = 3

_NONE = "file is not a database"

_MEANT = {
    _NONE: f"{_NONE}: name another file, or move it away and a new one is made",
    "maintenance mode": "MLflow keeps no runs in folders any more: name a database, such as "
    "sqlite:///mlflow.db, or move the runs into one with mlflow migrate-filestore",
    "Can't locate revision": "another version of MLflow or Optuna wrote it: install that one, or name "
    "another database",
}
"""Part of a library's message -> what it means here and what to do."""


def problem_of_file(file: Path, *, table: str, column: str) -> str | None:
    """What keeps a SQLite file from being one of a library's; None where it is, or is not there yet.

    Nothing is written.

    Parameters
    ----------
    file : Path
        A database, or the place of one.
    table, column : str
        What the library's own databases have.
    """
    if not file.is_file() or file.stat().st_size == 0:
        return None
    try:
        with closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        ) as connection:
            kind = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            tables = [str(name) for (name,) in connection.execute(kind)]
            columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
    except sqlite3.OperationalError:  # busy, or not to be read: who opens it will say so
        return None
    except sqlite3.DatabaseError as error:
        return reason_of(error)
    if not tables or column in columns:
        return None
    more = ", ..." if len(tables) > _NAMED else ""
    return (
        f"it is the database of another program, with the tables {', '.join(tables[:_NAMED])}{more}: "
        "name another file"
    )


def of_machine(error: BaseException) -> bool:
    """Whether a file is at fault, not the address that names a store.

    Parameters
    ----------
    error : BaseException
        What opening the store raised.
    """
    files = isinstance(error, OSError) and error.errno is not None
    return files or any(
        isinstance(each, FailedError | sqlite3.Error)
        for each in (error, getattr(error, "orig", None))  # SQLAlchemy's have one
    )


def reason_of(error: Exception) -> str:
    """Why a store cannot be used, in one line without passwords.

    Parameters
    ----------
    error : Exception
        What opening it raised.
    """
    text = str(error).strip() or type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        text = sentence(error) or text
    found = next((meant for part, meant in _MEANT.items() if part in text), None)
    return found or hidden(text.splitlines()[0]).rstrip(".")[:300]


def with_driver(url: str) -> str:
    """A PostgreSQL address with the driver that is installed, where it names none.

    Parameters
    ----------
    url : str
        Address of a database.
    """
    return url.replace("postgresql://", "postgresql+psycopg://", 1)
