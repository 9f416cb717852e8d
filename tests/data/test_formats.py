"""Every format read as an independent reader reads it: the csv, json and ast modules, and pandas."""

import ast
import csv
import gzip
import html
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.config.schema import DatasetConfig
from experiments.data.prepare import prepare
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError

from .test_prepare import composed

Rows = list[tuple[str, str, float, float]]


def named(name: str, source: Path, **changes: Any) -> DatasetConfig:
    dataset = composed(name)
    dataset.source = str(source)
    dataset.filters.min_user_interactions = dataset.filters.min_item_interactions = 0
    for key, value in changes.items():
        setattr(dataset, key, value)
    return dataset


def interactions(made: Prepared) -> Rows:
    """User, item, time and rating of each row, in the product's order."""
    times = made.timestamps if made.timestamps is not None else [0] * made.n_interactions
    ratings = made.ratings if made.ratings is not None else [0] * made.n_interactions
    return [
        (made.user_tokens[user], made.item_tokens[item], float(time), float(rating))
        for user, item, time, rating in zip(made.users, made.items, times, ratings, strict=True)
    ]


def expected(rows: Rows) -> Rows:
    """Grouped by user in the order of their first rows, by time inside, ties in file order."""
    frame = pd.DataFrame(rows, columns=["user", "item", "time", "rating"])
    frame["group"] = pd.factorize(frame["user"])[0]
    frame = frame.sort_values(["group", "time"], kind="stable")
    return [
        (user, item, float(time), float(rating))
        for user, item, time, rating in frame[["user", "item", "time", "rating"]].itertuples(
            index=False
        )
    ]


def titles(made: Prepared) -> dict[str, str]:
    return dict(zip(made.item_tokens[1:], made.item_titles[1:], strict=True))


RATINGS_DAT = "1::10::5::978300760\n2::20::3::978302109\n1::20::4::978301968\n2::10::1::978300275\n1::30::4::978301968\n"
MOVIES_DAT = (
    "10::Léon: The Professional (1994)::Crime|Sci-Fi\n"
    "20::City of Lost Children, The (Cité des enfants perdus, La) (1995)::Drama\n"
    "40::Seen by Nobody (2000)::Drama\n"
)
USERS_DAT = "1::F::1::10::48067\n2::M::56::16::70072\n"


@pytest.fixture
def ml1m(tmp_path: Path) -> Path:
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    for name, content in (
        ("ratings.dat", RATINGS_DAT),
        ("movies.dat", MOVIES_DAT),
        ("users.dat", USERS_DAT),
    ):
        (folder / name).write_bytes(content.encode("latin-1"))
    return folder


class TestMovieLens1M:
    def test_rows(self, ml1m: Path, data_dir: Path) -> None:
        made = prepare(named("ml-1m", ml1m), data_dir=data_dir)
        cells = [line.split("::") for line in RATINGS_DAT.splitlines()]
        assert interactions(made) == expected(
            [(user, item, float(time), float(rating)) for user, item, rating, time in cells]
        )
        assert made.name == "ml-1m"
        assert made.timestamps.dtype == "int64"

    def test_films_and_users(self, ml1m: Path, data_dir: Path) -> None:
        made = prepare(named("ml-1m", ml1m), data_dir=data_dir)
        assert titles(made) == {
            "10": "Léon: The Professional",
            "20": "City of Lost Children, The (Cité des enfants perdus, La)",
            "30": "",
        }
        assert made.item_texts[made.item_id("10")] == (
            "Léon: The Professional (1994): Crime, Sci-Fi"
        )
        assert made.item_texts[made.item_id("30")] == ""
        features = made.item_features.row(made.item_id("10") - 1, named=True)
        assert (features["year"], features["genres"]) == ("1994", ["Crime", "Sci-Fi"])
        assert made.user_features.row(0) == ("1", "F", "1", "10", "48067")
        assert made.manifest["counts"]["items_without_metadata"] == 1

    def test_separator_across_blocks(
        self, ml1m: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = [(str(i % 7), str(i * 13 % 11), float(i), float(i % 5)) for i in range(3000)]
        text = "".join(f"{u}::{i}::{r:g}::{t:g}\n" for u, i, t, r in rows)
        (ml1m / "ratings.dat").write_text(text)
        monkeypatch.setattr("experiments.data.readers.delimited._BLOCK", 1001)
        made = prepare(named("ml-1m", ml1m), data_dir=data_dir)
        assert interactions(made) == expected(rows)

    @pytest.mark.parametrize("kind", ["zip", "tar.gz", "folder in a folder", "gzipped"])
    def test_packed(self, kind: str, ml1m: Path, data_dir: Path, tmp_path: Path) -> None:
        plain = prepare(named("ml-1m", ml1m), data_dir=data_dir)
        if kind in ("zip", "tar.gz"):
            form = {"zip": "zip", "tar.gz": "gztar"}[kind]
            source = Path(shutil.make_archive(str(tmp_path / "packed"), form, tmp_path, "ml-1m"))
        elif kind == "gzipped":
            source = tmp_path / "gzipped"
            source.mkdir()
            for path in ml1m.iterdir():
                (source / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        else:
            source = tmp_path / "outer"
            shutil.copytree(ml1m, source / "data" / "ml-1m")
        assert prepare(named("ml-1m", source), data_dir=data_dir).hash == plain.hash


MOVIES_CSV = """movieId,title,genres
1,Toy Story (1995),Adventure|Animation
2,"American President, The (1995)",Comedy|Drama
3,"He said ""Hello"", twice (2001)",(no genres listed)
4,Amélie — 千と千尋 🎬,Fantasy
5,Babylon 5,
"""


class TestMovieLensCsv:
    @pytest.mark.parametrize("name", ["ml-20m", "ml-32m"])
    def test_against_the_csv_module(self, name: str, tmp_path: Path, data_dir: Path) -> None:
        ratings = "userId,movieId,rating,timestamp\n" + "".join(
            f"{user},{item},{rating},{time}\n"
            for user, item, rating, time in [
                (7, 1, 3.5, 1112486027),
                (7, 2, 0.5, 1112484676),
                (3, 3, 5.0, 1112484819),
                (3, 4, 4.0, 1112484727),
                (3, 5, 4.5, 1112484727),
            ]
        )
        (tmp_path / "ratings.csv").write_text(ratings)
        (tmp_path / "movies.csv").write_text(MOVIES_CSV, encoding="utf-8")
        made = prepare(named(name, tmp_path), data_dir=data_dir)
        read = list(csv.DictReader(io.StringIO(ratings)))
        assert interactions(made) == expected(
            [
                (row["userId"], row["movieId"], float(row["timestamp"]), float(row["rating"]))
                for row in read
            ]
        )
        told = titles(made)
        for row in csv.DictReader(io.StringIO(MOVIES_CSV)):
            year = made.item_features.row(made.item_id(row["movieId"]) - 1, named=True)["year"]
            whole = told[row["movieId"]] + (f" ({year})" if year else "")
            assert whole == row["title"]
        assert made.item_texts[made.item_id("3")] == 'He said "Hello", twice (2001)'
        assert made.item_texts[made.item_id("5")] == "Babylon 5"


def _gz(path: Path, lines: list[str]) -> Path:
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path


EARLY = [
    {
        "reviewerID": "A1",
        "asin": "0001",
        "overall": 5.0,
        "unixReviewTime": 1370304000,
        "reviewText": "x\ny",
        "helpful": [0, 0],
    },
    {
        "reviewerID": "A2",
        "asin": "0002",
        "overall": 3.0,
        "unixReviewTime": 1370390400,
        "reviewText": "“quotes”",
    },
    {
        "reviewerID": "A1",
        "asin": "0003",
        "overall": 1,
        "unixReviewTime": 1370000000,
        "reviewText": "",
    },
    {
        "reviewerID": "A1",
        "asin": "0002",
        "overall": 4.0,
        "unixReviewTime": 1370304000,
        "reviewText": '\\"',
    },
]
META_2014 = [
    {
        "asin": "0001",
        "title": 'Cream &amp; "Soap"',
        "price": 9.99,
        "brand": "L'Or\u00e9al",
        "categories": [["Beauty", "Hair Care"], ["Gifts"]],
        "description": "Two\nlines",
    },
    {"asin": "0002", "categories": [["Beauty"]], "imUrl": "http://x"},
    {"asin": "0002", "title": "Told twice", "categories": [["Beauty"]]},
    {"asin": "9999", "title": "Reviewed by nobody", "categories": [["Beauty"]]},
]
META_2018 = [
    {
        "asin": "0001",
        "title": "Cream",
        "price": "$1,009.99",
        "brand": "",
        "category": ["Beauty", 'Hair "Care"'],
        "description": ["One", "Two"],
    },
    {
        "asin": "0002",
        "title": "Red [New]",
        "price": ".a-box-inner{color:red}",
        "brand": "B",
        "category": [],
        "description": [],
    },
]


def _early(rows: list[dict[str, Any]]) -> Rows:
    return [
        (row["reviewerID"], row["asin"], float(row["unixReviewTime"]), float(row["overall"]))
        for row in rows
    ]


class TestAmazon:
    def test_plain_texts_that_look_like_lists(self, tmp_path: Path, data_dir: Path) -> None:
        _gz(tmp_path / "reviews_Beauty_5.json.gz", [json.dumps(row) for row in EARLY])
        meta = [
            {"asin": "0001", "title": "a", "description": '["odd" and "odder"]', "category": ["x"]},
            {"asin": "0002", "title": "b", "description": "[new] one", "category": [["y", "z"]]},
            {"asin": "0003", "title": "c", "description": ["p", "", "q"], "category": None},
        ]
        _gz(tmp_path / "meta_Beauty.json.gz", [json.dumps(row) for row in meta])
        made = prepare(named("amazon-2014", tmp_path), data_dir=data_dir)
        rows = made.item_features.rows_by_key("item_id", named=True, unique=True)
        assert rows["0001"]["description"] == '["odd" and "odder"]'
        assert rows["0002"]["description"] == "[new] one"
        assert rows["0001"]["categories"] == ["x"]
        assert rows["0002"]["categories"] == ["y", "z"]
        assert rows["0003"]["categories"] == []
        assert rows["0003"]["description"] == "p q"

    def test_2014_with_metadata_of_literals(self, tmp_path: Path, data_dir: Path) -> None:
        _gz(tmp_path / "reviews_Beauty_5.json.gz", [json.dumps(row) for row in EARLY])
        lines = [repr(row) for row in META_2014]
        _gz(tmp_path / "meta_Beauty.json.gz", lines)
        made = prepare(named("amazon-2014", tmp_path), data_dir=data_dir)
        assert made.name == "amazon-2014-Beauty"
        assert interactions(made) == expected(_early(EARLY))
        first = {}
        for row in map(ast.literal_eval, lines):
            first.setdefault(row["asin"], row)
        assert titles(made) == {
            item: html.unescape(first[item].get("title", "")) if item in first else ""
            for item in ("0001", "0002", "0003")
        }
        row = made.item_features.row(made.item_id("0001") - 1, named=True)
        assert row["categories"] == ["Beauty", "Hair Care", "Gifts"]
        assert (row["price"], row["brand"], row["description"]) == (9.99, "L'Oréal", "Two lines")
        assert made.item_texts[made.item_id("0001")] == (
            'Cream & "Soap" by L\'Oréal: Beauty, Hair Care, Gifts'
        )
        assert made.manifest["counts"]["items_without_metadata"] == 1

    def test_2018_of_another_category(self, tmp_path: Path, data_dir: Path) -> None:
        _gz(tmp_path / "Video_Games_5.json.gz", [json.dumps(row) for row in EARLY])
        _gz(tmp_path / "meta_Video_Games.json.gz", [json.dumps(row) for row in META_2018])
        made = prepare(named("amazon-2018", tmp_path, category="Video_Games"), data_dir=data_dir)
        assert made.name == "amazon-2018-Video_Games"
        assert interactions(made) == expected(_early(EARLY))
        rows = made.item_features.rows_by_key("item_id", named=True, unique=True)
        assert rows["0001"]["categories"] == ["Beauty", 'Hair "Care"']
        assert (rows["0001"]["price"], rows["0002"]["price"]) == (1009.99, None)
        assert (rows["0001"]["description"], rows["0002"]["description"]) == ("One Two", None)
        assert titles(made) == {"0001": "Cream", "0002": "Red [New]", "0003": ""}

    def test_2023(self, tmp_path: Path, data_dir: Path) -> None:
        rows = [
            {
                "user_id": "AE",
                "asin": "B0",
                "parent_asin": "P0",
                "rating": 5.0,
                "timestamp": 1588687728923,
                "title": "t",
                "images": [],
                "verified_purchase": True,
            },
            {
                "user_id": "AF",
                "asin": "B1",
                "parent_asin": "P1",
                "rating": 4.0,
                "timestamp": 1588615855070,
            },
            {
                "user_id": "AE",
                "asin": "B2",
                "parent_asin": "P1",
                "rating": 1.0,
                "timestamp": 1588687728922,
            },
        ]
        _gz(tmp_path / "All_Beauty.jsonl.gz", [json.dumps(row) for row in rows])
        meta = {
            "parent_asin": "P1",
            "title": 'Howard, "LC0008" é',
            "store": "Howard",
            "price": None,
            "categories": [],
            "features": ["x"],
        }
        _gz(tmp_path / "meta_All_Beauty.jsonl.gz", [json.dumps(meta)])
        made = prepare(named("amazon-2023", tmp_path), data_dir=data_dir)
        frame = pd.DataFrame(rows)
        assert interactions(made) == expected(
            list(frame[["user_id", "parent_asin", "timestamp", "rating"]].itertuples(index=False))
        )
        assert made.timestamps.dtype == "int64"
        assert made.item_texts[made.item_id("P1")] == 'Howard, "LC0008" é by Howard'

    def test_without_metadata(self, tmp_path: Path, data_dir: Path) -> None:
        _gz(tmp_path / "reviews_Beauty_5.json.gz", [json.dumps(row) for row in EARLY])
        dataset = named("amazon-2014", tmp_path)
        with pytest.raises(PaddockError, match=r"meta_Beauty.json.gz.*dataset.text.title=null"):
            prepare(dataset, data_dir=data_dir)
        dataset.text.title = dataset.text.template = None
        assert prepare(dataset, data_dir=data_dir).n_interactions == 4

    def test_a_file_for_a_source_finds_its_neighbour(self, tmp_path: Path, data_dir: Path) -> None:
        reviews = _gz(tmp_path / "reviews_Beauty_5.json.gz", [json.dumps(row) for row in EARLY])
        (tmp_path / "meta_Beauty.json").write_text("\n".join(map(repr, META_2014)))
        made = prepare(named("amazon-2014", reviews), data_dir=data_dir)
        assert titles(made)["0001"] == 'Cream & "Soap"'

    @pytest.mark.parametrize("category", ["../x", "a b", None])
    def test_bad_category(self, category: str | None, tmp_path: Path, data_dir: Path) -> None:
        with pytest.raises(PaddockError, match=r"dataset.category"):
            prepare(named("amazon-2014", tmp_path, category=category), data_dir=data_dir)


class TestSteam:
    def test_literals_with_unicode_strings(self, tmp_path: Path, data_dir: Path) -> None:
        lines = [
            "{u'username': u'Chaos Syren', u'hours': 0.1, u'product_id': u'725280', u'date': u'2017-12-17', u'early_access': False}",
            "{u'username': u\"O'Neil\", u'product_id': u'10', u'date': u'2017-12-16', u'text': u'\\xe9\\n'}",
            "{u'username': u'\\ud83d\\ude00 caf\\xe9', u'product_id': u'10', u'date': u'2011-01-02'}",
            "{u'username': u'Chaos Syren', u'product_id': u'10', u'date': u'2016-12-17'}",
        ]
        _gz(tmp_path / "steam_reviews.json.gz", lines)
        _gz(
            tmp_path / "steam_games.json.gz",
            [
                "{u'publisher': u'Kotoshiro', u'genres': [u'Action', u'Indie'], u'app_name': u'Lost \\u2122', u'developer': u'Koto', u'id': u'725280', u'tags': [u'a']}",
                "{u'app_name': u'No id'}",
            ],
        )
        made = prepare(named("steam", tmp_path), data_dir=data_dir)
        assert interactions(made) == expected(
            [
                ("Chaos Syren", "725280", pd.Timestamp("2017-12-17").timestamp(), 0),
                ("O'Neil", "10", pd.Timestamp("2017-12-16").timestamp(), 0),
                ("😀 café", "10", pd.Timestamp("2011-01-02").timestamp(), 0),
                ("Chaos Syren", "10", pd.Timestamp("2016-12-17").timestamp(), 0),
            ]
        )
        assert titles(made) == {"725280": "Lost ™", "10": ""}
        assert made.item_texts[made.item_id("725280")] == "Lost ™ by Koto: Action, Indie"


def _csv_dataset(source: Path, item: str | None = None) -> DatasetConfig:
    dataset = named("csv", source)
    dataset.columns.user, dataset.columns.item = "who", "what"
    dataset.columns.time, dataset.columns.rating = "when", "stars"
    if item:
        dataset.files.item, dataset.text.title = item, "title"
    return dataset


CELL = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\x85"),
    min_size=1,
    max_size=6,
).filter(lambda text: text.strip() != "" and not text.startswith("\ufeff"))
ROW = st.tuples(CELL, CELL, st.integers(-(10**12), 10**15), st.integers(0, 10).map(lambda x: x / 2))


class TestCsv:
    @given(rows=st.lists(ROW, min_size=1, max_size=20), separator=st.sampled_from(",;\t|"))
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def test_any_text_round_trips(
        self, rows: Rows, separator: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("csv")
        with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, delimiter=separator)
            writer.writerow(["stars", "who", "extra, one", "what", "when"])
            writer.writerows((stars, who, "x", what, when) for who, what, when, stars in rows)
        made = prepare(_csv_dataset(folder / "rows.csv"), data_dir=folder / "prepared")
        assert interactions(made) == expected(rows)

    @pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "parquet", "zip", "folder"])
    def test_containers_give_the_same_content(
        self, kind: str, tmp_path: Path, data_dir: Path
    ) -> None:
        frame = pd.DataFrame(
            {
                "who": [3, 4, 3],
                "what": ["é,1", 'x"y', "z"],
                "when": [1600000000123, 1600000000122, 1600000000121],
                "stars": [1.5, 2.0, 3.0],
            }
        )
        folder = tmp_path / "rows"
        folder.mkdir()
        path = folder / f"rows.{kind}"
        if kind == "parquet":
            frame.to_parquet(path)
        elif kind in ("zip", "folder"):
            frame.to_csv(folder / "rows.csv", index=False)
            path = folder
            if kind == "zip":
                path = Path(shutil.make_archive(str(tmp_path / "z"), "zip", tmp_path, "rows"))
        else:
            frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
        made = prepare(_csv_dataset(path), data_dir=data_dir)
        rows = [(str(row.who), row.what, row.when, row.stars) for row in frame.itertuples()]
        assert interactions(made) == expected(rows)
        assert made.timestamps.dtype == "int64"

    @pytest.mark.parametrize(
        ("cells", "seconds"),
        [
            (["2020-01-02", "1969-12-31"], [1577923200, -86400]),
            (["2020-01-02 03:04:05", "2020-01-02T03:04:06Z"], [1577934245, 1577934246]),
            (["2020-01-02T03:04:05.5", "2020-01-02"], [1577934245.5, 1577923200]),
        ],
    )
    def test_dates(
        self, cells: list[str], seconds: list[float], tmp_path: Path, data_dir: Path
    ) -> None:
        rows = [f"u{i},a,{cell},1" for i, cell in enumerate(cells)]
        (tmp_path / "r.csv").write_text("\n".join(["who,what,when,stars", *rows]))
        made = prepare(_csv_dataset(tmp_path / "r.csv"), data_dir=data_dir)
        assert made.timestamps.tolist() == seconds

    def test_dates_of_parquet(self, tmp_path: Path, data_dir: Path) -> None:
        moments = pd.to_datetime(["2020-01-02 03:04:05", "2019-01-01 00:00:00"])
        frame = pd.DataFrame({"who": "a", "what": ["x", "y"], "when": moments, "stars": 1})
        frame.to_parquet(tmp_path / "r.parquet")
        made = prepare(_csv_dataset(tmp_path / "r.parquet"), data_dir=data_dir)
        assert made.timestamps.tolist() == [1546300800, 1577934245]

    def test_item_file(self, tmp_path: Path, data_dir: Path) -> None:
        (tmp_path / "rows.csv").write_text("who,what,when,stars\na,1,5,2\na,2,6,2\nb,3,7,2\n")
        (tmp_path / "items.csv").write_text(
            'what;title;year\n1;"One;\nTwo";1999\n2;Zwölf;\n2;Again;2000\n', encoding="utf-8"
        )
        dataset = _csv_dataset(tmp_path / "rows.csv", "items.csv")
        dataset.text.template = "{title} ({year})"
        made = prepare(dataset, data_dir=data_dir)
        assert titles(made) == {"1": "One; Two", "2": "Zwölf", "3": ""}
        assert made.item_texts == ["", "One; Two (1999)", "Zwölf", ""]

    def test_without_header_in_latin_1(self, tmp_path: Path, data_dir: Path) -> None:
        (tmp_path / "u.data").write_bytes(
            "é\tx\t3\t881250949\né\ty\t3\t881250948\n".encode("latin-1")
        )
        dataset = _csv_dataset(tmp_path / "u.data")
        dataset.csv.header = ["who", "what", "stars", "when"]
        dataset.csv.encoding = "latin-1"
        made = prepare(dataset, data_dir=data_dir)
        assert interactions(made) == [("é", "y", 881250948, 3), ("é", "x", 881250949, 3)]

    def test_double_colons_below_a_header(self, tmp_path: Path, data_dir: Path) -> None:
        (tmp_path / "r.csv").write_text("who::what::when::stars\na:::x::1::2\nb::y::0::3\n")
        made = prepare(_csv_dataset(tmp_path / "r.csv"), data_dir=data_dir)
        assert interactions(made) == [("a", ":x", 1, 2), ("b", "y", 0, 3)]

    @pytest.mark.parametrize("source", ["utf-8-sig", "crlf"])
    def test_other_dialects(self, source: str, tmp_path: Path, data_dir: Path) -> None:
        text = 'who,what,when,stars\na,"x, y",1,2\n'
        content = (
            text.encode("utf-8-sig")
            if source == "utf-8-sig"
            else text.replace("\n", "\r\n").encode()
        )
        (tmp_path / "r.csv").write_bytes(content)
        made = prepare(_csv_dataset(tmp_path / "r.csv"), data_dir=data_dir)
        assert interactions(made) == [("a", "x, y", 1, 2)]


class TestJson:
    @given(rows=st.lists(ROW, min_size=1, max_size=20), literal=st.booleans())
    @settings(max_examples=40, deadline=None)
    def test_any_text_round_trips(
        self, rows: Rows, literal: bool, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.mktemp("json")
        write: Callable[[Any], str] = repr if literal else json.dumps
        objects = [
            {"what": what, "more": [1, {"who": "?"}], "who": who, "stars": stars, "when": when}
            for who, what, when, stars in rows
        ]
        (folder / "rows.json").write_text(
            "\n\n".join(write(one) for one in objects), encoding="utf-8"
        )
        dataset = _csv_dataset(folder / "rows.json")
        dataset.format = "json"
        made = prepare(dataset, data_dir=folder / "prepared")
        assert interactions(made) == expected(rows)

    def test_item_file_with_lists(self, tmp_path: Path, data_dir: Path) -> None:
        (tmp_path / "rows.jsonl").write_text('{"who":"a","what":7,"when":1,"stars":2.5}\n')
        (tmp_path / "items.jsonl").write_text(
            '{"what":7,"title":"A \\"b\\"","tags":["x y","z"],"n":{"k":[1]}}\n'
        )
        dataset = _csv_dataset(tmp_path / "rows.jsonl", "items.jsonl")
        dataset.format = "json"
        dataset.text.template = "{title}: {tags}"
        made = prepare(dataset, data_dir=data_dir)
        assert made.item_texts[1] == 'A "b": x y, z'
        assert made.item_features.row(0, named=True)["tags"] == ["x y", "z"]


def _zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as packed:
        for path in folder.iterdir():
            packed.write(path, path.name)
    return archive


def test_atomic_archives(write: Callable[..., Path], tmp_path: Path, data_dir: Path) -> None:
    folder = write()
    dataset = DatasetConfig(name="small", source=str(folder))
    plain = prepare(dataset, data_dir=data_dir)
    dataset.source = str(_zipped(folder, tmp_path / "small.zip"))
    assert prepare(dataset, data_dir=data_dir).path == plain.path
    with tarfile.open(tmp_path / "small.tar.gz", "w:gz") as packed:
        packed.add(folder, "small")
    dataset.source = str(tmp_path / "small.tar.gz")
    assert prepare(dataset, data_dir=data_dir).path == plain.path


def test_an_unknown_format_names_the_nearest(tmp_path: Path, data_dir: Path) -> None:
    with pytest.raises(PaddockError, match=r"dataset.format: 'movilens'.*'movielens'.*steam"):
        prepare(DatasetConfig(source=str(tmp_path), format="movilens"), data_dir=data_dir)
