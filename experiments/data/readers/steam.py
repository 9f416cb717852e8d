"""Steam reviews and games as the McAuley group publishes them: lines of Python literals.

Reviews give user_id (the name shown), item_id and timestamp (the day); games give title, publisher,
developer, genres and tags.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from experiments.data.readers.jsonlines import lists, read_objects
from experiments.data.readers.table import Table, Tables, require_known
from experiments.data.sources.find import Sources
from paddock import reader

REVIEWS = {
    "user_id": "username",
    "item_id": "product_id",
    "timestamp": "date",
    "hours": "hours",
}
GAMES = {
    "item_id": "id",
    "title": "app_name",
    "publisher": "publisher",
    "developer": "developer",
    "genres": "genres",
    "tags": "tags",
}


@reader("steam")
def read_steam(
    sources: Sources,
    columns: Mapping[str, str | None],
    required: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Tables:
    """Steam reviews of 2010 to 2018, with the games' metadata.

    Parameters
    ----------
    sources : Sources
    columns : mapping of str to str or None
        Not read: the columns have the names of this module.
    required : mapping of str to str
        Columns that the interactions must have, each with the configuration key that asks for it.
    settings : mapping
        Not read.

    Raises
    ------
    PaddockError
        Naming file, line, column and value.
    """
    require_known(sources.inter, required, REVIEWS)
    reviews = _reviews(sources.inter, required)
    games = _games(sources.item, reviews.cells["item_id"]) if sources.item else None
    return Tables(reviews, games, None)


def _reviews(path: Path, required: Mapping[str, str]) -> Table:
    """The reviews; `required` maps the columns that are used to the keys that ask for them."""
    return read_objects(
        path,
        {column: field for column, field in REVIEWS.items() if column in required},
        required=required,
        types={"timestamp": "time", "hours": "float"},
        tidy=False,
    )


def _games(path: Path, items: pl.Series) -> Table:
    """Title, publisher, developer, genres and tags of those of the given games that have some."""
    table = read_objects(
        path,
        GAMES,
        required={"item_id": "dataset.columns.item"},
        complete=False,
        keep=("item_id", items),
    )
    cells = table.cells.with_columns(lists(table.cells["genres"]), lists(table.cells["tags"]))
    return replace(
        table, types=table.types | dict.fromkeys(("genres", "tags"), "token_seq"), cells=cells
    )
