"""Make a prepared data set: read its files, filter, number, order, and write the result.

Rules that fix the result:

- Rows below `filters.min_rating` go first, then the k-core of the rest is taken.
- Ids number the tokens that are left, from 1, in the order of their first appearance in the file
  of interactions. Users and items without an interaction that is kept have no id.
- The rows of a user are in time order by a stable sort of the exact times; rows of the same time stay
  in file order. Without a time column the file order is the time order.
- Repeated interactions of a user with an item are all kept.
- Files of items and users that come with atomic files must have one row for each that interacts.
  Elsewhere metadata may lack some, which then have no title, and of repeated rows the first counts.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from experiments import files
from experiments.data import prepared
from experiments.data.cells import encode, first_true, numbers, times, tokens
from experiments.data.feature_tables import (
    FeatureTable,
    feature_table,
    texts_of,
    titles_and_texts,
)
from experiments.data.filters import by_user_and_time, k_core
from experiments.data.fingerprint import Fingerprint
from experiments.data.readers.formats import read_tables
from experiments.data.readers.table import Table, shown
from experiments.data.sources.find import Sources
from experiments.errors import PaddockError
from experiments.integrity import stated, write_sealed


class _Interactions(NamedTuple):
    """Rows as code, time and rating; `user_tokens` and `item_tokens` hold the token of each code."""

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None
    ratings: np.ndarray | None
    user_tokens: pl.Series
    item_tokens: pl.Series


def write(recipe: dict[str, Any], sources: Sources, folder: Path) -> None:
    """Read, filter, number and order the sources, and write the product into `folder`.

    Parameters
    ----------
    recipe : dict of str to object
        Everything that makes the product, as `prepare` names it.
    sources : Sources
    folder : Path
        Is made.

    Raises
    ------
    PaddockError
        When a source is malformed, or the filters leave nothing.
    """
    columns = recipe["columns"]
    tables = read_tables(recipe, sources)
    user_table = feature_table(tables.user, columns["user"])
    item_table = feature_table(tables.item, columns["item"])
    texts = titles_and_texts(item_table, recipe["text"], sources)
    rows = _read_interactions(tables.inter, columns, user_table, item_table)
    del tables
    kept, dropped = _filter(rows, recipe["filters"])

    users, user_tokens = _renumber(rows.users[kept], rows.user_tokens)
    items, item_tokens = _renumber(rows.items[kept], rows.item_tokens)
    when = None if rows.times is None else rows.times[kept]
    order = by_user_and_time(users, when)
    arrays = {"user": users[order], "item": items[order]}
    if when is not None:
        arrays["time"] = when[order]
    if rows.ratings is not None:
        arrays["rating"] = rows.ratings[kept][order].astype(np.float32)

    frames = {
        "user": user_table.features_of(user_tokens),
        "item": item_table.features_of(item_tokens),
        "text": texts_of(texts, item_tokens),
    }
    types = {
        "user": {name: user_table.type_of(name) for name in frames["user"].columns},
        "item": {name: item_table.type_of(name) for name in frames["item"].columns},
        "text": {"title": "token", "text": "token"},
    }
    fingerprint = Fingerprint()
    for name, values in arrays.items():
        fingerprint.add_array(name, values)
    for name, frame in frames.items():
        fingerprint.add_frame(name, frame, types[name])

    # Each file is flushed to the disk before the folder takes its name.
    with files.atomic_path(folder / prepared.INTERACTIONS) as path:
        batch = pa.record_batch([pa.array(values) for values in arrays.values()], names=[*arrays])
        with pa.ipc.new_file(str(path), batch.schema) as writer:
            writer.write_batch(batch)
    for name, file in (
        ("user", prepared.USERS),
        ("item", prepared.ITEMS),
        ("text", prepared.TEXTS),
    ):
        with files.atomic_path(folder / file) as path:
            frames[name].write_parquet(path)
    write_sealed(
        folder / prepared.MANIFEST,
        {
            **recipe,
            "counts": {
                "rows_read": len(rows.users),
                "rows_below_min_rating": dropped["min_rating"],
                "rows_outside_core": dropped["core"],
                "rows_kept": len(kept),
                "users_read": len(rows.user_tokens),
                "users": len(user_tokens),
                "items_read": len(rows.item_tokens),
                "items": len(item_tokens),
                **item_table.count_without_row(item_tokens, "items"),
                **user_table.count_without_row(user_tokens, "users"),
            },
            "feature_types": {
                "user": list(types["user"].items()),
                "item": list(types["item"].items()),
            },
            "hash": fingerprint.hexdigest(),
            "files": {name: stated(folder / name) for name in prepared.COLUMNS},
        },
    )


def _read_interactions(
    file: Table, columns: dict[str, str | None], user_table: FeatureTable, item_table: FeatureTable
) -> _Interactions:
    if file.cells.height == 0:
        raise PaddockError(
            f"{file.path}, line 2: no interaction below the header ({', '.join(file.types)}); "
            f"write one row an interaction"
        )
    users, user_tokens = _ids(file, user_table)
    items, item_tokens = _ids(file, item_table)
    time, rating = columns["time"], columns["rating"]
    return _Interactions(
        users=users,
        items=items,
        times=times(file, time) if time else None,
        ratings=numbers(file, rating) if rating else None,
        user_tokens=user_tokens,
        item_tokens=item_tokens,
    )


def _ids(file: Table, table: FeatureTable) -> tuple[np.ndarray, pl.Series]:
    """Code of every row's user or item, and token of every code; a complete file must have them all."""
    codes, found = encode(tokens(file, table.column))
    # Half of a character, which JSON may spell, is a NUL byte in the columns.
    for pattern, what in ((r"[\t\n]", "a line break"), (r"\x00", "a NUL byte or half a character")):
        code = first_true(found.str.contains(pattern))
        if code is not None:
            row = int(np.argmax(codes == code))
            raise file.error(row, table.column, f"{shown(found[code])} is an id that holds {what}")
    if table.file is not None and table.file.complete:
        unknown = ~found.is_in(table.file.cells[table.column].implode())
        code = first_true(unknown)
        if code is not None:
            # Codes are in the order of first appearance, so this is the first unknown row.
            row = int(np.argmax(codes == code))
            raise file.error(
                row,
                table.column,
                f"{shown(found[code])} is unknown to {table.file.path.name}, which lacks "
                f"{unknown.sum()} of {len(found)}; add its row there, or drop its interactions",
            )
    return codes, found


def _filter(rows: _Interactions, filters: dict[str, Any]) -> tuple[np.ndarray, dict[str, int]]:
    """The row numbers that the filters keep, ascending, and how many rows each step drops."""
    kept = np.arange(len(rows.users), dtype=np.int64)
    if filters["min_rating"] is not None:
        assert rows.ratings is not None
        kept = np.flatnonzero(rows.ratings >= filters["min_rating"])
    rated = len(kept)
    core = k_core(
        rows.users[kept],
        rows.items[kept],
        min_user_interactions=filters["min_user_interactions"],
        min_item_interactions=filters["min_item_interactions"],
    )
    kept = kept[core]
    if len(kept) == 0:
        said = ", ".join(
            f"dataset.filters.{key}={value}" for key, value in filters.items() if value
        )
        raise PaddockError(
            f"no interaction is left: of {len(rows.users)} rows, {rated} pass the rating filter and "
            f"none of them the minima; loosen {said}"
        )
    return kept, {"min_rating": len(rows.users) - rated, "core": rated - len(kept)}


def _renumber(codes: np.ndarray, known: pl.Series) -> tuple[np.ndarray, pl.Series]:
    """Ids from 1 for the codes in use, in the codes' order, and the token of each."""
    used = np.zeros(len(known), dtype=bool)
    used[codes] = True
    ids = np.cumsum(used, dtype=np.int32)
    return ids[codes], known.filter(pl.Series(used))
