"""Amazon reviews as the McAuley group publishes them: the releases of 2014, 2018 and 2023.

Reviews give user_id, item_id, rating and timestamp (seconds since 1970; milliseconds in 2023).
Metadata gives title, brand, price, categories and description of each product; it lacks some
products, tells some twice, and is a file of Python literals in 2014.
"""

from dataclasses import replace
from pathlib import Path

import polars as pl

from experiments.data.readers.jsonlines import known_fields, lists, read_objects
from experiments.data.readers.table import Table

EARLY = {
    "user_id": "reviewerID",
    "item_id": "asin",
    "rating": "overall",
    "timestamp": "unixReviewTime",
}
LATE = {
    "user_id": "user_id",
    "item_id": "parent_asin",
    "rating": "rating",
    "timestamp": "timestamp",
}
# Column to the names that releases have for it.
_METADATA = {
    "item_id": ("parent_asin", "asin"),
    "title": ("title",),
    "brand": ("brand", "store"),
    "price": ("price",),
    "categories": ("categories", "category"),
    "description": ("description",),
}
_ENTITIES = {
    "&quot;": '"',
    "&#34;": '"',
    "&#39;": "'",
    "&apos;": "'",
    "&lt;": "<",
    "&gt;": ">",
    "&nbsp;": " ",
    "&amp;": "&",
}


def read_reviews(path: Path, required: dict[str, str]) -> Table:
    """The reviews; `required` maps the columns that are used to the keys that ask for them."""
    known = EARLY if EARLY["user_id"] in known_fields(path) else LATE
    return read_objects(
        path,
        {column: field for column, field in known.items() if column in required},
        required=required,
        types={"rating": "float", "timestamp": "time"},
        tidy=False,
    )


def read_metadata(path: Path, items: pl.Series) -> Table:
    """What is told of the given items."""
    there = known_fields(path)
    fields = {
        column: next((name for name in names if name in there), names[-1])
        for column, names in _METADATA.items()
    }
    table = read_objects(
        path,
        fields,
        required={"item_id": "dataset.columns.item"},
        complete=False,
        keep=("item_id", items),
    )
    cells = table.cells
    price = pl.col("price").str.replace_all(r"[$,\s]", "")
    plain = (pl.col(name).str.replace_many(_ENTITIES) for name in ("title", "brand"))
    told = cells.select(
        "item_id",
        *plain,
        # Some pages were cut into the price field as style sheets.
        price=pl.when(price.str.contains(r"^\d+(\.\d+)?$")).then(price),
        categories=lists(cells["categories"]).list.eval(pl.element().str.replace_many(_ENTITIES)),
        description=lists(cells["description"])
        .list.join(" ")
        .str.replace_many(_ENTITIES)
        .replace("", None),
    )
    types = dict.fromkeys(told.columns, "token") | {"price": "float", "categories": "token_seq"}
    return replace(table, types=types, cells=told)
