"""Texts on items, such as reviews: the table that a data set may have beside its interactions.

They are no part of the data set's hash: no split, candidate or model reads them. They have a hash of their own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from experiments.data.fingerprint import Fingerprint
from experiments.data.readers.delimited import Dialect, read_delimited
from experiments.data.readers.jsonlines import known_fields, read_objects
from experiments.data.readers.table import nearest, require
from experiments.errors import PaddockError

_JSON = (".json", ".jsonl", ".ndjson")

USUAL: Mapping[str, tuple[str, ...]] = {
    "item": ("item", "parent_asin", "asin"),
    "text": ("text", "reviewText"),
    "kind": ("kind",),
    "author": ("author", "reviewerID", "user_id"),
}
"""The names by which a column is found that the configuration does not name, those of Amazon's reviews among them."""

_KIND = "review"


def kept_texts(
    recipe: Mapping[str, Any], path: Path, item_tokens: pl.Series
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The texts on the items of a data set, and what the manifest says of them.

    Parameters
    ----------
    recipe : mapping
        Of `prepare`, with "texts".
    path : Path
        A CSV, TSV or Parquet file, or one of a JSON object a line, gzipped or not.
    item_tokens : Series of String
        Of the items that are kept, in the order of their ids.

    Returns
    -------
    DataFrame
        As `Prepared.reviews`: texts of other items, and empty ones, are left out.
    dict
        `rows_read`, `rows_kept`, `items` (how many have a text), `columns` (what the file calls each that it has) and
        `hash`.

    Raises
    ------
    PaddockError
        Naming the file, its line and column, or the column that it lacks.
    """
    own = recipe["columns"]
    usual = {
        **USUAL,
        "item": (own["item"], *USUAL["item"]),
        "author": (*USUAL["author"], own["user"]),
    }
    named: Mapping[str, str | None] = recipe["texts"]["columns"]
    cells, columns = _cells(path, named, usual, recipe["texts"]["encoding"])
    ids = pl.DataFrame(
        {"item": item_tokens, "id": pl.int_range(1, len(item_tokens) + 1, eager=True)}
    )
    kept = (
        cells.with_row_index("number", offset=1)
        .join(ids, on="item", how="inner", maintain_order="left")
        .filter(pl.col("text").str.strip_chars() != "")
        .select(
            pl.col("number").cast(pl.Int64),
            pl.col("id").cast(pl.Int32).alias("item"),
            "text",
            pl.col("kind").fill_null(_KIND),
            pl.col("author").fill_null(""),
        )
    )
    fingerprint = Fingerprint()
    for name in ("number", "item"):
        fingerprint.add_array(name, kept[name].to_numpy())
    texts = kept.select("text", "kind", "author")
    fingerprint.add_frame("texts", texts, dict.fromkeys(texts.columns, "token"))
    return kept, {
        "rows_read": cells.height,
        "rows_kept": kept.height,
        "items": kept["item"].n_unique(),
        "columns": columns,
        "hash": fingerprint.hexdigest(),
    }


def _cells(
    path: Path,
    named: Mapping[str, str | None],
    usual: Mapping[str, tuple[str, ...]],
    encoding: str,
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The columns item, text, kind and author as strings, null where the file has none, and their names there."""
    keys = {role: f"dataset.texts.{role}" for role, column in named.items() if column}
    if path.name.removesuffix(".gz").endswith(_JSON):
        found = _columns(path, named, usual, known_fields(path))
        cells = read_objects(path, found, required=keys, complete=False).cells
    else:
        dialect = Dialect(encoding=encoding)
        wanted = {str(named[role]): key for role, key in keys.items()}
        # A stream holds the header alone until rows are asked for.
        head = read_delimited(path, None, required=wanted, dialect=dialect, stream=True)
        found = _columns(path, named, usual, head.cells.columns)
        types = dict.fromkeys(found, "token")
        cells = read_delimited(path, found, required=keys, types=types, dialect=dialect).cells
    strings = cells.select(
        pl.col(role).cast(pl.String) if role in found else pl.lit(None, pl.String).alias(role)
        for role in USUAL
    )
    return strings, found


def _columns(
    path: Path,
    named: Mapping[str, str | None],
    usual: Mapping[str, tuple[str, ...]],
    known: list[str],
) -> dict[str, str]:
    """Each role that the file has a column for, with its name there."""
    found: dict[str, str] = {}
    for role, column in named.items():
        key = f"dataset.texts.{role}"
        if column:
            require(path, column, key, known)
        else:
            column = next((name for name in usual[role] if name in known), None)
        if column is not None:
            found[role] = column
        elif role in ("item", "text"):
            raise PaddockError(
                f"{path}: no column of {role}s is named {' or '.join(usual[role])}; "
                f"{nearest(role, known)}; write {key}=COLUMN"
            )
    return found
