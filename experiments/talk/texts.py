"""Texts on items, such as reviews: cut into pieces, searched by words and nearness, quoted with their ids.

A text is data. Nothing in it is ever read as an instruction: it is shown between quotation marks, or not at all.

P pieces, W width of an embedding.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from experiments.config.language_keys import TINY, TextEncoderConfig
from experiments.errors import PaddockError
from experiments.files import hash_of
from experiments.serving.index import BUILD, LINKS, ApproximateIndex, installed
from experiments.talk.evidence import Quote
from experiments.talk.kept import kept
from experiments.talk.search import READING, TextSearch, load_words, save_words
from experiments.visible import visible

if TYPE_CHECKING:
    from experiments.data.prepared import Prepared

FORMAT = 1
"""Raise it when texts are cut otherwise, so that kept pieces are not taken for equal."""

PIECE = 280
"""Characters of a piece, at most."""

MOST = 2_000_000
"""Pieces that are kept."""

FLOOR = 0.25
"""The cosine from which a piece counts as near by hashed words: below lie chance and common letters."""

_PIECES = "pieces.parquet"
_GRAPH = "graph.faiss"


class Texts:
    """The texts of a catalogue's items.

    Parameters
    ----------
    pieces : DataFrame
        As `cut` gives them.
    search : TextSearch, optional
        Of the pieces; by default by their words alone.
    """

    def __init__(self, pieces: pl.DataFrame, search: TextSearch | None = None) -> None:
        self._pieces = pieces
        self._search = search or TextSearch(pieces["text"])
        self._rows = pieces["row"].to_numpy()
        self._order = np.argsort(self._rows, kind="stable")
        self._sorted = self._rows[self._order]
        self._last: tuple[str, np.ndarray] = ("", np.zeros(0))

    def items(self, query: str) -> dict[int, float]:
        """The rows of items whose texts fit a query, each with its best piece's score, 0 to 1."""
        if not len(self._rows) or not query.strip():
            return {}
        scores = self._scores(query)
        found = scores.nonzero()[0]
        rows, places = np.unique(self._rows[found], return_inverse=True)
        best = np.zeros(len(rows))
        np.maximum.at(best, places, scores[found])
        return dict(zip(rows.tolist(), best.tolist(), strict=True))

    def quotes(self, row: int, query: str, *, most: int = 1) -> tuple[Quote, ...]:
        """Pieces on an item: those that fit the query best, else the first.

        Parameters
        ----------
        row : int
        query : str
        most : int
        """
        start, stop = np.searchsorted(self._sorted, [row, row + 1])
        places = self._order[start:stop]
        if query.strip() and len(places):
            places = places[np.argsort(-self._scores(query)[places], kind="stable")]
        return tuple(map(self._quote, places[:most].tolist()))

    def _quote(self, place: int) -> Quote:
        kind, number, part, text = self._pieces.select("kind", "number", "part", "text").row(place)
        return Quote(f"{kind} {number}.{part}", text)

    def _scores(self, query: str) -> np.ndarray:
        # The cards of one answer ask for the same query.
        if self._last[0] != query:
            self._last = (query, self._search.scores(query))
        return self._last[1]


def texts_of(
    data: "Prepared", encoder: TextEncoderConfig, *, index_above: int | None = None
) -> Texts | None:
    """The texts of a prepared data set; None where it has none.

    Pieces, words, embeddings and the index are kept beside the data and made again only when the texts or the
    encoder are others.

    Parameters
    ----------
    data : Prepared
    encoder : TextEncoderConfig
        Embeds the pieces and the queries.
    index_above : int, optional
        Pieces above which the nearest are found by the approximate index where FAISS is installed; None: never.

    Raises
    ------
    PaddockError
        The encoder cannot be loaded, or there are too many pieces.
    """
    from experiments.language.embeddings import query_encoder, text_embeddings

    reviews = data.reviews
    if reviews is None:
        return None
    folder = data.path / "texts"
    cut_by = {"format": FORMAT, "texts": data.texts_hash, "piece": PIECE}

    def write_pieces(place: Path) -> None:
        cut(reviews).write_parquet(place / _PIECES)

    place = kept(folder, cut_by, write_pieces)
    pieces = pl.read_parquet(place / _PIECES, glob=False)
    if not pieces.height:
        return Texts(pieces)
    texts = pieces["text"].to_list()
    words = kept(folder, {**cut_by, "reading": READING}, lambda path: save_words(texts, path))
    named = hash_of(cut_by)
    table_NW = text_embeddings(encoder, texts, beside=data.path, named=named).numpy()
    graph = None
    if index_above is not None and pieces.height > index_above and installed():
        made_by = {**cut_by, "encoder": vars(encoder), "graph": [LINKS, BUILD]}
        at = kept(folder, made_by, lambda path: ApproximateIndex(table_NW).save(path / _GRAPH))
        graph = ApproximateIndex.load(at / _GRAPH, table_NW)
    search = TextSearch(
        texts,
        embeddings=table_NW[1:],
        encode=query_encoder(encoder),
        words=load_words(words),
        graph=graph,
        floor=FLOOR if encoder.name == TINY else -1.0,
    )
    return Texts(pieces, search)


def cut(reviews: pl.DataFrame) -> pl.DataFrame:
    """Texts cut into pieces.

    Parameters
    ----------
    reviews : DataFrame
        As `Prepared.reviews`.

    Returns
    -------
    DataFrame
        `row`, an item's from 0; `kind`; `number`, the text's; `part`, the piece's in it, from 1; `text`.

    Raises
    ------
    PaddockError
        There are more than MOST.
    """
    made = pl.DataFrame(
        _pieces(reviews),
        schema={
            "row": pl.Int32,
            "kind": pl.String,
            "number": pl.Int64,
            "part": pl.Int32,
            "text": pl.String,
        },
        orient="row",
    )
    if made.height > MOST:
        raise PaddockError(
            f"dataset.files.texts gives {made.height:,} pieces of text, more than {MOST:,}: give fewer"
        )
    return made


def _pieces(reviews: pl.DataFrame) -> Iterator[tuple[int, str, int, int, str]]:
    for number, item, text, kind in reviews.select("number", "item", "text", "kind").iter_rows():
        for part, piece in enumerate(pieces_of(text), start=1):
            yield item - 1, visible(kind), number, part, piece


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
