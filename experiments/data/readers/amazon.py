"""Amazon reviews as the McAuley group publishes them: the releases of 2014, 2018 and 2023.

Reviews give user_id, item_id, rating and timestamp (seconds since 1970; milliseconds in 2023).
Metadata gives title, brand, price, categories and description of each product; it lacks some
products, has some twice, and is a file of Python literals in 2014.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from experiments.data.readers.jsonlines import known_fields, lists, read_objects
from experiments.data.readers.table import Table, Tables, require_known
from experiments.data.sources.find import Sources
from paddock import reader

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
_FIELDS = {
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


@reader("amazon")
def read_amazon(
    sources: Sources,
    columns: Mapping[str, str | None],
    required: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Tables:
    """Amazon reviews of 2014, 2018 and 2023, with the metadata of their products.

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
    require_known(sources.inter, required, EARLY)
    reviews = _reviews(sources.inter, required)
    metadata = _metadata(sources.item, reviews.cells["item_id"]) if sources.item else None
    return Tables(reviews, metadata, None)


def _reviews(path: Path, required: Mapping[str, str]) -> Table:
    """The reviews; `required` maps the columns that are used to the keys that ask for them."""
    known = EARLY if EARLY["user_id"] in known_fields(path) else LATE
    return read_objects(
        path,
        {column: field for column, field in known.items() if column in required},
        required=required,
        types={"rating": "float", "timestamp": "time"},
        tidy=False,
    )


def _metadata(path: Path, items: pl.Series) -> Table:
    """Title, brand, price, categories and description of those of the given items that have some."""
    there = known_fields(path)
    fields = {
        column: next((name for name in names if name in there), names[-1])
        for column, names in _FIELDS.items()
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
    products = cells.select(
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
    types = dict.fromkeys(products.columns, "token") | {"price": "float", "categories": "token_seq"}
    return replace(table, types=types, cells=products)
