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
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import polars as pl

from experiments import files
from experiments.data import prepared
from experiments.data.columns import Appended, ArrowColumns
from experiments.data.feature_tables import FeatureTable, feature_table, texts_of, titles_and_texts
from experiments.data.fingerprint import Fingerprint
from experiments.data.interactions import core, put_in_order, read_rows, types_of
from experiments.data.join import join_columns
from experiments.data.readers.formats import read_tables
from experiments.data.readers.table import PIECE_ROWS
from experiments.data.sources.find import Sources
from experiments.data.texts import kept_texts
from experiments.errors import PaddockError
from experiments.integrity import stated, write_sealed


class _Known(NamedTuple):
    """What is known of users and items, and the items' titles and texts."""

    user: FeatureTable
    item: FeatureTable
    texts: pl.DataFrame | None

    def frames(self, user_tokens: pl.Series, item_tokens: pl.Series) -> dict[str, pl.DataFrame]:
        """What is kept of them, row by row."""
        return {
            "user": self.user.features_of(user_tokens),
            "item": self.item.features_of(item_tokens),
            "text": texts_of(self.texts, item_tokens),
        }

    def types(self, frames: dict[str, pl.DataFrame]) -> dict[str, dict[str, str]]:
        """The types of the frames' columns."""
        return {
            "user": {name: self.user.type_of(name) for name in frames["user"].columns},
            "item": {name: self.item.type_of(name) for name in frames["item"].columns},
            "text": {"title": "token", "text": "token"},
        }


def write(
    recipe: dict[str, Any],
    sources: Sources,
    folder: Path,
    *,
    memory: int,
    join: Path | None = None,
) -> None:
    """Read, filter, number and order the sources, and write the product into `folder`.

    Parameters
    ----------
    recipe : dict of str to object
        Everything that makes the product, as `prepare` names it.
    sources : Sources
    folder : Path
        Is there; while it is written, the rows that were read lie in it too.
    memory : int
        Bytes that rows may take while they are sorted. What is written does not depend on it.
    join : Path, optional
        The file of the table that `recipe["join"]` names.

    Raises
    ------
    PaddockError
        When a source is malformed, or the filters leave nothing.
    """
    columns = recipe["columns"]
    tables = read_tables(recipe, sources)
    items = feature_table(tables.item, columns["item"])
    known = _Known(
        user=feature_table(tables.user, columns["user"]),
        item=items,
        texts=titles_and_texts(items, recipe["text"], sources),
    )
    joined = None if join is None else _joined(known, recipe, sources, join)
    with (
        # Within the folder, so that what removes an unfinished one removes them.
        TemporaryDirectory(prefix=".rows.", dir=folder) as temporary,
        Appended(Path(temporary)) as appended,
    ):
        least = recipe["filters"]["min_rating"]
        of = {"user": known.user, "item": known.item}
        rows = read_rows(tables.inter, columns, least, of, appended)
        del tables
        user_rows, item_rows = core(rows, recipe["filters"])
        kept = int(user_rows.sum())
        fingerprint = Fingerprint()
        with (
            # Each file is flushed to the disk before the folder takes its name.
            files.atomic_path(folder / prepared.INTERACTIONS) as path,
            ArrowColumns(path, types_of(rows), kept) as arrays,
        ):
            put_in_order(rows, user_rows, item_rows, arrays, memory=memory)
            for name, dtype in arrays.types.items():
                pieces = arrays.pieces(name, PIECE_ROWS)
                fingerprint.add_column(name, dtype, kept, pieces)
    user_tokens = rows.users.tokens().filter(pl.Series(user_rows > 0))
    item_tokens = rows.items.tokens().filter(pl.Series(item_rows > 0))

    frames = known.frames(user_tokens, item_tokens)
    types = known.types(frames)
    alone = fingerprint.copy()
    for name, frame in frames.items():
        fingerprint.add_frame(name, frame, types[name])
    more: dict[str, Any] = {}
    counts: dict[str, int] = {}
    if joined is not None:
        more["hash_before_join"] = fingerprint.hexdigest()
        fingerprint, found = alone, item_tokens.is_in(joined.found.implode())
        counts = {
            "items_joined": int(found.sum()),
            "interactions_joined": int(item_rows[item_rows > 0][found.to_numpy()].sum()),
        }
        frames = joined.known.frames(user_tokens, item_tokens)
        types = joined.known.types(frames)
        for name, frame in frames.items():
            fingerprint.add_frame(name, frame, types[name])

    for name, file in (
        ("user", prepared.USERS),
        ("item", prepared.ITEMS),
        ("text", prepared.TEXTS),
    ):
        with files.atomic_path(folder / file) as path:
            frames[name].write_parquet(path)
    names = list(prepared.COLUMNS)
    if sources.texts is not None:
        reviews, facts = kept_texts(recipe, sources.texts, item_tokens)
        with files.atomic_path(folder / prepared.REVIEWS) as path:
            reviews.write_parquet(path)
        more["texts"] = {**recipe["texts"], **facts}
        names.append(prepared.REVIEWS)
    write_sealed(
        folder / prepared.MANIFEST,
        {
            **recipe,
            "counts": {
                "rows_read": rows.read,
                "rows_below_min_rating": rows.read - rows.left,
                "rows_outside_core": rows.left - kept,
                "rows_kept": kept,
                "users_read": len(rows.users),
                "users": len(user_tokens),
                "items_read": len(rows.items),
                "items": len(item_tokens),
                **known.item.count_without_row(item_tokens, "items"),
                **known.user.count_without_row(user_tokens, "users"),
                **counts,
            },
            "feature_types": {
                "user": list(types["user"].items()),
                "item": list(types["item"].items()),
            },
            "hash": fingerprint.hexdigest(),
            **more,
            "files": {name: stated(folder / name) for name in names},
        },
    )


class _Joined(NamedTuple):
    """What is known with the columns of the join, and the ids of the items that it found."""

    known: _Known
    found: pl.Series


def _joined(known: _Known, recipe: dict[str, Any], sources: Sources, path: Path) -> _Joined:
    if known.item.file is None:
        raise PaddockError(
            f"dataset.join.source is set but {sources.inter.parent} has no file {sources.item_name}, "
            f"whose titles are joined; add it, or set dataset.join.source=null"
        )
    made = join_columns(known.item.file, recipe["join"], path)
    items = feature_table(made.items, known.item.column)
    text = {**recipe["text"], "template": recipe["join"]["template"] or recipe["text"]["template"]}
    return _Joined(
        known._replace(item=items, texts=titles_and_texts(items, text, sources)),
        made.items.cells[known.item.column].filter(made.found),
    )
