"""Malformed CSV and JSON files are refused with file, line, column and value, and leave nothing."""

import gzip
from pathlib import Path

import pytest

from experiments.config.schema import DatasetConfig
from experiments.data.prepare import prepare
from experiments.errors import PaddockError

from .samples import folders

CSV = b'user_id,item_id,timestamp,rating\nann,x,1,5\nbob,"y, z",2,4\ncid,z,3,3\n'
JSON = b"""{"user_id":"ann","item_id":"x","timestamp":1,"rating":5}
{"user_id":"bob","item_id":"y","timestamp":2,"rating":4}
{"user_id":"cid","item_id":"z","timestamp":3,"rating":3}
"""


def _swap(content: bytes, old: bytes, new: bytes) -> bytes:
    assert content.count(old) == 1, old
    return content.replace(old, new)


CASES = {
    "too few cells": (_swap(CSV, b",2,4", b",2"), 3, "rating", ["3 cells", "4"]),
    "too many cells": (_swap(CSV, b",2,4", b",2,4,9"), 3, "rating", ["5 cells"]),
    "a comma without quotes": (_swap(CSV, b'"y, z"', b"y, z"), 3, "rating", ["5 cells", "quotes"]),
    "below a cell of two lines": (
        _swap(_swap(CSV, b"y, z", b"y\nz"), b",3,3", b",3"),
        5,
        "rating",
        ["3 cells"],
    ),
    "below a blank line": (_swap(_swap(CSV, b"\nbob", b"\n\nbob"), b",3,3", b",3"), 5, None, []),
    "missing column": (
        _swap(CSV, b"timestamp", b"time"),
        1,
        "timestamp",
        ["'time'", "columns.time"],
    ),
    "duplicate header": (_swap(CSV, b"rating", b"item_id"), 1, "item_id", ["twice"]),
    "word for a number": (_swap(CSV, b",2,4", b",2,four"), 3, "rating", ["'four'"]),
    "word for a time": (_swap(CSV, b",2,4", b",now,4"), 3, "timestamp", ["'now'"]),
    "a date among numbers": (_swap(CSV, b",2,4", b",2020-01-01,4"), 3, "timestamp", ["2020"]),
    "a number among dates": (
        _swap(_swap(CSV, b"x,1,", b"x,2020-01-01,"), b",2,4", b",2020-01-02,4"),
        4,
        "timestamp",
        ["'3'", "no date"],
    ),
    "nan": (_swap(CSV, b",2,4", b",2,nan"), 3, "rating", ["'nan'"]),
    "no id": (_swap(CSV, b"bob", b""), 3, "user_id", ["''"]),
    "id of two lines": (_swap(CSV, b"bob", b'"b\nb"'), 4, "user_id", []),
    "broken UTF-8": (_swap(CSV, b"bob", b"b\xffb"), 3, "user_id", ["0xff", "UTF-8"]),
    "UTF-16": (CSV.decode().encode("utf-16"), 1, None, ["UTF-8"]),
    "empty": (b"", 1, None, ["0 bytes"]),
    "header only": (CSV.split(b"\n")[0] + b"\n", 2, None, ["no interaction"]),
    "json: cut": (_swap(JSON, b'"rating":4}', b'"rating":'), 2, None, ["no JSON object"]),
    "json: no object": (_swap(JSON, b'{"user_id":"bob"', b'[{"user_id":"bob"'), 2, None, []),
    "json: a list": (JSON + b"[1]\n", 4, None, ["'[1]'"]),
    "json: two in a line": (_swap(JSON, b'}\n{"user_id":"cid', b'}{"user_id":"cid'), 2, None, []),
    "json: NaN": (_swap(JSON, b'"rating":4', b'"rating":NaN'), 2, None, ["NaN"]),
    "json: word for a number": (_swap(JSON, b'"rating":4', b'"rating":"x"'), 2, "rating", ["'x'"]),
    "json: below a blank line": (
        _swap(JSON, b"4}\n", b"4}\n\n").replace(b'"rating":3', b'"rating":null'),
        4,
        "rating",
        ["''"],
    ),
    "json: no field in one": (_swap(JSON, b'"user_id":"bob",', b""), 2, "user_id", ["empty id"]),
    "json: no field": (
        JSON.replace(b"user_id", b"user"),
        1,
        "user_id",
        ["'user'", "dataset.columns.user"],
    ),
    "json: broken UTF-8": (_swap(JSON, b"bob", b"b\xffb"), 2, None, ["0xff"]),
    "json: empty": (b"\n", 1, None, ["empty"]),
    "json: not JSON": (b"user_id,item_id\n", 1, None, ["no JSON object"]),
    "json: code in a literal": (b"{'user_id': __import__('os').getcwd()}\n", 1, None, []),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("case", CASES)
def test_refused_where_it_is_wrong(case: str, packed: bool, tmp_path: Path, data_dir: Path) -> None:
    content, line, column, words = CASES[case]
    kind = "json" if case.startswith("json") else "csv"
    path = tmp_path / (f"rows.{kind}.gz" if packed else f"rows.{kind}")
    path.write_bytes(gzip.compress(content) if packed else content)
    dataset = DatasetConfig(source=str(path), format=kind)
    dataset.columns.rating = "rating"
    with pytest.raises(PaddockError) as caught:
        prepare(dataset, data_dir=data_dir)
    message = str(caught.value)
    assert f"{path}, line {line}" in message
    if column is not None:
        assert f"column {column!r}" in message
    for word in words:
        assert word in message
    assert "\n" not in message
    assert folders(data_dir) == []


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_gzip_file_that_was_cut(kind: str, tmp_path: Path, data_dir: Path) -> None:
    path = tmp_path / f"rows.{kind}.gz"
    path.write_bytes(gzip.compress((CSV if kind == "csv" else JSON) * 500)[:-20])
    with pytest.raises(PaddockError, match=r"rows\.\w+\.gz.*(cut|damaged|end-of-stream)"):
        prepare(DatasetConfig(source=str(path), format=kind), data_dir=data_dir)
    assert folders(data_dir) == []


@pytest.mark.parametrize("line", [2, 700_001, 1_200_001])
def test_the_line_is_right_far_into_a_large_csv(line: int, tmp_path: Path, data_dir: Path) -> None:
    for wrong, words in (
        (b"u,i\n", "2 cells"),
        (b"u,\xff,123456789012,1\n", "0xff"),
        (b"u,i,x,1\n", "'x'"),
    ):
        rows = [b"u,i,123456789012,3\n"] * 1_200_000
        rows[line - 2] = wrong
        (tmp_path / "big.csv").write_bytes(b"user_id,item_id,timestamp,rating\n" + b"".join(rows))
        with pytest.raises(PaddockError, match=f"line {line}, .*{words}"):
            prepare(
                DatasetConfig(source=str(tmp_path / "big.csv"), format="csv"), data_dir=data_dir
            )


def test_a_column_that_a_release_does_not_have(tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,3,4\n")
    dataset = DatasetConfig(source=str(tmp_path / "ratings.csv"), format="movielens")
    dataset.columns.user = "userId"
    with pytest.raises(PaddockError, match=r"'userId'.*'user_id'.*dataset.columns.user"):
        prepare(dataset, data_dir=data_dir)


def test_a_number_is_told_by_the_name_that_the_file_has(tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,3,4\n1,3,3,x\n")
    dataset = DatasetConfig(source=str(tmp_path), format="movielens")
    dataset.files.inter = "ratings.csv"
    with pytest.raises(PaddockError, match=r"line 3, column 'timestamp': 'x'"):
        prepare(dataset, data_dir=data_dir)


class TestPlaces:
    def test_folder_of_several_files(self, tmp_path: Path, data_dir: Path) -> None:
        for name in ("a.csv", "b.csv"):
            (tmp_path / name).write_bytes(CSV)
        with pytest.raises(PaddockError, match=r"a.csv, b.csv; dataset.files.inter"):
            prepare(DatasetConfig(source=str(tmp_path), format="csv"), data_dir=data_dir)

    def test_missing_file(self, tmp_path: Path, data_dir: Path) -> None:
        (tmp_path / "a.csv").write_bytes(CSV)
        with pytest.raises(PaddockError, match=r"not a folder or file.*it holds a.csv"):
            prepare(DatasetConfig(source=str(tmp_path / "c.csv"), format="csv"), data_dir=data_dir)

    @pytest.mark.parametrize("encoding", ["latin-11", "utf-16"])
    def test_wrong_encoding(self, encoding: str, tmp_path: Path, data_dir: Path) -> None:
        (tmp_path / "a.csv").write_bytes(CSV)
        dataset = DatasetConfig(source=str(tmp_path), format="csv")
        dataset.csv.encoding = encoding
        with pytest.raises(PaddockError, match=rf"a.csv, line 1.*{encoding}|columns"):
            prepare(dataset, data_dir=data_dir)

    def test_no_parquet(self, tmp_path: Path, data_dir: Path) -> None:
        (tmp_path / "a.parquet").write_bytes(CSV)
        dataset = DatasetConfig(source=str(tmp_path / "a.parquet"), format="csv")
        with pytest.raises(PaddockError, match=r"a.parquet is no Parquet file"):
            prepare(dataset, data_dir=data_dir)

    def test_separator_of_three_characters(self, tmp_path: Path, data_dir: Path) -> None:
        (tmp_path / "a.csv").write_bytes(CSV)
        dataset = DatasetConfig(source=str(tmp_path), format="csv")
        dataset.csv.separator = ":::"
        with pytest.raises(PaddockError, match=r"dataset.csv.separator"):
            prepare(dataset, data_dir=data_dir)
