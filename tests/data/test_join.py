"""Items joined with a table of another source: which rows match, what they bring, what they leave alone."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from experiments.commands.inspect import inspect
from experiments.config.compose import compose, typed
from experiments.config.schema import Config
from experiments.data.prepare import prepare
from experiments.data.prepared import Prepared
from experiments.data.titles import titles
from experiments.errors import PaddockError
from experiments.evaluation.catalogue import item_features
from experiments.protocol.shared_data import SharedData, shared_data
from experiments.protocol.split import split_interactions

FILMS = [
    # title, year, director, cast, votes
    ("Il Postino: The Postman", 1994, "Michael Radford", "Massimo Troisi, Philippe Noiret", None),
    ("Alien", 1979, "Ridley Scott", "Sigourney Weaver, Ian Holm, John Hurt", 10),
    ("Léon", 1995, "Luc Besson", "", None),
    ("Noise", 2006, "the nearest", None, 1),
    ("Noise", 2007, "another year", None, 99),
    ("Rage", 2009, "few votes", None, 5),
    ("Rage", 2009, "most votes", None, 50),
    ("Twins", 1990, "the first", None, None),
    ("Twins", 1990, "the second", None, None),
    ("Saga: One", 1980, "a part", None, None),
    ("Hunt: One", 1981, "another part", None, None),
    ("Saga: Two", 1980, "part two", None, None),
]
ITEMS = [
    # title, year, the director who must be found
    ("Postino, Il", "1995", "Michael Radford"),
    ("ALIEN (Alien, el octavo pasajero)", "1979", "Ridley Scott"),
    ("Professional, The (a.k.a. Leon)", "1994", "Luc Besson"),
    ("Noise", "2006", "the nearest"),
    ("Rage", "2008", "most votes"),
    ("Twins", "1991", "the first"),
    ("Two", "1980", "part two"),
    ("One", "1980", None),  # a part of two rows
    ("Alien", "1981", None),  # two years off
    ("Aliens", "1979", None),
    ("Alien", "unknown", None),
]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "films.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            'CREATE TABLE "all films" (Title TEXT, Year INTEGER, Director TEXT, "Cast" TEXT, Votes INTEGER)'
        )
        database.executemany('INSERT INTO "all films" VALUES (?, ?, ?, ?, ?)', FILMS)
        database.commit()
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven users in a ring over the items, five interactions each."""
    folder = tmp_path_factory.mktemp("ring") / "ring"
    folder.mkdir()
    inter = ["user_id:token\titem_id:token\ttimestamp:float"]
    inter += [f"u{u}\ti{(u + k) % len(ITEMS)}\t{11 * k + u}" for u in range(11) for k in range(5)]
    (folder / "ring.inter").write_text("\n".join(inter) + "\n")
    item = ["item_id:token\ttitle:token_seq\tyear:token\tgenres:token_seq"]
    item += [f"i{n}\t{title}\t{year}\tg{n % 3} all" for n, (title, year, _) in enumerate(ITEMS)]
    (folder / "ring.item").write_text("\n".join(item) + "\n")
    return folder


@pytest.fixture(scope="module")
def config(
    source: Path, films: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Config]:
    data_dir = tmp_path_factory.mktemp("prepared")

    def composed(*more: str, joined: bool = True) -> Config:
        join = [
            f"dataset.join.source={films}",
            "dataset.join.table='all films'",
            "dataset.join.title=Title",
            "dataset.join.year=Year",
            "dataset.join.prefer=Votes",
            "dataset.join.item_title=title",
            "dataset.join.item_year=year",
            "dataset.join.columns={director:Director,cast:Cast}",
            "dataset.join.lists={cast:2}",
            "dataset.join.template='{title} ({year}): {genres}; {director}; {cast}'",
        ]
        return typed(
            compose(
                [
                    "dataset=atomic",
                    f"dataset.source={source}",
                    "dataset.text.title=title",
                    "dataset.text.template='{title} ({year}): {genres}'",
                    "protocol.rankings.c20.candidates=5",
                    "protocol.rankings.c20.cutoffs=[1,5]",
                    f"data_dir={data_dir}",
                    *(join if joined else []),
                    *more,
                ]
            )
        )

    return composed


@pytest.fixture(scope="module")
def joined(config: Callable[..., Config]) -> SharedData:
    return shared_data(config())


@pytest.fixture(scope="module")
def alone(config: Callable[..., Config]) -> SharedData:
    return shared_data(config(joined=False))


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Postman, The (Postino, Il)", ["the postman", "il postino"]),
        ("Amélie", ["amelie"]),
        ("Wallace & Gromit: The Wrong Trousers", ["wallace and gromit the wrong trousers"]),
        ("Schindler's List", ["schindlers list"]),
        ("Seven (a.k.a. Se7en) (aka: The Seven)", ["seven", "se7en", "the seven"]),
        ("Star Maker, The (Uomo delle stelle, L')", ["the star maker", "l uomo delle stelle"]),
        ("Me, Myself", ["me myself"]),
        ("???", []),
    ],
)
def test_names_of_a_title(title: str, names: list[str]) -> None:
    assert titles(title) == names


def by_token(data: Prepared, values: list[object]) -> dict[str, object]:
    return dict(zip(data.item_tokens[1:], values, strict=True))


def test_rows_match_by_the_rules(joined: SharedData) -> None:
    data = joined.data
    found = by_token(data, data.item_features["director"].to_list())
    assert found == {f"i{n}": director for n, (_, _, director) in enumerate(ITEMS)}
    cast = by_token(data, data.item_features["cast"].to_list())
    assert cast["i1"] == ["Sigourney Weaver", "Ian Holm"]  # the first two
    assert cast["i2"] is None or cast["i2"] == []


def test_the_text_tells_what_was_found(joined: SharedData, alone: SharedData) -> None:
    texts = by_token(joined.data, joined.data.item_texts[1:])
    assert texts["i1"] == (
        "ALIEN (Alien, el octavo pasajero) (1979): g1 all; Ridley Scott; Sigourney Weaver, Ian Holm"
    )
    # What was not found is told as without the join.
    assert texts["i8"] == by_token(alone.data, alone.data.item_texts[1:])["i8"]
    assert joined.data.item_titles == alone.data.item_titles


def test_the_coverage_is_counted(joined: SharedData, alone: SharedData) -> None:
    assert joined.data.manifest["counts"]["items_joined"] == 7
    assert joined.data.manifest["counts"]["interactions_joined"] == 35
    assert inspect(joined.data)["joined"] == {"items": 7 / 11, "rows": 35 / 55}
    assert inspect(alone.data)["joined"] is None


def test_split_and_candidates_are_those_without_the_join(
    joined: SharedData, alone: SharedData
) -> None:
    names = {"split", "candidates_c20_valid", "candidates_c20_test"}
    assert names < joined.hashes.keys()
    assert {name: joined.hashes[name] for name in names} == {
        name: alone.hashes[name] for name in names
    }
    assert joined.hashes["dataset"] != alone.hashes["dataset"]
    assert (item_features(joined.data) != item_features(alone.data)).nnz == 0


@pytest.mark.parametrize("protocol", ["random", "loo-cold-items", "temporal"])
def test_so_are_those_that_are_drawn(
    protocol: str, config: Callable[..., Config], joined: SharedData, alone: SharedData
) -> None:
    drawn = typed(compose([f"protocol={protocol}"])).protocol
    drawn.scored_users = 3
    assert (
        split_interactions(joined.data.before_join, drawn).hash
        == split_interactions(alone.data, drawn).hash
    )


def test_another_table_is_another_data_set(
    config: Callable[..., Config], joined: SharedData
) -> None:
    fewer = shared_data(config("dataset.join.lists={cast:1}"))
    assert fewer.data.hash != joined.data.hash
    assert fewer.hashes["split"] == joined.hashes["split"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("dataset.join.source=package:no_such_package/films.db", "run make films"),
        ("dataset.join.source=nowhere.db", "nowhere.db: there is no such file"),
        ("dataset.join.table=film", "has no table 'film'; the nearest is 'all films'"),
        ("dataset.join.title=title of it", "has no column 'title of it'"),
        (
            "dataset.join.columns={director:Director,cast:cost}",
            "no column 'cost'; the nearest is 'Cast'",
        ),
        ("dataset.join.columns={genres:Director,cast:Cast}", "holds genres, which is a column"),
        ("dataset.join.lists={casts:2}", "holds casts, which dataset.join.columns does not"),
        ("dataset.join.lists={cast:0}", "dataset.join.lists.cast=0 must be at least 1"),
        ("dataset.join.item_year=when", "dataset.join.item_year"),
        ("dataset.join.item_title=name", "dataset.join.item_title"),
        ("dataset.join.year=null", "dataset.join.year is null"),
        ("dataset.join.template='{titel}'", "'titel'"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    override: str, said: str, config: Callable[..., Config]
) -> None:
    made = config(override, "dataset.join.brought_by=make films")
    with pytest.raises(PaddockError) as refused:
        prepare(made.dataset, data_dir=made.data_dir)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_database_is_refused(
    config: Callable[..., Config], tmp_path: Path
) -> None:
    (tmp_path / "films.db").write_text("Title,Year\n" * 100)
    made = config(f"dataset.join.source={tmp_path / 'films.db'}")
    with pytest.raises(PaddockError, match="cannot be read as an SQLite file"):
        prepare(made.dataset, data_dir=made.data_dir)


@pytest.mark.skipif(
    find_spec("bokeh_sampledata") is None, reason="bokeh-sampledata is not installed: make films"
)
def test_wikidata_knows_most_films_of_movielens(tmp_path: Path) -> None:
    films, alone = (
        prepare(typed(compose([f"dataset={name}"])).dataset, data_dir=tmp_path)
        for name in ("ml-100k-films", "ml-100k")
    )
    shares = inspect(films)["joined"]
    assert 0.80 < shares["items"] < 0.90
    assert 0.92 < shares["rows"] < 0.98
    assert films.before_join.hash == alone.hash
    directors = dict(
        zip(films.item_titles[1:], films.item_features["director"].to_list(), strict=True)
    )
    assert directors["Star Wars"] == ["George Lucas"]
    assert directors["Fargo"] == ["Ethan Coen", "Joel Coen"]
    assert directors["Postino, Il"] == ["Michael Radford"]
