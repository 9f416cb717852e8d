"""The items and the users: their own files, and what of these reaches the prepared data set."""

from typing import NamedTuple

import polars as pl

from experiments.data.cells import features, first_true, tokens
from experiments.data.readers.table import Table, shown
from experiments.data.sources.find import Sources
from experiments.data.text import item_texts, item_titles
from experiments.errors import PaddockError


class FeatureTable(NamedTuple):
    """The items or the users, with their features where they have a file of their own.

    Attributes
    ----------
    column : str
        The column of their ids.
    file : Table or None
    features : polars.DataFrame or None
        The file's columns by their types, that of the ids first.
    """

    column: str
    file: Table | None
    features: pl.DataFrame | None

    def type_of(self, column: str) -> str:
        """The type of a column: token, float, token_seq or float_seq."""
        return "token" if self.file is None else self.file.types[column]

    def features_of(self, ids: pl.Series) -> pl.DataFrame:
        """The features of the given ids, row by row; without a file the ids alone.

        Parameters
        ----------
        ids : polars.Series of String, shape (N,)

        Returns
        -------
        polars.DataFrame of N rows
            Null where the file lacks the id.
        """
        return _rows_of(self.features, self.column, ids)

    def count_without_row(self, ids: pl.Series, what: str) -> dict[str, int]:
        """How many of the ids the file lacks, where it may lack some.

        Parameters
        ----------
        ids : polars.Series of String
        what : str
            "items" or "users".

        Returns
        -------
        dict
            "items_without_metadata"; empty where every id must have its row.
        """
        if self.file is None or self.file.complete:
            return {}
        known = self.file.cells[self.column].implode()
        return {f"{what}_without_metadata": int((~ids.is_in(known)).sum())}


def feature_table(file: Table | None, column: str) -> FeatureTable:
    """The items or the users of a file, where there is one.

    Of a file that may lack some (`Table.complete`) the first row of each id counts.

    Parameters
    ----------
    file : Table or None
    column : str
        The column of the ids.

    Raises
    ------
    PaddockError
        Where a complete file has two rows of one id, or a cell is not of its column's type.
    """
    if file is None:
        return FeatureTable(column, None, None)
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
    return FeatureTable(column, file, frame.select(column, pl.exclude(column)))


def titles_and_texts(
    items: FeatureTable, text: dict[str, str | None], sources: Sources
) -> pl.DataFrame | None:
    """Token, title and text of each row of the file of items; None where there is none.

    Parameters
    ----------
    items : FeatureTable
    text : dict
        "title" and "template" of `dataset.text`.
    sources : Sources

    Raises
    ------
    PaddockError
        Where a title or template is asked for and there is no file, or no such column.
    """
    if items.file is None:
        for key, value in text.items():
            if value:
                raise PaddockError(
                    f"dataset.text.{key} is {value!r} but {sources.inter.parent} has no file "
                    f"{sources.item_name}; add it, or set dataset.text.{key}=null"
                )
        return None
    titles = item_titles(items.file, text["title"])
    template = text["template"]
    texts = item_texts(items.file, template) if template else titles
    return pl.DataFrame(
        [items.file.cells[items.column].alias("token"), titles.alias("title"), texts.alias("text")]
    )


def texts_of(texts: pl.DataFrame | None, ids: pl.Series) -> pl.DataFrame:
    """Title and text of each id, row by row, "" where there is none.

    Parameters
    ----------
    texts : polars.DataFrame or None
        As `titles_and_texts` gives them.
    ids : polars.Series of String
    """
    if texts is None:
        return pl.DataFrame({"title": [""] * len(ids), "text": [""] * len(ids)})
    return _rows_of(texts, "token", ids).select(pl.col("title", "text").fill_null(""))


def _rows_of(frame: pl.DataFrame | None, column: str, ids: pl.Series) -> pl.DataFrame:
    """The rows of `frame` in the order of the ids; of no frame, the ids alone."""
    left = pl.DataFrame([ids.alias(column)])
    if frame is None:
        return left
    return left.join(frame, on=column, how="left", maintain_order="left")
