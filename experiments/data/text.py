"""The titles of items, and their texts by a template that joins columns."""

import string

import polars as pl

from experiments.data.readers.table import Table, nearest
from experiments.errors import PaddockError


def item_titles(file: Table, title: str | None, *, key: str = "dataset.text.title") -> pl.Series:
    """The title of each row, "" where it is missing, its blanks as they are in the file.

    Parameters
    ----------
    file : Table
        Of I items.
    title : str or None
        The column; lists are joined by blanks. None: no titles.
    key : str
        The configuration key that names it.

    Returns
    -------
    polars.Series of String, shape (I,)

    Raises
    ------
    PaddockError
        Where the file has no such column.
    """
    if not title:
        return pl.Series("title", [""] * file.cells.height, dtype=pl.String)
    _check_column(file, title, key)
    cells = file.cells[title]
    if isinstance(cells.dtype, pl.List):
        cells = cells.list.join(" ")
    return cells.fill_null("").rename("title")


def item_texts(file: Table, template: str) -> pl.Series:
    """The template filled in for each row.

    Where a column is empty, the brackets and marks that it leaves bare go with it; where all are,
    the text is "".

    Parameters
    ----------
    file : Table
        Of I items.
    template : str
        Columns in braces, as in "{title} ({year})"; lists are joined by ", ".

    Returns
    -------
    polars.Series of String, shape (I,)

    Raises
    ------
    PaddockError
        Where the template is malformed, or names a column that the file lacks.
    """
    parts = _parse(file, template)
    columns = [part for is_column, part in parts if is_column]
    joined = pl.concat_str(
        [pl.col(part).fill_null("") if is_column else pl.lit(part) for is_column, part in parts]
    )
    tidy = (
        joined.str.replace_all(r"\(\s*\)|\[\s*\]|\"\s*\"", "")
        .str.replace_all(r"\s+([:,;.])", "$1")
        .str.replace_all(r"([:,;])(\s*[:,;])+", "$1")
        .str.replace_all(r"\s{2,}", " ")
        .str.strip_chars(" :,;-|/")
    )
    empty = [pl.col(column).is_null() for column in columns]
    cells = file.cells.with_columns(
        pl.col(name).list.join(", ").replace("", None)
        for name, dtype in file.cells.schema.items()
        if isinstance(dtype, pl.List)
    )
    return cells.select(
        pl.when(pl.all_horizontal(empty))
        .then(pl.lit(""))
        .when(pl.any_horizontal(empty))
        .then(tidy)
        .otherwise(joined)
        .alias("text")
    )["text"]


def _parse(file: Table, template: str) -> list[tuple[bool, str]]:
    """The template's pieces in order: (is a column, its name or the text between)."""
    key = "dataset.text.template"
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise PaddockError(
            f"{key} {template!r}: {error}; columns stand in braces, a plain brace is written twice"
        ) from None
    parts: list[tuple[bool, str]] = []
    for between, column, form, conversion in pieces:
        if between:
            parts.append((False, between))
        if column is None:
            continue
        if form or conversion:
            raise PaddockError(f"{key} {template!r}: write {{{column}}} without a format")
        _check_column(file, column, key)
        parts.append((True, column))
    if not any(is_column for is_column, _ in parts):
        raise PaddockError(f"{key} {template!r} holds no column in braces, such as {{title}}")
    return parts


def _check_column(file: Table, column: str, key: str) -> None:
    if column not in file.types:
        raise PaddockError(
            f"{key}: {file.path} has no column {column!r}; {nearest(column, file.types)}"
        )
