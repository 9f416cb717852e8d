"""RecBole's atomic files, read by column: NAME.inter, NAME.item, NAME.user.

An atomic file is UTF-8 text with one row a line and cells parted by tabs. Each cell of its first line
is `name:type`, the type one of token, float, token_seq, float_seq. Quotes are plain characters.
CRLF line ends and a byte order mark are accepted.

A file that breaks these rules is refused with its line (the header is line 1), column and value.

polars reads the cells, while pyarrow reads the files of `delimited`: pyarrow ends a line at a lone
carriage return too, which is a character of a cell here, and polars knows neither other encodings
nor the row that it refuses.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments.data.readers.table import (
    OPTIONAL,
    Table,
    Tables,
    cell_error,
    check_text,
    require,
    shown,
)
from experiments.data.sources.find import Sources
from experiments.errors import PaddockError
from paddock import reader

TYPES = ("token", "float", "token_seq", "float_seq")

_BOM = b"\xef\xbb\xbf"
_CHUNK = 1 << 24
_FIRST_ROW = 2


@reader("atomic", columns=True)
def read_atomic_files(
    sources: Sources,
    columns: Mapping[str, str | None],
    required: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Tables:
    """RecBole's atomic files NAME.inter, NAME.item and NAME.user, with the columns that are configured.

    Parameters
    ----------
    sources : Sources
    columns : mapping of str to str or None
        "user", "item", "time", "rating" -> the column that holds it.
    required : mapping of str to str
        Columns that the interactions must have, each with the configuration key that asks for it.
    settings : mapping
        Not read: the files say all there is to know.

    Raises
    ------
    PaddockError
        Naming file, line, column and value.
    """

    def features(path: Path | None, role: str) -> Table | None:
        column = columns[role]
        if path is None or column is None:
            return None
        return read_atomic(path, required={column: f"dataset.columns.{role}"})

    user, item = features(sources.user, "user"), features(sources.item, "item")
    return Tables(stream_atomic(sources.inter, required=required), item, user)


def read_atomic(path: Path, *, required: Mapping[str, str], rest: bool = True) -> Table:
    """Read an atomic file whose every line is checked for its shape, not for its values.

    Parameters
    ----------
    path : Path
    required : mapping of str to str
        Columns that must be there, each with the configuration key that asks for it.
    rest : bool
        Whether the other columns are read too.

    Raises
    ------
    PaddockError
        Naming file, line, column and value.
    """
    table = stream_atomic(path, required=required, rest=rest)
    cells = pl.concat([table.cells, *(piece.cells for piece in table.pieces())])
    return replace(table, cells=cells, stream=None)


def stream_atomic(path: Path, *, required: Mapping[str, str], rest: bool = False) -> Table:
    """An atomic file whose rows are read, and their shape checked, when they are asked for.

    Parameters
    ----------
    path : Path
    required : mapping of str to str
        Columns that must be there, each with the configuration key that asks for it.
    rest : bool
        Whether the other columns are read too.

    Raises
    ------
    PaddockError
        Naming file, line, column and value.
    """
    if path.stat().st_size == 0:
        raise PaddockError(
            f"{path}, line 1: the file is empty (0 bytes); its first line must name the columns, "
            f"such as {_example(required)}"
        )
    with path.open("rb") as stream:
        header, body = _header(path, stream.readline())
    types = _parse_header(path, header)
    for column, key in required.items():
        require(path, column, key, types)
    wanted = [name for name in types if rest or name in required]
    empty = pl.DataFrame(schema=dict.fromkeys(wanted, pl.String))
    table = Table(path=path, types=types, cells=empty, line_of=_line_of)

    def pieces() -> Iterator[Table]:
        rows, offset = 0, body
        for chunk in _chunks(path, body):
            line = rows + _FIRST_ROW
            check_text(path, chunk, offset=offset, line=line, columns=list(types))
            found = _check_cells(path, chunk, line=line, columns=list(types))
            cells = (
                pl.scan_csv(
                    chunk,
                    separator="\t",
                    quote_char=None,
                    has_header=False,
                    n_rows=found,
                    schema=dict.fromkeys(types, pl.String),
                )
                .select(wanted)
                .collect()
            )
            assert cells.height == found, (cells.height, found)
            yield table.piece(cells, rows)
            rows += found
            offset += len(chunk) + 1

    return replace(table, stream=pieces)


def _line_of(row: int) -> int:
    return row + _FIRST_ROW


def _example(required: Mapping[str, str]) -> str:
    """A header of the required columns, as an error message shows it."""
    return repr(
        "\t".join(
            f"{name}:{'float' if key.endswith(OPTIONAL) else 'token'}"
            for name, key in required.items()
        )
    )


def _header(path: Path, first: bytes) -> tuple[str, int]:
    """The header's text and the offset of the line below it."""
    start = len(_BOM) if first[: len(_BOM)] == _BOM else 0
    line = first[start:].rstrip(b"\r\n")
    check_text(path, line, offset=start, line=1, columns=[])
    return line.decode(), len(first)


def _parse_header(path: Path, header: str) -> dict[str, str]:
    cells = header.split("\t")
    if len(cells) == 1 and header.count(":") > 1:
        for separator in (",", ";", "|", " "):
            if separator in header:
                raise cell_error(
                    path,
                    1,
                    header,
                    f"the header is one cell that holds {separator!r}; cells must be parted by tabs",
                )
    types: dict[str, str] = {}
    for cell in cells:
        name, colon, kind = cell.rpartition(":")
        if not colon:
            raise cell_error(
                path, 1, cell, f"no type; write it {cell + ':token'!r} or {cell + ':float'!r}"
            )
        if not name:
            raise cell_error(path, 1, cell, f"no name in front of the type: {shown(cell)}")
        if kind not in TYPES:
            raise cell_error(
                path, 1, name, f"unknown type {shown(kind)}; write one of {', '.join(TYPES)}"
            )
        if name in types:
            raise cell_error(
                path, 1, name, f"the header names {shown(name)} twice; rename or drop one"
            )
        types[name] = kind
    return types


def _chunks(path: Path, body: int) -> Iterator[bytes]:
    """Whole lines, without the end of the last one; blank lines at the end of the file are none."""
    with path.open("rb") as stream:
        stream.seek(body)
        held = b""
        while chunk := stream.read(_CHUNK) + stream.readline():
            # Whether blank lines are the file's last ones is known when others follow.
            if held and chunk.strip(b"\r\n"):
                yield held.removesuffix(b"\n")
                held = chunk
            else:
                held += chunk
        last = held.rstrip(b"\r\n")
        if last:
            yield last


def _check_cells(path: Path, chunk: bytes, *, line: int, columns: list[str]) -> int:
    """Count the lines of `chunk`, which must each have one cell a column."""
    inner = len(columns) - 1
    bytes_ = np.frombuffer(chunk, dtype=np.uint8)
    ends = np.append(np.flatnonzero(bytes_ == ord("\n")), len(chunk))
    tabs = np.flatnonzero(bytes_ == ord("\t"))
    if len(tabs) == inner * len(ends):
        # Each line holds its share when its last tab is before its end and its first one after the
        # end of the line above.
        table = tabs.reshape(len(ends), inner)
        if inner == 0 or ((table[:, -1] < ends).all() and (table[1:, 0] > ends[:-1]).all()):
            return len(ends)
    counts = np.diff(np.searchsorted(tabs, ends), prepend=0)
    row = int(np.argmax(counts != inner))
    text = chunk.split(b"\n")[row].decode().rstrip("\r")
    cells = text.split("\t")
    if not text:
        problem = f"the line is blank where the header has {len(columns)} cells; drop it"
        raise cell_error(path, line + row, columns[0], problem)
    if len(cells) < len(columns):
        problem = (
            f"the line ends before it: {len(cells)} cells where the header has {len(columns)}, "
            f"in {shown(text)}; part cells by tabs, and leave a missing value empty"
        )
        raise cell_error(path, line + row, columns[len(cells)], problem)
    problem = (
        f"{len(cells)} cells where the header has {len(columns)}, the first too many is "
        f"{shown(cells[len(columns)])}; drop it or name its column in the header"
    )
    raise cell_error(path, line + row, columns[-1], problem)
