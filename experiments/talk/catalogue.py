"""The catalogue as a conversation reads it: titles, item columns by what they hold, profile columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from experiments.data.prepared import Prepared

FEW = 200
"""Values that a column of words may have: above, it holds names or texts."""

YEARS = (1850, 2100)


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalogue:
    """Items and the columns of items and users, as plain tables.

    Attributes
    ----------
    items : DataFrame
        The item id first, then the columns; I rows.
    titles : list of str
        The title of each row, "" where there is none.
    users : DataFrame
        The user id first, then the columns.
    popularity : ndarray
        Interactions of each item, shape (I,).
    words : mapping of str to tuple of str
        Item columns with few values (genre, brand of a small shop) -> their values.
    years : tuple of str
        Item columns of years.
    numbers : tuple of str
        Other item columns of numbers, such as a price.
    profile : mapping of str to tuple of str
        User columns -> their values; no values for one of numbers.
    """

    items: pl.DataFrame
    titles: list[str]
    users: pl.DataFrame
    popularity: np.ndarray
    words: Mapping[str, tuple[str, ...]] = field(init=False)
    years: tuple[str, ...] = field(init=False)
    numbers: tuple[str, ...] = field(init=False)
    profile: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        numeric = {name: _numeric(self.items[name]) for name in self.items.columns[1:]}
        years = tuple(name for name, values in numeric.items() if _are_years(values))
        given = {
            "words": {
                name: values
                for name, numbers in numeric.items()
                if numbers is None and (values := _few_values(self.items[name], self.titles))
            },
            "years": years,
            "numbers": tuple(
                name for name, values in numeric.items() if values is not None and name not in years
            ),
            "profile": _profile(self.users),
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, data: "Prepared") -> "Catalogue":
        """The catalogue of a prepared data set."""
        counts = np.bincount(data.items, minlength=data.n_items + 1)[1:]
        return cls(
            items=data.item_features,
            titles=data.item_titles[1:],
            users=data.user_features,
            popularity=counts,
        )

    @cached_property
    def tokens(self) -> list[str]:
        """The id of each item."""
        return self.items.to_series(0).to_list()

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """The row of each item id."""
        return {token: row for row, token in enumerate(self.tokens)}

    @cached_property
    def user_rows(self) -> Mapping[str, int]:
        """The row of each user id."""
        return {str(token): row for row, token in enumerate(self.users.to_series(0).to_list())}

    def title_of(self, item: str) -> str:
        """The title of an item id; the id where it has none."""
        return self.titles[self.rows[item]] or item


def _numeric(column: pl.Series) -> pl.Series | None:
    """The column's numbers; None where it holds others than numbers."""
    if isinstance(column.dtype, pl.List):
        return None
    known = column.drop_nulls()
    if column.dtype == pl.String:
        known = known.filter(known.str.strip_chars() != "")
    numbers = known.cast(pl.Float64, strict=False)
    # A few cells that are no numbers do not make words of a column of years.
    found = numbers.drop_nulls().drop_nans()
    return found if len(known) and len(found) >= 0.9 * len(known) else None


def _are_years(values: pl.Series | None) -> bool:
    if values is None:
        return False
    inside = values.is_between(*YEARS) & (values == values.floor())
    return float(inside.mean() or 0.0) >= 0.9  # type: ignore[arg-type]


def _few_values(column: pl.Series, titles: list[str]) -> tuple[str, ...]:
    cells = column
    if isinstance(column.dtype, pl.List):
        if column.list.join(" ").fill_null("").to_list() == titles:
            return ()
        cells = column.explode()
    elif column.to_list() == titles:
        return ()
    values = sorted(set(cells.drop_nulls().cast(pl.String)) - {""})
    return tuple(values) if len(values) <= min(FEW, max(2, len(column) // 2)) else ()


def _profile(users: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """Columns of numbers, and those of few values; names, codes and places are none."""
    found: dict[str, tuple[str, ...]] = {}
    for name in users.columns[1:]:
        numbers = _numeric(users[name])
        if numbers is not None and users[name].n_unique() <= FEW:
            found[name] = ()
        elif numbers is None and (values := _few_values(users[name], [])):
            found[name] = values
    return found
