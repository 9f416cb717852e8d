"""Every malformed file is refused with its file, line, column and value, and leaves nothing."""

from pathlib import Path

import pytest

from experiments.data.prepare import prepare
from experiments.errors import PaddockError

from .samples import INTER, ITEM, USER, Write, dataset_of, folders

BIG_TIME = b"9" * 17


def _swap(content: bytes, old: bytes, new: bytes) -> bytes:
    assert content.count(old) == 1, old
    return content.replace(old, new)


CASES = {
    "missing column": (
        "inter",
        _swap(INTER, b"timestamp:float", b"time_stamp:float"),
        1,
        "timestamp",
        ["'time_stamp'", "dataset.columns.time"],
    ),
    "missing item column": (
        "item",
        _swap(ITEM, b"item_id:token", b"itemid:token"),
        1,
        "item_id",
        ["'itemid'", "dataset.columns.item"],
    ),
    "word for a number": ("inter", _swap(INTER, b"\t20\n", b"\tabc\n"), 4, "timestamp", ["'abc'"]),
    "no time": ("inter", _swap(INTER, b"\t20\n", b"\t\n"), 4, "timestamp", ["''"]),
    "nan time": ("inter", _swap(INTER, b"\t20\n", b"\tnan\n"), 4, "timestamp", ["'nan'"]),
    "infinite time": ("inter", _swap(INTER, b"\t20\n", b"\t-inf\n"), 4, "timestamp", ["'-inf'"]),
    "inexact time": (
        "inter",
        _swap(INTER, b"\t20\n", b"\t" + BIG_TIME + b"\n").replace(b"\t5\n", b"\t5.5\n"),
        4,
        "timestamp",
        [repr(BIG_TIME.decode()), "exact"],
    ),
    "nan rating": ("inter", _swap(INTER, b"\t4\t", b"\tNaN\t"), 4, "rating", ["'NaN'"]),
    "infinite rating": ("inter", _swap(INTER, b"\t4\t", b"\tinf\t"), 4, "rating", ["'inf'"]),
    "no rating": ("inter", _swap(INTER, b"\t4\t", b"\t\t"), 4, "rating", ["''"]),
    "word for a feature": ("item", _swap(ITEM, b"\t7\t", b"\tdear\t"), 4, "price", ["'dear'"]),
    "nan feature": ("user", _swap(USER, b"\t40", b"\tnan"), 4, "age", ["'nan'"]),
    "word in a sequence": (
        "item",
        _swap(ITEM, b"1 2 3", b"1 two 3"),
        3,
        "vector",
        ["'1 two 3'"],
    ),
    "time of tokens": (
        "inter",
        _swap(INTER, b"timestamp:float", b"timestamp:token"),
        1,
        "timestamp",
        ["'token'", "timestamp:float"],
    ),
    "ids of floats": (
        "inter",
        _swap(INTER, b"item_id:token", b"item_id:float"),
        1,
        "item_id",
        ["'float'", "item_id:token"],
    ),
    "duplicate header": (
        "inter",
        _swap(INTER, b"rating:float", b"user_id:token"),
        1,
        "user_id",
        ["twice"],
    ),
    "no type": ("item", _swap(ITEM, b"price:float", b"price"), 1, "price", ["'price:float'"]),
    "no name": ("item", _swap(ITEM, b"price:float", b":float"), 1, ":float", ["':float'"]),
    "unknown type": (
        "item",
        _swap(ITEM, b"price:float", b"price:double"),
        1,
        "price",
        ["'double'", "float_seq"],
    ),
    "empty file": ("inter", b"", 1, None, ["0 bytes", "timestamp:float"]),
    "empty item file": ("item", b"", 1, None, ["0 bytes"]),
    "header only": ("inter", INTER.split(b"\n")[0], 2, None, ["no interaction"]),
    "header and blank lines": ("inter", INTER.split(b"\n")[0] + b"\n\n\n", 2, None, []),
    "commas": ("inter", INTER.replace(b"\t", b","), 1, None, ["','", "tabs"]),
    "semicolons": ("item", ITEM.replace(b"\t", b";"), 1, None, ["';'", "tabs"]),
    "commas below the header": (
        "inter",
        _swap(INTER, b"ann\ty\t4\t20", b"ann,y,4,20"),
        4,
        "item_id",
        ["'ann,y,4,20'", "1 cells", "4"],
    ),
    "too few cells": (
        "inter",
        _swap(INTER, b"ann\ty\t4\t20", b"ann\ty\t4"),
        4,
        "timestamp",
        ["3 cells", "4"],
    ),
    "too many cells": (
        "inter",
        _swap(INTER, b"ann\ty\t4\t20", b"ann\ty\t4\t20\textra"),
        4,
        "timestamp",
        ["5 cells", "'extra'"],
    ),
    "one cell moved to the next line": (
        "inter",
        _swap(INTER, b"20\nbob\tx", b"20\tbob\nx"),
        4,
        "timestamp",
        ["5 cells", "'bob'"],
    ),
    "blank line": ("inter", _swap(INTER, b"ann\ty", b"\nann\ty"), 4, "user_id", ["blank"]),
    "NUL": ("inter", _swap(INTER, b"ann\ty", b"ann\ty\0"), 4, "item_id", ["NUL", r"'y\x00'"]),
    "NUL in the header": ("inter", b"\0" + INTER, 1, "1", ["NUL", "byte 0"]),
    "UTF-16": ("inter", INTER.decode().encode("utf-16"), 1, "1", ["UTF-8"]),
    "broken UTF-8": (
        "item",
        _swap(ITEM, b"Red", b"R\xe9d"),
        3,
        "title",
        ["0xe9", f"byte {ITEM.index(b'Red') + 1} "],
    ),
    "no user id": ("inter", _swap(INTER, b"ann\ty", b"\ty"), 4, "user_id", ["''", "empty id"]),
    "no item id": ("inter", _swap(INTER, b"ann\ty", b"ann\t"), 4, "item_id", ["''"]),
    "blank item id": ("inter", _swap(INTER, b"ann\ty", b"ann\t "), 4, "item_id", ["' '"]),
    "no id in the item file": ("item", _swap(ITEM, b"y\tRed", b"\tRed"), 3, "item_id", ["''"]),
    "unknown item": ("inter", _swap(INTER, b"ann\ty", b"ann\tw"), 4, "item_id", ["'w'", ".item"]),
    "unknown user": ("inter", _swap(INTER, b"ann\ty", b"eve\ty"), 4, "user_id", ["'eve'", ".user"]),
    "item file without rows": ("item", ITEM.split(b"\n")[0], 2, "item_id", ["'x'"]),
    "duplicate item": ("item", _swap(ITEM, b"z\t", b"x\t"), 4, "item_id", ["'x'", "line 2"]),
    "duplicate user": ("user", _swap(USER, b"ann\t", b"cid\t"), 4, "user_id", ["'cid'", "line 2"]),
}


@pytest.mark.parametrize("case", CASES)
def test_malformed_file_is_refused_where_it_is_wrong(
    case: str, write: Write, data_dir: Path
) -> None:
    kind, content, line, column, words = CASES[case]
    folder = write(**{kind: content})
    with pytest.raises(PaddockError) as caught:
        prepare(dataset_of(folder), data_dir=data_dir)
    message = str(caught.value)
    # An item that the item file lacks is told where it is used.
    told = "inter" if case == "item file without rows" else kind
    assert str(folder / f"small.{told}") in message
    assert f", line {line}" in message
    if column is not None:
        assert f"column {column!r}" in message
    for word in words:
        assert word in message
    assert "\n" not in message
    assert folders(data_dir) == []


@pytest.mark.parametrize("line", [2, 700_001, 1_200_001])
def test_the_line_is_right_far_into_a_large_file(line: int, tmp_path: Path, data_dir: Path) -> None:
    rows = [b"u\ti\t123456789012\n"] * 1_200_000
    for wrong, words in ((b"u\ti\n", "2 cells"), (b"u\t\xff\t1\n", "0xff"), (b"u\ti\tx\n", "'x'")):
        rows[line - 2] = wrong
        (tmp_path / "big.inter").write_bytes(
            b"user_id:token\titem_id:token\ttimestamp:float\n" + b"".join(rows)
        )
        dataset = dataset_of(tmp_path)
        dataset.columns.rating = None
        with pytest.raises(PaddockError, match=f"line {line}, .*{words}"):
            prepare(dataset, data_dir=data_dir)


@pytest.mark.parametrize(
    "inter",
    [
        b"\xef\xbb\xbf" + INTER,
        INTER.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + INTER.replace(b"\n", b"\r\n") + b"\r\n\r\n",
        INTER.rstrip(b"\n"),
    ],
    ids=["byte order mark", "CRLF", "both and blank lines at the end", "no line end at the end"],
)
def test_other_dialects_of_text_give_the_same_content(
    inter: bytes, write: Write, data_dir: Path
) -> None:
    plain = prepare(dataset_of(write(name="plain")), data_dir=data_dir)
    crlf_item = ITEM.replace(b"\n", b"\r\n")
    other = prepare(dataset_of(write(inter, crlf_item, name="other")), data_dir=data_dir)
    assert other.hash == plain.hash


def test_quotes_are_plain_characters(write: Write, data_dir: Path) -> None:
    item = ITEM.replace(b"Red", b'"Red').replace(b"Nobody", b"'Nobody")
    dataset = dataset_of(write(INTER.replace(b"bob", b'"bob'), item, None))
    dataset.text.title = "title"
    made = prepare(dataset, data_dir=data_dir)
    assert made.item_titles[made.item_id("y")] == '"Red'
    assert made.user_id('"bob') is not None


class TestFolders:
    def test_missing_folder_lists_its_parent(self, write: Write, data_dir: Path) -> None:
        folder = write()
        with pytest.raises(PaddockError, match=r"smal.*small") as caught:
            prepare(dataset_of(folder.parent / "smal"), data_dir=data_dir)
        assert "dataset.source" in str(caught.value)

    def test_missing_file_lists_the_folder(self, write: Write, data_dir: Path) -> None:
        folder = write(None)
        with pytest.raises(PaddockError, match=r"'small.inter'.*small.item, small.user"):
            prepare(dataset_of(folder), data_dir=data_dir)

    def test_a_file_for_a_folder(self, write: Write, data_dir: Path) -> None:
        with pytest.raises(PaddockError, match="is a file"):
            prepare(dataset_of(write() / "small.inter"), data_dir=data_dir)

    def test_unknown_carried_data_set_lists_those_there_are(self, data_dir: Path) -> None:
        with pytest.raises(PaddockError, match="ml-100k"):
            prepare(dataset_of("recbole:ml-99k"), data_dir=data_dir)

    def test_source_not_set(self, data_dir: Path) -> None:
        with pytest.raises(PaddockError, match=r"dataset.source is not set"):
            prepare(dataset_of("???"), data_dir=data_dir)


class TestSettings:
    def test_filters_that_leave_nothing_are_named(self, write: Write, data_dir: Path) -> None:
        dataset = dataset_of(write())
        dataset.filters.min_rating = 2
        dataset.filters.min_user_interactions = 3
        with pytest.raises(PaddockError) as caught:
            prepare(dataset, data_dir=data_dir)
        assert "dataset.filters.min_rating=2" in str(caught.value)
        assert "dataset.filters.min_user_interactions=3" in str(caught.value)
        assert folders(data_dir) == []

    def test_min_rating_needs_a_rating_column(self, write: Write, data_dir: Path) -> None:
        dataset = dataset_of(write())
        dataset.columns.rating = None
        dataset.filters.min_rating = 2
        with pytest.raises(PaddockError, match=r"dataset.columns.rating"):
            prepare(dataset, data_dir=data_dir)

    @pytest.mark.parametrize(
        ("template", "words"),
        [
            ("{titel}", "'title'"),
            ("{title", "braces"),
            ("{}", "''"),
            ("{price:.2f}", "{price}"),
            ("{title!r}", "{title}"),
            ("words", "no column"),
        ],
    )
    def test_bad_template(self, template: str, words: str, write: Write, data_dir: Path) -> None:
        dataset = dataset_of(write())
        dataset.text.template = template
        with pytest.raises(PaddockError, match=r"dataset.text.template") as caught:
            prepare(dataset, data_dir=data_dir)
        assert words in str(caught.value)

    def test_unknown_title_column_names_the_nearest(self, write: Write, data_dir: Path) -> None:
        dataset = dataset_of(write())
        dataset.text.title = "titles"
        with pytest.raises(PaddockError, match=r"dataset.text.title.*'titles'.*'title'"):
            prepare(dataset, data_dir=data_dir)

    def test_text_without_an_item_file(self, write: Write, data_dir: Path) -> None:
        dataset = dataset_of(write(item=None))
        dataset.text.title = "title"
        with pytest.raises(PaddockError, match=r"small.item"):
            prepare(dataset, data_dir=data_dir)

    @pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "a b"])
    def test_name_that_cannot_name_a_folder(self, name: str, write: Write, data_dir: Path) -> None:
        dataset = dataset_of(write())
        dataset.name = name
        with pytest.raises(PaddockError, match=r"dataset.name"):
            prepare(dataset, data_dir=data_dir)
