"""Files of one row a line: CSV, TSV and the like, gzipped or not, and Parquet.

pyarrow reads text: it streams, decompresses, decodes and says which row it refuses. The csv module
of the standard library reads headers, and finds the line of a row for an error message, which pyarrow
cannot tell where quoted cells hold line breaks.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

import polars as pl
import pyarrow as pa
import pyarrow.csv as pc

from experiments.data.readers.parquet import ParquetParts, Piece, as_texts
from experiments.data.readers.table import (
    Table,
    Tables,
    cell_error,
    check_text,
    interaction_types,
    line_error,
    require,
    shown,
)
from experiments.data.sources.find import Sources
from experiments.errors import PaddockError
from paddock import reader

SEPARATORS = ("\t", ",", ";", "|", "::")
_UNIT = "\x1f"
"""What stands for a separator of two characters, which parsers do not know."""
_BLOCK = 1 << 24
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)
_BREAKS = r"\s*[\t\r\n]+\s*"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How cells stand in a line.

    Attributes
    ----------
    separator : str, optional
        One character or "::"; found in the first line where it is not given.
    encoding : str
    header : list of str, optional
        The columns of a file whose first line is data. Quotes are plain characters there.
    """

    separator: str | None = None
    encoding: str = "utf-8"
    header: list[str] | None = None


@reader("csv", columns=True)
def read_csv(
    sources: Sources,
    columns: Mapping[str, str | None],
    required: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Tables:
    """CSV, TSV and the like, gzipped or not, and Parquet, with the columns that are configured.

    Parameters
    ----------
    sources : Sources
    columns : mapping of str to str or None
        "user", "item", "time", "rating" -> the column that holds it.
    required : mapping of str to str
        Columns that the interactions must have, each with the configuration key that asks for it.
    settings : mapping
        Under "csv", the arguments of `Dialect`; its header is that of the interactions.

    Raises
    ------
    PaddockError
        Naming file, line, column and value.
    """
    dialect = Dialect(**settings["csv"])

    def features(path: Path | None, role: str) -> Table | None:
        column = columns[role]
        if path is None or column is None:
            return None
        return read_delimited(
            path,
            None,
            required={column: f"dataset.columns.{role}"},
            types={column: "token"},
            dialect=Dialect(encoding=dialect.encoding),
            complete=False,
        )

    interactions = read_delimited(
        sources.inter,
        {name: name for name in required},
        required=required,
        types=interaction_types(columns),
        dialect=dialect,
        tidy=False,
        stream=True,
    )
    return Tables(interactions, features(sources.item, "item"), features(sources.user, "user"))


def read_delimited(
    path: Path,
    columns: Mapping[str, str] | None,
    *,
    required: Mapping[str, str],
    types: Mapping[str, str] | None = None,
    dialect: Dialect,
    complete: bool = True,
    tidy: bool = True,
    stream: bool = False,
) -> Table:
    """Read columns of a CSV, TSV or Parquet file, or of a folder of Parquet files.

    Parameters
    ----------
    columns : mapping of str to str, optional
        Column to the file's name of it; all under their own names where it is not given.
    required : mapping of str to str
        Columns that must be there, each with the configuration key that asks for it.
    types : mapping of str to str
        The types of the columns that are no tokens.
    dialect : Dialect
        How cells stand in the lines of a text file.
    complete : bool
        As of `Table`.
    tidy : bool
        Whether line breaks and tabs inside of cells become blanks.
    stream : bool
        Whether rows are read when they are asked for (`Table.stream`), instead of now.

    Raises
    ------
    PaddockError
        Naming file, line, column and value.
    """
    file: ParquetParts | _Text
    if path.is_dir() or path.suffix == ".parquet":
        file = ParquetParts(path)
    else:
        file = _Text(path, dialect, [(columns or {}).get(c, c) for c in required])
    known = file.header
    names = dict(columns) if columns is not None else {name: name for name in known}
    for column, key in required.items():
        require(path, names.get(column, column), key, known)
    found = {column: name for column, name in names.items() if name in known}

    def texts(cells: pl.DataFrame) -> pl.DataFrame:
        plain = as_texts(path, cells, found, flat=types or {})
        return (
            plain.with_columns(pl.col(pl.String).str.replace_all(_BREAKS, " ")) if tidy else plain
        )

    empty = file.empty([*found.values()])
    table = Table(
        path=path,
        types={
            column: (types or {}).get(column, _type(empty.schema[name]))
            for column, name in found.items()
        },
        cells=texts(empty),
        line_of=file.line_of,
        complete=complete,
        names=found,
    )

    def pieces() -> Iterator[Table]:
        for piece in file.pieces([*found.values()]):
            part = replace(table, path=piece.path, line_of=piece.line_of)
            yield part.piece(texts(piece.cells), piece.start)

    if stream:
        return replace(table, stream=pieces)
    return replace(table, cells=pl.concat([table.cells, *(piece.cells for piece in pieces())]))


def _type(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.List):
        return "token_seq"
    return "float" if dtype.is_float() or dtype.is_integer() else "token"


class _Text:
    """A text file of one dialect, its header read."""

    def __init__(self, path: Path, dialect: Dialect, wanted: list[str]) -> None:
        self._path = path
        self._encoding = dialect.encoding
        first = self._first_line()
        self._separator = dialect.separator or _find_separator(first, wanted)
        if self._separator != "::" and (len(self._separator) != 1 or self._separator > "~"):
            raise PaddockError(
                f"dataset.csv.separator: {shown(self._separator)} is neither one ASCII character "
                f"nor '::'"
            )
        self._quote = None if dialect.header else '"'
        self._has_header = dialect.header is None
        if dialect.header is None:
            self.header = next(csv.reader(self._parted([first]), delimiter=self._delimiter))
        else:
            self.header = list(dialect.header)
        for name in self.header:
            if self.header.count(name) > 1:
                raise cell_error(path, 1, name, f"the header names {shown(name)} twice")

    @property
    def _delimiter(self) -> str:
        """The separator as one character, which is what parsers take."""
        return _UNIT if len(self._separator) == 2 else self._separator

    def _parted(self, lines: Iterable[str]) -> Iterator[str]:
        return (line.replace(self._separator, self._delimiter) for line in lines)

    def _first_line(self) -> str:
        with self._open() as stream:
            try:
                line = stream.readline(1 << 20)
            except _DAMAGED as error:
                raise self._damaged(error) from None
        if not line:
            raise line_error(
                self._path, 1, "the file is empty (0 bytes); its first line must name the columns"
            )
        line = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
        if b"\r" in line and not line.startswith(b'"'):
            raise line_error(
                self._path,
                1,
                "its lines end in carriage returns (CR) alone; save the file with LF or CRLF",
            )
        if self._encoding == "utf-8":
            check_text(self._path, line, offset=0, line=1, columns=[], separator=b",")
        try:
            return line.decode(self._encoding)
        except (LookupError, UnicodeDecodeError) as error:
            raise line_error(
                self._path, 1, f"dataset.csv.encoding={self._encoding} does not read it: {error}"
            ) from None

    def _open(self) -> BinaryIO:
        if self._path.suffix == ".gz":
            return cast(BinaryIO, gzip.open(self._path))
        return self._path.open("rb")

    def empty(self, names: list[str]) -> pl.DataFrame:
        """No row of some columns."""
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))

    def pieces(self, names: list[str]) -> Iterator[Piece]:
        """The cells of some columns, as strings, block by block."""
        start = 0
        for cells in self._blocks(names):
            yield Piece(self._path, cells, start, self.line_of)
            start += cells.height

    def _blocks(self, names: list[str]) -> Iterator[pl.DataFrame]:
        refused: list[Any] = []

        def refuse(row: Any) -> str:
            refused.append(row)
            return "error"

        two = len(self._separator) == 2
        raw: Any = self._open()
        try:
            with (
                raw,
                pc.open_csv(
                    pa.PythonFile(
                        _OneCharacterSeparator(raw, self._separator.encode()) if two else raw,
                        mode="r",
                    ),
                    read_options=pc.ReadOptions(
                        use_threads=False,
                        block_size=_BLOCK,
                        encoding=self._encoding,
                        column_names=None if self._has_header else self.header,
                    ),
                    parse_options=pc.ParseOptions(
                        delimiter=self._delimiter,
                        quote_char=self._quote or False,
                        newlines_in_values=self._quote is not None,
                        invalid_row_handler=refuse,
                    ),
                    convert_options=pc.ConvertOptions(
                        column_types=dict.fromkeys(names, pa.string()),
                        include_columns=names,
                        strings_can_be_null=True,
                        null_values=[""],
                    ),
                ) as batches,
            ):
                for batch in batches:
                    yield cast(pl.DataFrame, pl.from_arrow(batch))
        except pa.ArrowInvalid as error:
            self._explain(error, refused)
        except _DAMAGED as error:
            raise self._damaged(error) from None
        except UnicodeDecodeError as error:
            raise PaddockError(f"{self._path}: {error}; save the file as UTF-8") from None

    def _explain(self, error: pa.ArrowInvalid, refused: list[Any]) -> NoReturn:
        """Say where the parser stopped, in lines: it counts rows, and tells them apart from cells."""
        if refused:
            row = refused[0]
            line = self.line_of(row.number - 1 - self._has_header)
            cells = row.text.replace(_UNIT, self._separator)
            known = self.header
            if row.actual_columns < row.expected_columns:
                column = known[row.actual_columns]
                problem = "the line ends before it"
            else:
                column, problem = known[-1], "the line goes on behind it"
            raise cell_error(
                self._path,
                line,
                column,
                f"{problem}: {row.actual_columns} cells where the header has "
                f"{row.expected_columns}, in {shown(cells)}; check its quotes and separators "
                f"({self._separator!r})",
            )
        if "UTF8" in str(error):
            self._find_bytes()
        found = re.search(r"Row #(\d+)", str(error))
        place = f", row {found[1]}" if found else ""
        raise PaddockError(f"{self._path}{place}: {error}")

    def _damaged(self, error: Exception) -> PaddockError:
        """The error that names the line at which a gzip file ends or is damaged."""
        line = 1
        with suppress(*_DAMAGED), self._open() as stream:
            while chunk := stream.read(1 << 16):
                line += chunk.count(b"\n")
        return line_error(
            self._path, line, f"the gzip file is cut short or damaged ({error}); get it again"
        )

    def _find_bytes(self) -> None:
        """Refuse the first bytes that are not UTF-8."""
        offset = 0
        with self._open() as stream:
            for number, line in enumerate(stream, start=1):
                check_text(
                    self._path,
                    line,
                    offset=offset,
                    line=number,
                    columns=self.header,
                    separator=self._separator.encode(),
                )
                offset += len(line)

    def line_of(self, row: int) -> int:
        """The line on which a row ends, found by reading up to it: only errors ask."""
        wanted = row + self._has_header
        # The csv module refuses very long cells; then the row is counted as if it were a line.
        with suppress(csv.Error):
            for place, line in enumerate(self._row_ends()):
                if place == wanted:
                    return line
        return wanted + 1

    def _row_ends(self) -> Iterator[int]:
        with io.TextIOWrapper(self._open(), self._encoding, errors="replace", newline="") as text:
            if self._quote is None:
                yield from (number for number, line in enumerate(text, 1) if line.strip("\r\n"))
                return
            rows = csv.reader(self._parted(text), delimiter=self._delimiter)
            yield from (rows.line_num for cells in rows if cells)


class _OneCharacterSeparator(io.RawIOBase):
    """A stream in which one character stands for the separator of two."""

    def __init__(self, stream: BinaryIO, separator: bytes) -> None:
        self._stream = stream
        self._separator = separator
        self._held = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while True:
            chunk = self._stream.read(max(size - len(self._held), 2) if size >= 0 else -1)
            out = (self._held + chunk).replace(self._separator, _UNIT.encode())
            self._held = b""
            # Half a separator at the end of a chunk waits for the other half.
            if chunk and out.endswith(self._separator[:1]):
                out, self._held = out[:-1], out[-1:]
            if out or not chunk:
                return out


def _find_separator(line: str, wanted: list[str]) -> str:
    """The separator that parts the first line into the wanted columns, or into the most cells."""

    def merit(separator: str) -> tuple[int, int]:
        cells = [cell.strip('"') for cell in line.split(separator)]
        return sum(name in cells for name in wanted), len(cells)

    return max(SEPARATORS, key=merit)
