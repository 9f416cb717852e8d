"""The metrics of every user, as each run uploaded them, checked against the hash that it stated."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from experiments.files import sha256_of_file
from experiments.integrity import Damaged, say_unchecked
from experiments.paths import program
from experiments.runs.configuration import USERS_HASH
from reports.read import Run, Source
from reports.store import in_parallel

_FILE = "per_user.parquet"


@dataclass(frozen=True, kw_only=True)
class Users:
    """The tables of several runs.

    Attributes
    ----------
    tables : dict
        Run id -> a row for every user, of the slice's users where the report is of a slice; runs whose
        table is out of reach are missing.
    damaged : dict
        Run id -> what is wrong and what to do about it, of runs whose table is not what they wrote.
    """

    tables: dict[str, pl.DataFrame]
    damaged: dict[str, str]


def read_users(source: Source, runs: Sequence[Run]) -> Users:
    """Read the table of each run, and refuse one that is another than the run wrote.

    Parameters
    ----------
    source : Source
        The open store.
    runs : sequence of Run
        Of the source.
    """

    def table(run: Run) -> pl.DataFrame | str | None:
        try:
            return _table(source, run)
        except Damaged as error:
            return str(error)

    read = dict(zip([run.run_id for run in runs], in_parallel(table, runs), strict=True))
    return Users(
        tables={name: made for name, made in read.items() if isinstance(made, pl.DataFrame)},
        damaged={name: made for name, made in read.items() if isinstance(made, str)},
    )


def _table(source: Source, run: Run) -> pl.DataFrame | None:
    """A run's table; None where it is out of reach or does not tell of the slice."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            # A store in a file hands out its own copy, a server's is downloaded.
            path = Path(source.client.download_artifacts(run.run_id, _FILE, folder))
        except Exception:  # of as many kinds as there are stores; the row says what is missing
            return None
        _check(path, run)
        try:
            whole = pl.read_parquet(path, memory_map=False)
        except (pl.exceptions.PolarsError, OSError):
            return None
    if not source.slice:
        return whole
    among = f"slice/{source.slice}"
    return whole.filter(pl.col(among)) if among in whole.columns else None


def _check(path: Path, run: Run) -> None:
    """Compare a table with the hash that its run stated.

    Raises
    ------
    Damaged
        It is not what the run wrote.
    """
    written = run.tags.get(USERS_HASH)
    if written is None:
        say_unchecked("a table of users in the store")
    elif sha256_of_file(path) != written:
        host, _, folder = run.tags.get("paddock.folder", "").partition(":")
        place = f"{folder}/published.json on {host}" if folder else "published.json of its folder"
        raise Damaged(
            f"{_FILE} in the store is not what the run wrote; upload it again: delete {place}, "
            f"then {' '.join(program('run'))} mode=upload"
        )
