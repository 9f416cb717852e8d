"""The table of texts on items: read by the csv and json modules beside, and no part of the data's hash."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.config.schema import DatasetConfig
from experiments.data.prepare import prepare
from experiments.data.prepared import REVIEWS, Prepared, open_prepared
from experiments.errors import PaddockError
from experiments.integrity import Damaged

from .test_prepare import composed

INTER = "user,item,time\nann,x,1\nann,y,2\nbob,x,3\nbob,y,4\n"
REVIEWED = (
    ["item", "text", "author"],
    ["x", "Good, and\nbroad.", "ann"],
    ["gone", "Of an item that nobody has.", "bob"],
    ["y", "", "eve"],
    ["y", '"Bad", 나빠요', ""],
)

Make = Callable[..., Prepared]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ratings.csv").write_text(INTER)
    with (tmp_path / "reviews.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(REVIEWED)
    return tmp_path


@pytest.fixture
def make(folder: Path) -> Make:
    def made(texts: str | None = None, **columns: str) -> Prepared:
        dataset = DatasetConfig(name="shop", source=str(folder), format="csv")
        dataset.files.inter, dataset.files.texts = "ratings.csv", texts
        dataset.columns.user, dataset.columns.item, dataset.columns.time = "user", "item", "time"
        for name, column in columns.items():
            setattr(dataset.texts, name, column)
        return prepare(dataset, data_dir=folder / "prepared")

    return made


def rows(made: Prepared) -> list[tuple[Any, ...]]:
    assert made.reviews is not None
    return made.reviews.rows()


def test_texts_are_kept_with_the_data_and_change_no_hash(make: Make) -> None:
    bare, made = make(), make("reviews.csv")
    assert bare.reviews is None
    assert "texts" not in bare.manifest
    assert REVIEWS not in bare.manifest["files"]
    assert made.hash == bare.hash
    assert rows(made) == [
        (1, made.item_id("x"), "Good, and broad.", "review", "ann"),
        (4, made.item_id("y"), '"Bad", 나빠요', "review", ""),
    ]
    facts = made.manifest["texts"]
    assert facts["columns"] == {"item": "item", "text": "text", "author": "author"}
    assert (facts["rows_read"], facts["rows_kept"], facts["items"]) == (4, 2, 2)
    assert make("reviews.csv").path == made.path != bare.path


def test_their_hash_is_their_content(make: Make, folder: Path) -> None:
    made = make("reviews.csv")
    table = [dict(zip(REVIEWED[0], row, strict=True)) for row in REVIEWED[1:]]
    (folder / "same.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in table))
    same = make("same.jsonl")
    assert (same.texts_hash, rows(same)) == (made.texts_hash, rows(made))
    (folder / "other.csv").write_text("item,text,author\nx,Good.,ann\n")
    assert make("other.csv").texts_hash != made.texts_hash


def test_damage_is_seen_and_mended(make: Make) -> None:
    made = make("reviews.csv")
    before = rows(made)
    content = (made.path / REVIEWS).read_bytes()
    (made.path / REVIEWS).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(Damaged, match=REVIEWS):
        open_prepared(made.path)
    assert rows(make("reviews.csv")) == before
    (made.path / REVIEWS).unlink()
    with pytest.raises(Damaged, match=REVIEWS):
        open_prepared(made.path)
    assert rows(make("reviews.csv")) == before


def test_columns_are_named(make: Make, folder: Path) -> None:
    (folder / "own.tsv").write_text("product\twords\tsort\nx\tFine.\tblurb\n")
    made = make("own.tsv", item="product", text="words", kind="sort")
    assert rows(made) == [(1, made.item_id("x"), "Fine.", "blurb", "")]
    # A path of anywhere is a file, too.
    assert (
        make(str(folder / "own.tsv"), item="product", text="words", kind="sort").path == made.path
    )


@pytest.mark.parametrize("literals", [False, True])
def test_amazons_reviews(tmp_path: Path, literals: bool) -> None:
    """The file of the interactions is that of the texts; the release of 2014 writes Python literals in some files."""
    reviews = [
        {
            "reviewerID": f"A{place % 3}",
            "asin": f"B{place}",
            "overall": 5.0,
            "unixReviewTime": 100 + place,
            "reviewText": f"It's text {place}." if place else "",
            "helpful": [0, 1],
        }
        for place in range(4)
    ]
    with gzip.open(tmp_path / "reviews_Beauty_5.json.gz", "wt", encoding="utf-8") as stream:
        stream.writelines(f"{str(row) if literals else json.dumps(row)}\n" for row in reviews)
    dataset = composed("amazon-2014")
    dataset.source, dataset.files.item = str(tmp_path), None
    dataset.text.title = dataset.text.template = None
    dataset.files.texts = "reviews_{category}_5.json.gz"
    made = prepare(dataset, data_dir=tmp_path / "prepared")
    assert rows(made) == [
        (place + 1, made.item_id(f"B{place}"), f"It's text {place}.", "review", f"A{place % 3}")
        for place in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("content", "columns", "said"),
    [
        ("item,body\nx,a\n", {}, r"no column of texts .* nearest is .*write dataset\.texts\.text="),
        (
            "item,text\nx,a\n",
            {"author": "who"},
            r"column 'who': no such column.*dataset\.texts\.author",
        ),
        ("item,text\nx,a,b\n", {}, "line 2"),
        ("", {}, "empty"),
    ],
)
def test_mistakes_are_told(
    make: Make, folder: Path, content: str, columns: dict[str, str], said: str
) -> None:
    (folder / "bad.csv").write_text(content)
    with pytest.raises(PaddockError, match=said):
        make("bad.csv", **columns)
    assert not [path for path in (folder / "prepared").iterdir() if path.is_dir()]


def test_a_file_or_columns_that_are_not_there(make: Make, folder: Path) -> None:
    with pytest.raises(PaddockError, match=r"files\.texts=none\.csv: there is no such file in"):
        make("none.csv")
    with pytest.raises(
        PaddockError, match=r"dataset\.texts\.text=words .* dataset\.files\.texts=FILE"
    ):
        make(None, text="words")
    (folder / "bad.jsonl").write_text('{"item": "x", "text": "a"}\n[2]\n')
    with pytest.raises(PaddockError, match="line 2: no JSON object"):
        make("bad.jsonl")
