"""Reads a file of texts into the columns item, text, kind and author."""

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from experiments.errors import PaddockError
from experiments.talk.texts import COLUMNS

if TYPE_CHECKING:
    from experiments.config.schema import TalkTextsConfig

AMAZON = {"item": "asin", "text": "reviewText", "kind": None, "author": "reviewerID"}
"""The columns of the reviews of `dataset=amazon-2014` and `amazon-2018`."""


def read_texts(config: "TalkTextsConfig") -> pl.DataFrame:
    """The table of texts of a file.

    Parameters
    ----------
    config : TalkTextsConfig
        `source` is a CSV, TSV, Parquet file, or one JSON object a line, gzipped or not. A file of Amazon's reviews is known
        by its columns.

    Returns
    -------
    DataFrame
        The columns item, text, kind ("review" where the file has none) and author, as text.

    Raises
    ------
    PaddockError
        The file cannot be read or lacks a column.
    """
    assert config.source is not None
    path = Path(config.source)
    frame = _read(path)
    columns = {name: getattr(config, name) for name in COLUMNS}
    if {"asin", "reviewText"} <= set(frame.columns) and config.item not in frame.columns:
        columns = dict(AMAZON)
    for name, column in columns.items():
        if column is not None and column not in frame.columns:
            raise PaddockError(
                f"talk.texts.{name}={column}: {path} has no such column, but "
                f"{', '.join(frame.columns[:20])}"
            )
    filled = {"item": "", "text": "", "kind": "review", "author": ""}
    return frame.select(
        (pl.lit(filled[name]) if column is None else pl.col(column).cast(pl.String)).alias(name)
        for name, column in columns.items()
    )


def _read(path: Path) -> pl.DataFrame:
    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            return pl.read_parquet(path, glob=False)
        if name.endswith((".json", ".jsonl", ".ndjson")):
            return _read_json(path)
        separator = "\t" if name.endswith((".tsv", ".txt")) else ","
        return pl.read_csv(path, separator=separator, infer_schema=False, glob=False)
    except (OSError, EOFError, UnicodeDecodeError, ValueError, pl.exceptions.PolarsError) as error:
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise PaddockError(f"talk.texts.source={path} cannot be read: {said}") from None


def _read_json(path: Path) -> pl.DataFrame:
    opened: Any = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is no JSON object")
    names = dict.fromkeys(key for row in rows for key in row)
    return pl.DataFrame(
        {key: [None if row.get(key) is None else str(row[key]) for row in rows] for key in names},
        schema=dict.fromkeys(names, pl.String),
    )
