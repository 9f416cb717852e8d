"""Items and users: their own files, and what of these reaches the product."""

from typing import NamedTuple

import polars as pl

from experiments.data.cells import features, first_true, tokens
from experiments.data.readers.table import Table, shown
from experiments.data.sources.find import Sources
from experiments.data.text import item_texts, item_titles
from experiments.errors import PaddockError


class Side(NamedTuple):
    """Items or users: their column, and their file where there is one."""

    column: str
    file: Table | None
    features: pl.DataFrame | None


def read_side(file: Table | None, column: str) -> Side:
    """Items or users, whose rows must have different tokens; of metadata the first of each counts."""
    if file is None:
        return Side(column, None, None)
    if not file.complete:
        known = file.cells[column]
        kept = (known.is_first_distinct() & known.is_not_null()).arg_true()
        file = file.take(kept.to_numpy())
    cells = tokens(file, column)
    row = first_true(~cells.is_first_distinct())
    if row is not None:
        first = first_true(cells == cells[row])
        assert first is not None
        raise file.error(
            row,
            column,
            f"{shown(cells[row])} has a row already, line {file.line(first)}; drop one of them",
        )
    frame = features(file)
    return Side(column, file, frame.select(column, pl.exclude(column)))


def side_texts(side: Side, text: dict[str, str | None], sources: Sources) -> pl.DataFrame | None:
    """Token, title and text of each row of the .item file."""
    if side.file is None:
        for key, value in text.items():
            if value:
                raise PaddockError(
                    f"dataset.text.{key} is {value!r} but {sources.inter.parent} has no file "
                    f"{sources.item_name}; add it, or set dataset.text.{key}=null"
                )
        return None
    titles = item_titles(side.file, text["title"])
    template = text["template"]
    told = item_texts(side.file, template) if template else titles
    return pl.DataFrame(
        [side.file.cells[side.column].alias("token"), titles.alias("title"), told.alias("text")]
    )


def of_ids(frame: pl.DataFrame | None, column: str, ids: pl.Series) -> pl.DataFrame:
    """The rows of `frame` in the order of the ids; of no frame, the tokens alone."""
    left = pl.DataFrame([ids.alias(column)])
    if frame is None:
        return left
    return left.join(frame, on=column, how="left", maintain_order="left")


def told(texts: pl.DataFrame | None, ids: pl.Series) -> pl.DataFrame:
    """Title and text of each id."""
    if texts is None:
        return pl.DataFrame({"title": [""] * len(ids), "text": [""] * len(ids)})
    return of_ids(texts, "token", ids).select(pl.col("title", "text").fill_null(""))


def uncovered(side: Side, ids: pl.Series, what: str) -> dict[str, int]:
    """How many ids the metadata lacks, where it may."""
    if side.file is None or side.file.complete:
        return {}
    known = side.file.cells[side.column].implode()
    return {f"{what}_without_metadata": int((~ids.is_in(known)).sum())}


def type_of(side: Side, column: str) -> str:
    return "token" if side.file is None else side.file.types[column]
