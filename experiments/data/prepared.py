"""A prepared data set: a folder that opens in milliseconds and is read where it is touched."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.errors import PaddockError
from experiments.integrity import Damaged, check, read_sealed, say_unchecked

FORMAT = 1
MANIFEST = "manifest.json"
INTERACTIONS = "interactions.arrow"
ITEMS = "items.parquet"
USERS = "users.parquet"
TEXTS = "texts.parquet"
REVIEWS = "reviews.parquet"
"""Is there only where the data set has a table of texts."""
COLUMNS = (INTERACTIONS, ITEMS, USERS, TEXTS)
PADDING = "[PAD]"

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A prepared data set of R interactions, users 1..n_users and items 1..n_items.

    Id 0 is RecBole's padding. Arrays of interactions are read-only views of a memory-mapped file,
    grouped by user in ascending order and in time order inside a user, ties in the order of the
    source file. Everything is loaded when it is first used.

    Attributes
    ----------
    path : Path
    manifest : dict
        Where the data came from, its counts, filters and column types.
    elsewhere : Path, optional
        Where runs share what they train on it, instead of beside it.
    """

    path: Path
    manifest: dict[str, Any] = field(repr=False)
    elsewhere: Path | None = None

    @property
    def hash(self) -> str:
        """SHA-256 of the content, 64 hexadecimal digits, equal on every machine."""
        return self.manifest["hash"]

    @property
    def before_join(self) -> "Prepared":
        """The same interactions under the hash that they have without `dataset.join`.

        Splits and candidates are drawn of it, so that runs with and without the joined columns are
        asked the same.
        """
        before = self.manifest.get("hash_before_join")
        return self if before is None else replace(self, manifest={**self.manifest, "hash": before})

    @property
    def joined_columns(self) -> tuple[str, ...]:
        """The columns of the items that `dataset.join` brought."""
        return tuple(self.manifest.get("join", {}).get("columns", ()))

    @property
    def name(self) -> str:
        """The data set's name, as folders have it."""
        return self.manifest["name"]

    @property
    def n_users(self) -> int:
        """Users, the padding left out."""
        return self.manifest["counts"]["users"]

    @property
    def n_items(self) -> int:
        """Items, the padding left out."""
        return self.manifest["counts"]["items"]

    @property
    def n_interactions(self) -> int:
        """R, repeated interactions of a user with an item included."""
        return self.manifest["counts"]["rows_kept"]

    @cached_property
    def users(self) -> np.ndarray:
        """User of each interaction, int32, shape (R,)."""
        return self._interaction_column("user")

    @cached_property
    def items(self) -> np.ndarray:
        """Item of each interaction, int32, shape (R,)."""
        return self._interaction_column("item")

    @cached_property
    def timestamps(self) -> np.ndarray | None:
        """Time of each interaction, int64 or float64, shape (R,); None where the data has none.

        In the unit of the source; ISO dates are seconds since 1970.
        """
        return (
            self._interaction_column("time") if "time" in self._interactions.schema.names else None
        )

    @cached_property
    def ratings(self) -> np.ndarray | None:
        """Rating of each interaction, float32, shape (R,); None where the data has none."""
        known = "rating" in self._interactions.schema.names
        return self._interaction_column("rating") if known else None

    @cached_property
    def indptr(self) -> np.ndarray:
        """Int64, shape (n_users + 2,): the rows of user u are indptr[u]:indptr[u + 1]."""
        # Typed like the users: another type would make searchsorted copy them.
        bounds = np.arange(self.n_users + 2, dtype=np.int32)
        return np.searchsorted(self.users, bounds).astype(np.int64)

    @cached_property
    def user_tokens(self) -> list[str]:
        """The source's name of each user, length n_users + 1."""
        return [PADDING, *self.user_features.to_series(0).to_list()]

    @cached_property
    def item_tokens(self) -> list[str]:
        """The source's name of each item, length n_items + 1."""
        return [PADDING, *self.item_features.to_series(0).to_list()]

    def user_id(self, token: object) -> int | None:
        """The id of a user, from 1, by the source's name; None where it is unknown."""
        return self._user_ids.get(str(token))

    def item_id(self, token: object) -> int | None:
        """The id of an item, from 1, by the source's name; None where it is unknown."""
        return self._item_ids.get(str(token))

    @cached_property
    def item_titles(self) -> list[str]:
        """The title of each item, length n_items + 1, "" where there is none."""
        return ["", *self._texts["title"].to_list()]

    @cached_property
    def item_texts(self) -> list[str]:
        """The text of each item, by the template, length n_items + 1, "" where there is none."""
        return ["", *self._texts["text"].to_list()]

    @property
    def texts_hash(self) -> str | None:
        """SHA-256 of the reviews' content; None where the data set has none."""
        return self.manifest.get("texts", {}).get("hash")

    @cached_property
    def reviews(self) -> "pl.DataFrame | None":
        """The reviews and other texts on items; None where the data set has none.

        Their columns: `number`, the text's row in its file, from 1; `item`, an id from 1; `text`; `kind`, such as
        "review"; `author`, "" where it is unknown. In the order of the file.
        """
        return None if self.texts_hash is None else _table(self.path / REVIEWS)

    @cached_property
    def item_features(self) -> "pl.DataFrame":
        """The item file's columns, the token first; row i is item i + 1."""
        return _table(self.path / ITEMS)

    @cached_property
    def user_features(self) -> "pl.DataFrame":
        """The user file's columns, the token first; row i is user i + 1."""
        return _table(self.path / USERS)

    @property
    def feature_types(self) -> dict[str, dict[str, str]]:
        """For "item" and "user": column to atomic type, in the order of the features' columns."""
        return {kind: dict(pairs) for kind, pairs in self.manifest["feature_types"].items()}

    @cached_property
    def _interactions(self) -> "pa.RecordBatch":
        import pyarrow as pa

        return pa.ipc.open_file(pa.memory_map(str(self.path / INTERACTIONS))).get_batch(0)

    def _interaction_column(self, name: str) -> np.ndarray:
        # Without a copy, read-only, and without pandas, which `to_numpy` imports.
        return np.from_dlpack(self._interactions.column(name))

    @cached_property
    def _texts(self) -> "pl.DataFrame":
        return _table(self.path / TEXTS)

    @cached_property
    def _user_ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.user_tokens) if i > 0}

    @cached_property
    def _item_ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.item_tokens) if i > 0}

    def __getstate__(self) -> dict[str, Any]:
        # A worker process maps the files itself; loaded arrays would travel as copies.
        return {"path": self.path, "manifest": self.manifest}


def open_prepared(path: Path | str) -> Prepared:
    """Open a folder that `prepare` wrote.

    Parameters
    ----------
    path : Path or str

    Raises
    ------
    PaddockError
        When the folder holds no complete prepared data set of this format.
    Damaged
        When a file of it is not what was written. Contents are hashed once a process.
    """
    path = Path(path)
    _require(path, (MANIFEST, *COLUMNS))
    remedy = f"delete {path / MANIFEST} and it is prepared again"
    manifest = read_sealed(path / MANIFEST, remedy=remedy)
    if manifest.get("format") != FORMAT:
        raise PaddockError(
            f"{path} has format {manifest.get('format')}, not {FORMAT}; delete it and prepare again"
        )
    if "files" not in manifest:
        say_unchecked("a prepared data set")
    _require(path, manifest.get("files", {}))
    for name, written in manifest.get("files", {}).items():
        known = (path / name).absolute(), *_stamp(path / name), written["sha256"]
        check(path / name, written, remedy=remedy, largest=0 if known in _hashed else None)
        _hashed.add(known)
    return Prepared(path=path, manifest=manifest)


def _require(path: Path, names: Iterable[str]) -> None:
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        raise Damaged(
            f"{path} is no prepared data set: {', '.join(missing)} is not there; prepare it again"
        )


_hashed: set[tuple[Any, ...]] = set()
"""The files that this process compared with their hashes, as they were then."""


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written again."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _table(path: Path) -> "pl.DataFrame":
    # A finished run that is asked for again reads interactions alone.
    import polars as pl

    return pl.read_parquet(path, glob=False)
