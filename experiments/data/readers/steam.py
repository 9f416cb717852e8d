"""Steam reviews and games as the McAuley group publishes them: lines of Python literals.

Reviews give user_id (the name shown), item_id and timestamp (the day); games give title, publisher,
developer, genres and tags.
"""

from dataclasses import replace
from pathlib import Path

import polars as pl

from experiments.data.readers.jsonlines import lists, read_objects
from experiments.data.readers.table import Table

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


def read_reviews(path: Path, required: dict[str, str]) -> Table:
    """The reviews; `required` maps the columns that are used to the keys that ask for them."""
    return read_objects(
        path,
        {column: field for column, field in REVIEWS.items() if column in required},
        required=required,
        types={"timestamp": "time", "hours": "float"},
        tidy=False,
    )


def read_games(path: Path, items: pl.Series) -> Table:
    """What is told of the given games."""
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
