"""Texts on items, such as reviews: cut into pieces, searched by words, quoted with their ids.

A text is data. Nothing in it is ever read as an instruction: it is shown between quotation marks, or not at all.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from experiments.errors import PaddockError
from experiments.talk.catalogue import Catalogue
from experiments.talk.evidence import Quote
from experiments.talk.search import TextSearch
from experiments.visible import visible

COLUMNS = ("item", "text", "kind", "author")
PIECE = 280
"""Characters of a piece, at most."""

MOST = 500_000
"""Pieces that are kept."""


@dataclass(frozen=True)
class Piece:
    """A run of whole sentences of a text."""

    id: str
    row: int
    text: str


class Texts:
    """The texts of a catalogue's items.

    Parameters
    ----------
    table : DataFrame
        The columns item, text, kind and author; texts of unknown items are left out.
    catalogue : Catalogue

    Raises
    ------
    PaddockError
        A column is missing.
    """

    def __init__(self, table: pl.DataFrame, catalogue: Catalogue) -> None:
        if missing := sorted(set(COLUMNS) - set(table.columns)):
            raise PaddockError(
                f"the table of texts has no column {missing[0]}; it needs {', '.join(COLUMNS)}"
            )
        rows = {token: row for row, token in enumerate(catalogue.tokens)}
        self.pieces: list[Piece] = []
        self._of_row: dict[int, list[int]] = {}
        cells = table.select(pl.col(COLUMNS).cast(pl.String)).rows()
        for number, (item, text, kind, _) in enumerate(cells, start=1):
            row = rows.get(item)
            if row is None or not text:
                continue
            for place, piece in enumerate(pieces_of(text), start=1):
                self._of_row.setdefault(row, []).append(len(self.pieces))
                self.pieces.append(Piece(f"{kind or 'text'} {number}.{place}", row, piece))
            if len(self.pieces) > MOST:
                raise PaddockError(f"there are more than {MOST:,} pieces of text: give fewer texts")

    @cached_property
    def _search(self) -> TextSearch:
        return TextSearch([piece.text for piece in self.pieces])

    def items(self, query: str) -> dict[int, float]:
        """The rows of items whose texts fit a query, each with its best piece's score, 0 to 1."""
        if not self.pieces or not query.strip():
            return {}
        scores = self._search.scores(query)
        best: dict[int, float] = {}
        for place in scores.nonzero()[0]:
            row = self.pieces[place].row
            best[row] = max(best.get(row, 0.0), float(scores[place]))
        return best

    def quotes(self, row: int, query: str, *, most: int = 1) -> tuple[Quote, ...]:
        """Pieces on an item: those that fit the query best, else the first.

        Parameters
        ----------
        row : int
        query : str
        most : int
        """
        places = self._of_row.get(row, [])
        if query.strip() and places:
            scores = self._search.scores(query)
            places = sorted(places, key=lambda place: (-scores[place], place))
        return tuple(
            Quote(self.pieces[place].id, self.pieces[place].text) for place in places[:most]
        )


def pieces_of(text: str) -> list[str]:
    """A text cut at the ends of its sentences into pieces of at most PIECE characters.

    Parameters
    ----------
    text : str
        Control characters are spelled out, runs of blanks become one.
    """
    plain = visible(re.sub(r"\s+", " ", text)).strip()
    pieces: list[str] = []
    for sentence in re.split(r"(?<=[.!?。])\s+", plain):
        for part in _parts(sentence):
            if pieces and len(pieces[-1]) + 1 + len(part) <= PIECE:
                pieces[-1] += f" {part}"
            elif part:
                pieces.append(part)
    return pieces


def _parts(sentence: str) -> Sequence[str]:
    if len(sentence) <= PIECE:
        return [sentence]
    words, parts = sentence.split(" "), [""]
    for word in words:
        for start in range(0, max(len(word), 1), PIECE):
            chunk = word[start : start + PIECE]
            if len(parts[-1]) + 1 + len(chunk) <= PIECE:
                parts[-1] = f"{parts[-1]} {chunk}".strip()
            else:
                parts.append(chunk)
    return parts
