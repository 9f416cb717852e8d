"""Conditions of item columns: `release_year >= 1990 and not (class contains "Horror" or class contains "War")`.

A condition is read by the grammar below and by nothing else: there is no code in it.

    condition  = part { "or" part }
    part       = factor { "and" factor }
    factor     = "not" factor | "(" condition ")" | column sign value
    sign       = "=" | "!=" | "<" | "<=" | ">" | ">=" | "contains"
    value      = a number | "text" | 'text' | a word

Texts are compared without regard to case. A column of lists, such as genres, contains a value; a column of
text contains a part of it. An item without a value meets no comparison.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from experiments.config.values import nearest
from experiments.errors import PaddockError

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>-?\d+(?:\.\d+)?)(?![\w.])
    |(?P<sign><=|>=|!=|==|=|<|>)
    |(?P<bracket>[()])
    |(?P<word>[\w][\w.\-]*)
    )""",
    re.VERBOSE,
)
_DEEPEST = 50
"""Brackets within brackets: a condition of users is no program."""

_NUMBERS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "=": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}

_SHOWN = 120
"""Characters of a condition that a message quotes."""


def shortened(text: str) -> str:
    """A text as a message quotes it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


Mask = Callable[[pl.DataFrame], np.ndarray]


@dataclass(frozen=True)
class Filter:
    """A condition that was read.

    Attributes
    ----------
    text : str
        As it was given.
    columns : frozenset of str
        The columns that it reads.
    """

    text: str
    columns: frozenset[str]
    _mask: Mask

    def mask(self, items: pl.DataFrame) -> np.ndarray:
        """Which items meet it, bool, shape (items,).

        Parameters
        ----------
        items : DataFrame
            A row an item.

        Raises
        ------
        PaddockError
            The items lack a column, or it cannot be compared so.
        """
        for name in sorted(self.columns):
            if name not in items.columns:
                raise PaddockError(
                    f"where={shortened(self.text)}: items have no column {name}; {nearest(name, items.columns)}"
                )
        return self._mask(items)


def parse_where(text: str) -> Filter:
    """Read a condition.

    Parameters
    ----------
    text : str
        As the grammar above has it.

    Raises
    ------
    PaddockError
        Naming what cannot be read, and where.
    """
    reader = _Reader(text)
    mask = reader.condition(0)
    reader.end()
    return Filter(text, frozenset(reader.columns), mask)


class _Reader:
    """Reads one condition from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._at = 0
        self.columns: set[str] = set()

    def _split(self) -> Iterator[tuple[str, str, int]]:
        at, end = 0, len(self._text.rstrip())
        while at < end:
            found = _TOKEN.match(self._text, at)
            if found is None:
                raise self._error(
                    f"{shortened(self._text[at:].split()[0])!r} is not understood", at
                )
            kind = str(found.lastgroup)
            yield kind, found[kind], found.start(kind)
            at = found.end()

    def _error(self, what: str, at: int) -> PaddockError:
        return PaddockError(
            f"where={shortened(self._text)}: {what}, at character {at + 1}; write such as "
            'release_year >= 1990 and class contains "Comedy"'
        )

    def _peek(self) -> tuple[str, str, int]:
        if self._at < len(self._tokens):
            return self._tokens[self._at]
        return "end", "the end", len(self._text)

    def _take(self, *kinds: str, what: str) -> tuple[str, str]:
        kind, value, at = self._peek()
        if kind not in kinds:
            raise self._error(f"{what} is wanted, not {value!r}", at)
        self._at += 1
        return kind, value

    def _takes(self, word: str) -> bool:
        kind, value, _ = self._peek()
        if kind in ("word", "bracket") and value.lower() == word:
            self._at += 1
            return True
        return False

    def end(self) -> None:
        kind, value, at = self._peek()
        if kind != "end":
            raise self._error(f"'and' or 'or' is wanted, not {value!r}", at)

    def condition(self, depth: int) -> Mask:
        parts = [self._part(depth)]
        while self._takes("or"):
            parts.append(self._part(depth))
        return _joined(np.logical_or, parts)

    def _part(self, depth: int) -> Mask:
        factors = [self._factor(depth)]
        while self._takes("and"):
            factors.append(self._factor(depth))
        return _joined(np.logical_and, factors)

    def _factor(self, depth: int) -> Mask:
        if depth > _DEEPEST:
            raise self._error(f"more than {_DEEPEST} brackets within brackets", self._peek()[2])
        if self._takes("not"):
            denied = self._factor(depth + 1)
            return lambda items: ~denied(items)
        if self._takes("("):
            made = self.condition(depth + 1)
            if not self._takes(")"):
                raise self._error(f"')' is wanted, not {self._peek()[1]!r}", self._peek()[2])
            return made
        return self._comparison()

    def _comparison(self) -> Mask:
        _, column = self._take("word", what="a column")
        self.columns.add(column)
        if self._takes("contains"):
            sign = "contains"
        else:
            sign = self._take("sign", what="a sign such as >= or contains")[1].replace("==", "=")
        kind, value = self._take("text", "number", "word", what="a value")
        if kind == "text":
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        number = float(value) if kind == "number" else None
        return lambda items: self._compared(items[column], sign, value, number)

    def _compared(
        self, cells: pl.Series, sign: str, value: str, number: float | None
    ) -> np.ndarray:
        if isinstance(cells.dtype, pl.List) or sign == "contains":
            if sign not in ("=", "!=", "contains"):
                raise PaddockError(
                    f"where={shortened(self._text)}: {cells.name} holds words, which {sign} does not compare; "
                    f'write {cells.name} contains "{value}"'
                )
            return _holds(cells, value, part=sign == "contains") != (sign == "!=")
        if number is not None:
            numbers = cells.cast(pl.Float64, strict=False).to_numpy()
            return _NUMBERS[sign](numbers, number) & ~np.isnan(numbers)
        if sign not in ("=", "!="):
            raise PaddockError(
                f"where={shortened(self._text)}: {sign} compares numbers, and {value!r} is none"
            )
        texts = cells.cast(pl.String)
        same = texts.str.to_lowercase() == value.lower()
        return ((same if sign == "=" else ~same) & texts.is_not_null()).fill_null(False).to_numpy()


def _joined(join: np.ufunc, masks: list[Mask]) -> Mask:
    if len(masks) == 1:
        return masks[0]
    return lambda items: join.reduce([mask(items) for mask in masks])


def _holds(cells: pl.Series, value: str, *, part: bool) -> np.ndarray:
    wanted = value.lower()
    if isinstance(cells.dtype, pl.List):
        lists = cells.cast(pl.List(pl.String)).to_list()
        found = [any(str(each).lower() == wanted for each in cell or ()) for cell in lists]
        return np.array(found, dtype=bool)
    texts = cells.cast(pl.String).str.to_lowercase()
    found_in = texts.str.contains(wanted, literal=True) if part else texts == wanted
    return found_in.fill_null(False).to_numpy()
