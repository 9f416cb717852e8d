"""Files of one object a line, gzipped or not: JSON, or Python literals where a release holds those.

JSON is read column by column and never held whole. Lines of Python literals, as some older releases
have them, are read one at a time.
"""

import ast
import codecs
import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

import polars as pl

from experiments.data.readers.table import (
    Table,
    Tables,
    interaction_types,
    line_error,
    require,
    shown,
)
from experiments.data.sources.find import Sources
from experiments.errors import PaddockError
from paddock import reader

_BATCH = 20_000
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CUT = (EOFError, gzip.BadGzipFile, zlib.error)
_BREAKS = r"\s*[\t\r\n]+\s*"


@reader("json", columns=True)
def read_json(
    sources: Sources,
    columns: Mapping[str, str | None],
    required: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Tables:
    """One JSON object a line, gzipped or not, with the fields that are configured.

    Parameters
    ----------
    sources : Sources
    columns : mapping of str to str or None
        "user", "item", "time", "rating" -> the field that holds it.
    required : mapping of str to str
        Fields that interactions must have, each with the configuration key that asks for it.
    settings : mapping
        Not read.

    Raises
    ------
    PaddockError
        Naming file, line and what stands there.
    """

    def features(path: Path | None, role: str) -> Table | None:
        column = columns[role]
        if path is None or column is None:
            return None
        table = read_objects(
            path,
            {name: name for name in known_fields(path)},
            required={column: f"dataset.columns.{role}"},
            complete=False,
        )
        sequences = [
            name
            for name in table.cells.columns
            if name != column and _holds_lists(table.cells[name].drop_nulls())
        ]
        return replace(
            table,
            types=table.types | dict.fromkeys(sequences, "token_seq"),
            cells=table.cells.with_columns(lists(table.cells[name]) for name in sequences),
        )

    interactions = read_objects(
        sources.inter,
        {name: name for name in required},
        required=required,
        types=interaction_types(columns),
        tidy=False,
    )
    return Tables(interactions, features(sources.item, "item"), features(sources.user, "user"))


def _holds_lists(cells: pl.Series) -> bool:
    return len(cells) > 0 and cells.str.starts_with("[").all()


def read_objects(
    path: Path,
    fields: Mapping[str, str],
    *,
    required: Mapping[str, str],
    types: Mapping[str, str] | None = None,
    complete: bool = True,
    tidy: bool = True,
    keep: tuple[str, pl.Series] | None = None,
) -> Table:
    """Read some fields of every object.

    Parameters
    ----------
    fields : mapping of str to str
        Column to the field of the file that fills it. What is no string is written as JSON.
    required : mapping of str to str
        Columns that the first object must have, each with the configuration key that asks for it.
    types : mapping of str to str
        The types of the columns that are no tokens.
    complete : bool
        As of `Table`.
    tidy : bool
        Whether line breaks and tabs inside of strings become blanks.
    keep : (str, polars.Series), optional
        Only rows whose column holds one of these values are kept.

    Raises
    ------
    PaddockError
        Naming file, line and what stands there.
    """
    first, loads = _first_object(path)
    for column, key in required.items():
        require(path, fields[column], key, first)
    cells = _read_json(path, fields) if loads is _json else _read_literals(path, fields)
    if tidy:
        cells = cells.with_columns(pl.all().str.replace_all(_BREAKS, " "))
    table = Table(
        path=path,
        types={column: (types or {}).get(column, "token") for column in fields},
        cells=cells,
        line_of=lambda row: _line_of(path, row),
        complete=complete,
        names=dict(fields),
    )
    if keep is not None:
        column, values = keep
        rows = cells[column].is_in(values.unique().implode()).arg_true()
        table = table.take(rows.to_numpy())
    return table


def known_fields(path: Path) -> list[str]:
    """The fields of the first 100 objects of a file, in the order of their appearance.

    Raises
    ------
    PaddockError
        Where one of these lines holds no object, naming it.
    """
    names: dict[str, None] = {}
    _, loads = _first_object(path)
    for place, (number, line) in enumerate(_lines(path)):
        if place == 100:
            break
        names |= dict.fromkeys(_parse(path, number, line, loads))
    return list(names)


def lists(texts: pl.Series) -> pl.Series:
    """Lists of strings, read from JSON: nested ones flattened, a plain text as a list of one.

    Parameters
    ----------
    texts : polars.Series of String, shape (R,)

    Returns
    -------
    polars.Series of List(String), shape (R,)
        Without empty strings; an empty list where the text is null.
    """
    frame = pl.DataFrame({"row": pl.int_range(len(texts), eager=True), "text": texts})
    text = pl.col("text")
    nested = text.str.contains(r"^\[\s*\[.*\]$")
    flat = text.str.contains(r'^\[\s*(".*)?\]$') & ~nested
    parts = [frame.filter(~(nested | flat))]
    for rows, dtype in ((flat, pl.List(pl.String)), (nested, pl.List(pl.List(pl.String)))):
        part = frame.filter(rows)
        try:
            decoded = part.with_columns(text.str.json_decode(dtype)).explode("text")
            part = decoded.explode("text") if rows is nested else decoded
        except pl.exceptions.PolarsError:
            # A text that only looks like a list stays as it is, which takes a look at each.
            each = text.map_elements(_listed, return_dtype=pl.List(pl.String))
            part = part.with_columns(each).explode("text")
        parts.append(part)
    found = pl.concat(parts).filter(text != "").group_by("row", maintain_order=True).agg("text")
    joined = frame.select("row").join(found, on="row", how="left", maintain_order="left")
    return joined["text"].fill_null([]).alias(texts.name)


def _listed(text: str) -> list[str]:
    """The strings of a list of strings or of lists of strings; a text that is none as a whole."""
    try:
        parts = json.loads(text)
    except ValueError:
        return [text]
    return [str(inner) for part in parts for inner in (part if isinstance(part, list) else [part])]


def _read_json(path: Path, fields: Mapping[str, str]) -> pl.DataFrame:
    try:
        return (
            pl.scan_ndjson(path, schema=dict.fromkeys(fields.values(), pl.String))
            .select(pl.col(field).alias(column) for column, field in fields.items())
            .select(pl.when(pl.all() != "").then(pl.all()))
            .collect(engine="streaming")
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        _explain(path, error)


def _explain(path: Path, error: Exception) -> NoReturn:
    """Find the line that the columnar reader could not read."""
    for number, line in _lines(path):
        _parse(path, number, line, _json)
    raise PaddockError(f"{path}: {' '.join(str(error).split())}") from None


def _read_literals(path: Path, fields: Mapping[str, str]) -> pl.DataFrame:
    schema = dict.fromkeys(fields, pl.String)
    batches = [pl.DataFrame(schema=schema)]
    rows: list[list[str | None]] = []
    for number, line in _lines(path):
        found = _parse(path, number, line, _literal)
        rows.append([_text_of(found.get(field)) for field in fields.values()])
        if len(rows) == _BATCH:
            batches.append(pl.DataFrame(rows, schema=schema, orient="row"))
            rows = []
    batches.append(pl.DataFrame(rows, schema=schema, orient="row"))
    return pl.concat(batches).select(pl.when(pl.all() != "").then(pl.all()))


def _text_of(value: object) -> str | None:
    """A value as the JSON reader gives it: strings as they are, all else as JSON."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text.isascii():
        return text
    # Python 2 wrote characters past 65535 as two halves, which only together are a character.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _first_object(path: Path) -> tuple[dict[str, Any], Callable[[str], Any]]:
    """The first object, and what parses the file's lines."""
    for number, line in _lines(path):
        for loads in (_json, _literal):
            try:
                return _parse(path, number, line, loads), loads
            except PaddockError:
                continue
        return _parse(path, number, line, _json), _json
    raise line_error(path, 1, "the file is empty; it must hold one JSON object a line")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line that is not blank."""
    number = 0
    stream = gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115
    with cast(BinaryIO, stream):
        try:
            for number, line in enumerate(stream, start=1):
                if number == 1 and line.startswith(_MARKS):
                    raise line_error(
                        path,
                        1,
                        f"byte {line[0]:#04x} begins a byte order mark; save the file as UTF-8 "
                        f"without one",
                    )
                if line.strip():
                    yield number, line
        except _CUT as error:
            raise line_error(
                path, number + 1, f"the gzip file is cut short or damaged ({error}); get it again"
            ) from None


def _parse(path: Path, number: int, line: bytes, loads: Callable[[str], Any]) -> dict[str, Any]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise line_error(
            path,
            number,
            f"byte {line[error.start]:#04x} is not UTF-8, in {shown(line[error.start - 20 :])}",
        ) from None
    try:
        found = loads(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
        raise line_error(
            path, number, f"no JSON object ({error}): {shown(text.rstrip())}; correct or drop it"
        ) from None
    if not isinstance(found, dict):
        raise line_error(path, number, f"no JSON object: {shown(text.rstrip())}; drop the line")
    return found


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large a number")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _literal(text: str) -> Any:
    return ast.literal_eval(text.strip())


def _line_of(path: Path, row: int) -> int:
    """The line of an object, found by reading up to it: only errors ask."""
    for place, (number, _) in enumerate(_lines(path)):
        if place == row:
            return number
    raise AssertionError(f"{path} has no row {row}")
