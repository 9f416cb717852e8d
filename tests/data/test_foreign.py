"""Files that other programs write: read as they mean, or refused with the place and the reason."""

import datetime as dt
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.config.schema import DatasetConfig
from experiments.data.prepare import prepare
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError

N = 16
TIMES = range(N)
BEGUN = dt.datetime(2020, 1, 1)
MOMENTS = [BEGUN + dt.timedelta(seconds=k) for k in TIMES]
UNIX = 1577836800  # 2020-01-01 00:00:00 UTC
CSV = b"user_id,item_id,timestamp,rating\n" + b"".join(
    b"u%d,i%d,%d,3\n" % (k % 4, k // 4, k) for k in TIMES
)
JSON = b"".join(
    b'{"user_id":"u%d","item_id":"i%d","timestamp":%d,"rating":3}\n' % (k % 4, k // 4, k)
    for k in TIMES
)


def prepared(path: Path, data_dir: Path) -> Prepared:
    kind = "json" if "json" in path.name else "csv"
    dataset = DatasetConfig(source=str(path), format=kind)
    dataset.columns.rating = "rating"
    return prepare(dataset, data_dir=data_dir, progress=False)


def parquet(path: Path, **columns: Any) -> Path:
    usual = {
        "user_id": pa.array([f"u{k % 4}" for k in TIMES]),
        "item_id": pa.array([f"i{k // 4}" for k in TIMES]),
        "timestamp": pa.array(list(TIMES)),
        "rating": pa.array([3.0] * N),
    }
    pq.write_table(pa.table(usual | columns), path)
    return path


READ: dict[str, tuple[dict[str, Any], Any, Any]] = {
    # What is written; the first three times from the first one's, and users, as they must be read.
    "decimal times": (
        {"timestamp": pa.array([Decimal(k) for k in TIMES], pa.decimal128(10, 0))},
        0,
        None,
    ),
    "naive": ({"timestamp": pa.array(MOMENTS)}, UNIX, None),
    "nanoseconds": ({"timestamp": pa.array(MOMENTS, pa.timestamp("ns"))}, UNIX, None),
    "UTC": ({"timestamp": pa.array(MOMENTS, pa.timestamp("us", "UTC"))}, UNIX, None),
    "a city's zone": (
        {"timestamp": pa.array(MOMENTS, pa.timestamp("ms", "Asia/Tokyo"))},
        UNIX,
        None,
    ),
    "a zone in hours": ({"timestamp": pa.array(MOMENTS, pa.timestamp("ms", "+05:30"))}, UNIX, None),
    "a zone of no place": (
        {"timestamp": pa.array(MOMENTS, pa.timestamp("ms", "No/Land"))},
        UNIX,
        None,
    ),
    "such a zone in a column that nobody reads": (
        {"seen": pa.array(MOMENTS, pa.timestamp("ms", "+05:30"))},
        0,
        None,
    ),
    "dictionaries": (
        {"user_id": pa.array([f"u{k % 4}" for k in TIMES]).dictionary_encode()},
        0,
        None,
    ),
    "binary ids": ({"user_id": pa.array([b"u%d" % (k % 4) for k in TIMES])}, 0, None),
    "uint64 beyond int64": (
        {"user_id": pa.array([2**64 - 1 - k % 4 for k in TIMES], pa.uint64())},
        0,
        ["18446744073709551615", "18446744073709551614"],
    ),
    "float16": ({"rating": pa.array(np.full(N, 3, np.float16))}, 0, None),
    "string views": (
        {"user_id": pa.array([f"u{k % 4}" for k in TIMES], pa.string_view())},
        0,
        None,
    ),
}

NESTED = {
    "list": pa.array([["u"]] * N),
    "struct": pa.array([{"a": "u"}] * N),
    "map": pa.array([[("a", 1)]] * N, pa.map_(pa.string(), pa.int64())),
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    **{
        f"{kind} in {column}": ({column: cells}, rf"column '{column}': its type .* is not read")
        for kind, cells in NESTED.items()
        for column in ("user_id", "timestamp", "rating")
    },
    "durations": (
        {"timestamp": pa.array([dt.timedelta(k) for k in TIMES])},
        r"column 'timestamp': its type Duration.* is not read",
    ),
    "times of day": ({"timestamp": pa.array([dt.time(k) for k in TIMES])}, r"'00:00:00' is not a"),
    "nothing": ({"user_id": pa.nulls(N)}, r"column 'user_id': '' is an empty id"),
    "no number for an id": (
        {"user_id": pa.array([1.0, float("nan")] * (N // 2))},
        r"line 2, column 'user_id': '' is an empty id",
    ),
    "bytes that are no text": (
        {"user_id": pa.array([b"\xff\xfe"] * N)},
        r"column 'user_id': its type Binary is not read \(.*utf",
    ),
    "256 bits": (
        {"timestamp": pa.array([Decimal(k) for k in TIMES], pa.decimal256(50, 0))},
        r"holds a type that is unknown here: .*(precision|Int256)",
    ),
    "a NUL byte": ({"user_id": pa.array(["u\0"] * N)}, r"column 'user_id': 'u\\x00' .* a NUL byte"),
}


def test_types_of_parquet_that_are_read(tmp_path: Path) -> None:
    for number, (name, (columns, begun, users)) in enumerate(READ.items()):
        made = prepared(parquet(tmp_path / f"{number}.parquet", **columns), tmp_path / f"d{number}")
        assert made.timestamps is not None
        assert sorted(made.timestamps)[:3] == [begun, begun + 1, begun + 2], name
        assert list(made.user_tokens[1:3]) == (users or ["u0", "u1"]), name


def test_types_of_parquet_that_are_not(tmp_path: Path) -> None:
    for number, (columns, said) in enumerate(REFUSED.values()):
        path = parquet(tmp_path / f"{number}.parquet", **columns)
        with pytest.raises(PaddockError, match=said) as caught:
            prepared(path, tmp_path / "data")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_damaged_parquet(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "whole.parquet").read_bytes()
    flipped = whole[:40] + bytes(byte ^ 255 for byte in whole[40:120]) + whole[120:]
    footer = whole[:-60] + bytes(byte ^ 255 for byte in whole[-60:-50]) + whole[-50:]
    for content in (whole[:-5], whole[: len(whole) // 2], whole[:4], b"", flipped, footer):
        path = tmp_path / "damaged.parquet"
        path.write_bytes(content)
        with pytest.raises(PaddockError, match=r"is (no|a damaged) Parquet file.*get it again"):
            prepared(path, tmp_path / "data")
    names = ["user_id", "user_id", "item_id"]
    pq.write_table(pa.Table.from_arrays([pa.array(["u"])] * 3, names=names), path)
    with pytest.raises(PaddockError, match="column 'user_id': two columns have this name"):
        prepared(path, tmp_path / "data")


TEXTS: dict[str, tuple[bytes, str]] = {
    "cr.csv": (CSV.replace(b"\n", b"\r"), "line 1: its lines end in carriage returns"),
    "nul.csv": (
        CSV.replace(b"u2,i2", b"u2\0,i2"),
        r"line 12, column 'user_id': 'u2\\x00' is an id",
    ),
    "nul.json": (
        JSON.replace(b'"u2"', b'"u2\\u0000"'),
        r"line 3, column 'user_id': 'u2\\x00' is an",
    ),
    "half.json": (
        JSON.replace(b'"u2"', b'"u2\\ud800"'),
        r"line 3, column 'user_id': .*half a char",
    ),
    "mark.json": (b"\xef\xbb\xbf" + JSON, "line 1: byte 0xef begins a byte order mark; save"),
    "mark16.json": (JSON.decode().encode("utf-16"), "line 1: byte 0xff begins a byte order mark"),
    "large.json": (
        JSON.replace(b'"timestamp":2,', b'"timestamp":1e999,'),
        "line 3: no JSON object .1e999 is too large",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_are_refused(name: str, tmp_path: Path) -> None:
    content, said = TEXTS[name]
    for path, written in (
        (tmp_path / name, content),
        (tmp_path / f"{name}.gz", gzip.compress(content)),
    ):
        path.write_bytes(written)
        with pytest.raises(PaddockError, match=said) as caught:
            prepared(path, tmp_path / "data")
        assert str(path) in str(caught.value)


def test_a_gzip_file_names_the_line_at_which_it_ends(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(1 << 30, size=(40_000, 3))
    text = b"user_id,item_id,timestamp,rating\n" + b"".join(
        b"%d,%d,%d,3\n" % (*row,) for row in rows
    )
    packed = gzip.compress(text)
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(
        PaddockError, match=r"line \d+: the gzip file is cut short.*get it"
    ) as caught:
        prepared(path, tmp_path / "data")
    line = int(str(caught.value).split("line ")[1].split(":")[0])
    # Half of the bytes are about half of the lines.
    assert 15_000 < line < 25_000
    for content in (packed[:5], packed + b"junk", CSV, packed[:300] + b"\0\0\0\0" + packed[304:]):
        path.write_bytes(content)
        with pytest.raises(PaddockError, match=r"line \d+: the gzip file is cut short or damaged"):
            prepared(path, tmp_path / "data")
