"""What items have in common: the facts of each, one by one, and everything that shares one of them.

A cell may hold several facts: a list, or a text of names parted by commas, as the ingredients of a product are.
"""

import re
from collections import defaultdict
from functools import cached_property

import polars as pl

from experiments.talk.catalogue import Catalogue

LONGEST = 40
"""Characters of a name in a list, on average: above, commas part sentences."""

AGAIN = 0.75
"""Different values a value, of parts as against whole cells, below which the parts are names that come again."""

_PARTED = r"\s*[,;|]\s*"


class Sharing:
    """Facts of items, and the items of each fact.

    Parameters
    ----------
    catalogue : Catalogue
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def facts(self, row: int) -> list[tuple[str, str]]:
        """The facts of an item, each a column and one value of it.

        Parameters
        ----------
        row : int
        """
        return [
            (column, value)
            for column, parts in self._parts.items()
            for value in dict.fromkeys(parts[row])
        ]

    def rows(self, column: str, value: str) -> list[int]:
        """The items with a fact, those of the most people first.

        Parameters
        ----------
        column, value : str
            As of `facts`.
        """
        return self._rows.get((column, value), [])

    @cached_property
    def _parts(self) -> dict[str, list[list[str]]]:
        """Column to the values of each row; titles are none."""
        titles = self._catalogue.titles
        found = {}
        for column in self._catalogue.items.columns[1:]:
            parts = _parts_of(self._catalogue.items[column])
            if [" ".join(each) for each in parts] != titles:
                found[column] = parts
        return found

    @cached_property
    def _rows(self) -> dict[tuple[str, str], list[int]]:
        found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        popularity = self._catalogue.popularity
        for row in sorted(range(len(popularity)), key=lambda each: -int(popularity[each])):
            for fact in self.facts(row):
                found[fact].append(row)
        return found


def _parts_of(cells: pl.Series) -> list[list[str]]:
    """The values of each cell, as text."""
    if isinstance(cells.dtype, pl.List):
        return [[_text(each) for each in cell or ()] for cell in cells.to_list()]
    whole = [[] if cell is None or cell == "" else [_text(cell)] for cell in cells.to_list()]
    if cells.dtype != pl.String:
        return whole
    parted = [[part for text in cell for part in re.split(_PARTED, text) if part] for cell in whole]
    return parted if _lists(whole, parted) else whole


def _lists(whole: list[list[str]], parted: list[list[str]]) -> bool:
    """Whether cells are lists: their parts are short, and come again in other cells more than the cells do."""
    parts = [part for cell in parted for part in set(cell)]
    texts = [text for cell in whole for text in cell]
    if len(parts) <= len(texts):
        return False
    short = sum(map(len, parts)) <= LONGEST * len(parts)
    return short and len(set(parts)) / len(parts) < AGAIN * len(set(texts)) / len(texts)


def _text(value: object) -> str:
    text = str(value)
    return text.removesuffix(".0") if isinstance(value, float) else text
