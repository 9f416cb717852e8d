"""RecBole's atomic files, read by column: NAME.inter, NAME.item, NAME.user.

An atomic file is UTF-8 text with one row a line and cells parted by tabs. Each cell of its first line
is `name:type`, the type one of token, float, token_seq, float_seq. Quotes are plain characters.
CRLF line ends and a byte order mark are accepted.

A file that breaks these rules is refused with its line (the header is line 1), column and value.

polars reads the cells, while pyarrow reads the files of `delimited`: pyarrow ends a line at a lone
carriage return too, which is a character of a cell here, and polars knows neither other encodings
nor the row that it refuses.
"""

import mmap
from collections.abc import Mapping
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
    return Tables(read_atomic(sources.inter, required=required, rest=False), item, user)


def read_atomic(path: Path, *, required: Mapping[str, str], rest: bool = True) -> Table:
    """Read an atomic file whose every line has been checked for its shape, not for its values.

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
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        header, body = _split_header(path, data)
        types = _parse_header(path, header)
        for column, key in required.items():
            require(path, column, key, types)
        rows = _check_lines(path, data, body, list(types))
    wanted = [name for name in types if rest or name in required]
    if rows == 0:
        empty = pl.DataFrame(schema=dict.fromkeys(wanted, pl.String))
        return Table(path=path, types=types, cells=empty, line_of=_line_of)
    cells = (
        pl.scan_csv(
            path,
            separator="\t",
            quote_char=None,
            has_header=False,
            skip_lines=1,
            n_rows=rows,
            schema=dict.fromkeys(types, pl.String),
            glob=False,
        )
        .select(wanted)
        .collect()
    )
    assert cells.height == rows, (cells.height, rows)
    return Table(path=path, types=types, cells=cells, line_of=_line_of)


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


def _split_header(path: Path, data: mmap.mmap) -> tuple[str, int]:
    """The header's text and the offset of the line below it."""
    end = data.find(b"\n")
    body = len(data) if end < 0 else end + 1
    start = len(_BOM) if data[: len(_BOM)] == _BOM else 0
    line = data[start:body].rstrip(b"\r\n")
    check_text(path, line, offset=start, line=1, columns=[])
    return line.decode(), body


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


def _check_lines(path: Path, data: mmap.mmap, body: int, columns: list[str]) -> int:
    """Count the rows below the header, all of which have as many cells as it and are UTF-8."""
    end = len(data)
    while end > body and data[end - 1] in b"\r\n":
        end -= 1
    rows = 0
    start = body
    while start < end:
        stop = data.find(b"\n", min(start + _CHUNK, end), end)
        stop = end if stop < 0 else stop
        chunk = data[start:stop]
        line = rows + _FIRST_ROW
        check_text(path, chunk, offset=start, line=line, columns=columns)
        rows += _check_cells(path, chunk, line=line, columns=columns)
        start = stop + 1
    return rows


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
