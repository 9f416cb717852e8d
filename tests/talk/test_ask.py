"""Questions to data: right answers, and no way past the tables."""

import json
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.language.client import Client
from experiments.serving.feedback import Feedback, FeedbackStore
from experiments.talk.ask.library import Library, read_samples
from experiments.talk.ask.statement import FUNCTIONS, LONGEST, checked_statement
from experiments.talk.ask.tables import ROWS, Tables, read_feedback
from experiments.talk.catalogue import Catalogue
from experiments.talk.state import State
from experiments.talk.understand import Understanding
from tests.llm_server import Server

KNOWN = {"interactions": ("user_id", "item_id", "rating"), "items": ("item_id", "title")}


@pytest.fixture(scope="module")
def library(tiny_data: Prepared) -> Library:
    catalogue = Catalogue.of(tiny_data)
    return Library(Tables.of(tiny_data, catalogue), Understanding(catalogue))


@pytest.fixture(scope="module")
def joined(tiny_data: Prepared) -> pl.DataFrame:
    """All columns beside each interaction, by polars."""
    items = tiny_data.item_features.with_columns(pl.Series("title", tiny_data.item_titles[1:]))
    users = tiny_data.user_features
    return (
        pl.DataFrame(
            {"user": tiny_data.users, "item": tiny_data.items, "rating": tiny_data.ratings}
        )
        .join(items.with_row_index("item", offset=1).cast({"item": pl.Int32}), on="item")
        .join(users.with_row_index("user", offset=1).cast({"user": pl.Int32}), on="user")
    )


def test_answers_are_those_of_polars(library: Library, joined: pl.DataFrame) -> None:
    title = "The Longing Heart"
    of_title = joined.filter(pl.col("title") == title)
    romances = joined.filter(pl.col("genres").list.contains("Romance"))
    counts = joined.group_by("title").len().sort("len", "title", descending=[True, False])
    years = joined.group_by("year").len().sort("year")

    def rows(question: str) -> list[tuple]:
        return library.answer(question).table.rows

    assert rows(f"How many users rated {title}?") == [
        (of_title.height, of_title["user_id"].n_unique())
    ]
    assert rows("average rating of romance movies")[0] == pytest.approx(
        (romances["rating"].mean(), romances.height)
    )
    assert rows("the 3 most popular items") == counts.rows()[:3]
    assert [row[1] for row in rows("number of ratings per year")] == years["len"].to_list()
    assert rows(f"average age of people who watched {title}")[0][0] == pytest.approx(
        of_title.unique("user_id")["age"].mean()
    )
    assert rows("tell me the number of people in total") == [(200,)]
    assert rows("how many movies are there from 1997") == [
        (joined.filter(pl.col("year") == 1997)["item_id"].n_unique(),)
    ]


def test_the_sql_is_shown_and_gives_the_same_again(library: Library) -> None:
    answered = library.answer("how many items are there")
    assert answered.by == "library"
    assert library.tables.answer(answered.table.sql).rows == answered.table.rows == [(120,)]


def test_an_unknown_question_names_known_ones(library: Library) -> None:
    with pytest.raises(PaddockError, match="no answer to that question; I know such as: "):
        library.answer("Who directed the most colourful poster?")


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    return FeedbackStore(f"sqlite:///{tmp_path / 'feedback.db'}")


@pytest.fixture
def answering(tiny_data: Prepared, library: Library, store: FeedbackStore) -> Library:
    tables = Tables.of(
        tiny_data, library.understanding.catalogue, feedback=read_feedback(store.url)
    )
    return Library(tables, library.understanding)


def told(number: int, item: str, kind: Any, run: str = "r1") -> Feedback:
    return Feedback(
        key=f"k{number}", item=item, kind=kind, time=number, user=f"u{number}", origin=run
    )


def test_feedback_is_a_table_that_grows(answering: Library, store: FeedbackStore) -> None:
    def rows(question: str) -> list[tuple]:
        return answering.answer(question).table.rows

    titles = dict(
        zip(
            answering.understanding.catalogue.tokens,
            answering.understanding.catalogue.titles,
            strict=True,
        )
    )
    assert rows("how much feedback is there?") == []
    store.add([told(1, "i1", "like"), told(2, "i1", "like"), told(3, "i2", "dislike", "r2")])
    assert rows("how much feedback is there?") == [("like", 2, 2), ("dislike", 1, 1)]
    store.add([told(4, "i2", "like", "r2"), told(5, "i3", "dismiss")])
    assert rows("Which recommendations were liked most?") == [(titles["i1"], 2), (titles["i2"], 1)]
    assert rows("the most disliked recommendations") == sorted(
        [(titles["i2"], 1), (titles["i3"], 1)]
    )
    assert rows(f"how much feedback is there on {titles['i2']}") == [("dislike", 1), ("like", 1)]
    assert rows("feedback per run") == [("r1", 3, pytest.approx(2 / 3)), ("r2", 2, 0.5)]
    assert rows("피드백은 몇 개야?")[0] == ("like", 3, 3)


@pytest.mark.parametrize(
    "question",
    ["how much feedback is there", "Which recommendations were liked most?", "feedback per run"],
)
def test_questions_on_feedback_are_understood_as_such(library: Library, question: str) -> None:
    assert library.understanding.understand(question, State()).intent == "ask"


def test_feedback_is_only_read(answering: Library, tmp_path: Path) -> None:
    for sql in ("DELETE FROM feedback", "INSERT INTO feedback VALUES (1)", "DROP TABLE feedback"):
        with pytest.raises(PaddockError, match="only one SELECT"):
            answering.tables.answer(sql)
    nowhere = tmp_path / "nowhere" / "feedback.db"
    assert read_feedback(f"sqlite:///{nowhere}")().rows() == []
    assert not nowhere.parent.exists()
    with pytest.raises(PaddockError, match="feedback store"):
        read_feedback("mysql://somewhere/x")()


def test_without_a_store_feedback_is_no_table(library: Library) -> None:
    with pytest.raises(PaddockError, match="only the tables interactions, items, users"):
        library.tables.answer("SELECT * FROM feedback")


def test_own_questions_may_ask_for_feedback(tmp_path: Path, answering: Library) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "- ask: [who is happy]\n  sql: SELECT user_id FROM feedback WHERE kind = 'like'\n"
    )
    mine = Library(answering.tables, answering.understanding, read_samples(file))
    assert mine.answer("who is happy").table.columns == ["user_id"]
    # The samples that are always there are beside them.
    assert mine.answer("how many items are there").table.rows == [(120,)]


def test_own_questions(tmp_path: Path, library: Library) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "- ask: [how many heavy users are there]\n"
        "  sql: SELECT count(*) AS heavy FROM (SELECT user_id FROM interactions GROUP BY user_id\n"
        "    HAVING count(*) >= {least}) AS many\n"
    )
    mine = Library(library.tables, library.understanding, read_samples(file))
    assert mine.answer("how many heavy users are there").table.columns == ["heavy"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("ask: [a]", "no list of questions"),
        ("- {ask: [a]}", "question 1 needs"),
        ("- {ask: [a], sql: 'SELECT {what} FROM items'}", r"gap \{what\}"),
        ("- {ask: [a", "cannot be read"),
    ],
)
def test_own_questions_that_are_none(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(PaddockError, match=said):
        read_samples(tmp_path / "bad.yaml")


def test_own_questions_may_not_do_more(tmp_path: Path, library: Library) -> None:
    (tmp_path / "bad.yaml").write_text("- {ask: [a], sql: DROP TABLE items}")
    with pytest.raises(PaddockError, match="only one SELECT"):
        Library(library.tables, library.understanding, read_samples(tmp_path / "bad.yaml"))


def test_a_language_models_sql_is_checked_and_replaced(
    library: Library, model: Client, server: Server
) -> None:
    question = "how many items are there"
    server.says({"sql": "SELECT 7 AS lucky;"})
    good = library.answer(question, client=model)
    assert (good.by, good.table.rows, good.note) == ("llm", [(7,)], "")
    asked = json.dumps(server.asked[0][2]["messages"])
    assert "interactions" in asked
    assert question in asked
    for sql, why in (
        ("DROP TABLE items", "only one SELECT"),
        ("SELECT * FROM read_csv('x')", "there are only the tables"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("no SQL at all", "cannot be read"),
        ("SELECT nothing", "cannot be answered"),
        ("ATTACH 'x.db'", "the SQL"),
        ("SELECT getenv('PADDOCK_LLM_KEY')", "may not"),
    ):
        server.says({"sql": sql})
        answered = library.answer(question, client=model)
        assert (answered.by, answered.table.rows) == ("library", [(120,)]), sql
        assert why in answered.note, answered.note
        # What is wrong was said once.
        assert len(server.asked) == 2
    assert library.tables.answer("SELECT count(*) FROM items").rows == [(120,)]


def test_a_language_model_mends_its_sql(library: Library, model: Client, server: Server) -> None:
    server.says({"sql": "SELECT count(*) FROM films"}, {"sql": "SELECT count(*) FROM items"})
    made = library.answer("how many films do you have?", client=model)
    assert (made.by, made.table.rows) == ("llm", [(120,)])
    assert "there are only the tables" in json.dumps(server.asked[1][2]["messages"])


def test_feedback_can_be_asked_for_by_a_language_model(
    answering: Library, store: FeedbackStore, model: Client, server: Server
) -> None:
    store.add([told(1, "i1", "like"), told(2, "i1", "like"), told(3, "i2", "dislike")])
    server.says(
        {"sql": "SELECT item_id, count(*) FROM feedback WHERE kind = 'like' GROUP BY item_id"}
    )
    assert answering.answer("what is liked most?", client=model).table.rows == [("i1", 2)]
    assert "feedback" in json.dumps(server.asked[0][2]["messages"])


def test_values_are_quoted(tmp_path: Path) -> None:
    """A title that is SQL is looked up and not run."""
    evil = "x'; DROP TABLE items; --"
    items = pl.DataFrame(
        {"item_id": [evil, "b"], "title": ["Robert'); DROP TABLE items", "Two Cats"]}
    )
    interactions = pl.DataFrame({"user_id": ["u", "v"], "item_id": [evil, evil]})
    users = pl.DataFrame({"user_id": ["u", "v"]})
    catalogue = Catalogue(
        items=items,
        titles=items["title"].to_list(),
        users=users,
        popularity=items["item_id"].is_in([evil]).to_numpy(),
    )
    tables = Tables({"interactions": interactions, "items": items, "users": users})
    library = Library(tables, Understanding(catalogue))
    assert library.answer("how many users rated Robert'); DROP TABLE items").table.rows == [(2, 2)]
    assert library.answer("how many items are there").table.rows == [(2,)]


REFUSED = [
    "DROP TABLE items",
    "DELETE FROM items",
    "UPDATE items SET title = 'x'",
    "INSERT INTO items VALUES ('a', 'b')",
    "CREATE TABLE t AS SELECT * FROM items",
    "COPY items TO 'out.csv'",
    "COPY (SELECT * FROM items) TO 'out.csv'",
    "ATTACH 'other.db'",
    "DETACH memory",
    "USE other",
    "PRAGMA database_list",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CALL duckdb_settings()",
    "EXPORT DATABASE 'x'",
    "IMPORT DATABASE 'x'",
    "CHECKPOINT",
    "BEGIN",
    "EXPLAIN SELECT 1",
    "DESCRIBE items",
    "SHOW TABLES",
    "SUMMARIZE items",
    "VALUES (1)",
    "PIVOT items ON title",
    "SELECT 1; DROP TABLE items",
    "SELECT 1; SELECT 2",
    "SELECT 1 /* */ ; -- x\n DROP TABLE items",
    "",
    "   -- nothing",
    "SELECT",
    "SELECT * FROM 'file.csv'",
    'SELECT * FROM "file.csv"',
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_json('x')",
    "SELECT * FROM read_parquet('x')",
    "SELECT * FROM parquet_scan('x')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('x')",
    "SELECT * FROM sqlite_scan('x', 'y')",
    "SELECT * FROM query('DROP TABLE items')",
    "SELECT * FROM query_table('items')",
    "SELECT * FROM range(1000000000)",
    "SELECT * FROM generate_series(1, 1000000000)",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM pragma_database_list",
    "SELECT * FROM memory.main.items",
    "SELECT * FROM main.items",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM secrets",
    "SELECT * FROM items, LATERAL (SELECT * FROM read_csv('x'))",
    "SELECT * FROM items WHERE title IN (SELECT content FROM read_text('/etc/passwd'))",
    "WITH items AS (SELECT 1) SELECT * FROM items",
    "WITH t AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM t",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "WITH t AS (DELETE FROM items RETURNING *) SELECT * FROM t",
    "SELECT getenv('HOME')",
    "SELECT current_setting('home_directory')",
    "SELECT read_text('x')",
    "SELECT version()",
    "SELECT pg_sleep(10)",
    "SELECT repeat('x', 1000000000)",
    "SELECT lpad('x', 1000000000, 'y')",
    "SELECT list(title) FROM items",
    "SELECT range(100000000)",
    "SELECT unnest(range(100000000))",
    "SELECT nextval('s')",
    "SELECT txid_current()",
    "SELECT write_log('x')",
    "SELECT set_config('a', 'b', false)",
    "SELECT title INTO other FROM items",
    "SELECT * FROM items FOR UPDATE",
    "SELECT * FROM items TABLESAMPLE 10%",
    "SELECT * REPLACE (getenv('HOME') AS title) FROM items",
    "SELECT COLUMNS('.*') FROM items",
    "SELECT list_transform([1], x -> getenv('HOME'))",
    "SELECT [x FOR x IN [1, 2]]",
    "SELECT {'a': 1}",
    "SELECT title::JSON FROM items",
    "SELECT '/etc/passwd'::BLOB",
    "SELECT $1",
    "SELECT ?",
    "SELECT " + "(" * 300 + "1" + ")" * 300,
    "SELECT " + "+".join(["1"] * 1500),
    "SELECT '" + "x" * LONGEST + "'",
]


@pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: sql[:60])
def test_refused(library: Library, sql: str) -> None:
    with pytest.raises(PaddockError):
        library.tables.answer(sql)
    with pytest.raises(PaddockError):
        checked_statement(sql, library.tables.columns)


ALLOWED = [
    "FROM users",
    "SELECT count(*) FROM items",
    "WITH t AS (SELECT item_id, avg(rating) AS r FROM interactions GROUP BY item_id) SELECT max(r) FROM t",
    "SELECT title, row_number() OVER (ORDER BY title) AS place FROM items ORDER BY place LIMIT 3",
    "SELECT CASE WHEN rating >= 4 THEN 'high' ELSE 'low' END AS level, count(*) FROM interactions GROUP BY level",
    "SELECT upper(title) || '!' FROM items WHERE title ILIKE '%heart%' UNION SELECT 'x'",
    "SELECT CAST(rating AS INTEGER) AS r FROM interactions WHERE rating BETWEEN 1 AND 2 LIMIT 1",
    "SELECT user_id FROM interactions EXCEPT SELECT user_id FROM users",
    "SELECT i.title FROM items AS i LEFT JOIN interactions AS x ON i.item_id = x.item_id WHERE x.rating IS NULL",
]


@pytest.mark.parametrize("sql", ALLOWED)
def test_allowed_and_equal_to_duckdbs_own_answer(
    library: Library, tiny_data: Prepared, sql: str
) -> None:
    """What runs is what was asked: the same statement, unchecked, in a DuckDB of the test's own."""
    frames = {
        name: library.tables._connection.sql(f"SELECT * FROM {name}").to_arrow_table()
        for name in library.tables.columns
    }
    other = duckdb.connect()
    for name, frame in frames.items():
        other.register(name, frame)
    assert sorted(map(str, library.tables.answer(sql).rows)) == sorted(
        map(str, other.execute(sql).fetchall()[:ROWS])
    )


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('pyproject.toml')",
        "SELECT * FROM 'pyproject.toml'",
        "COPY items TO 'stolen.csv'",
        "ATTACH 'other.db'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET memory_limit = '100GB'",
        "INSTALL httpfs",
        "SELECT * FROM planted",
    ],
)
def test_duckdb_itself_is_locked(library: Library, sql: str) -> None:
    """The second wall stands where the first would have a hole."""
    planted = pl.DataFrame({"secret": [1]})
    with pytest.raises(duckdb.Error):
        library.tables._connection.execute(sql)
    del planted


def test_no_function_of_the_list_reads_or_writes() -> None:
    """By DuckDB's own catalogue: every function that may be called is a scalar, an aggregate or a window one."""
    kinds = duckdb.sql(
        "SELECT DISTINCT lower(function_name), function_type FROM duckdb_functions()"
    )
    table_like = {
        name
        for name, kind in kinds.fetchall()
        if kind not in ("scalar", "aggregate", "macro", "window")
    }
    assert FUNCTIONS & table_like == set()


def test_a_question_that_takes_too_long_is_stopped(library: Library) -> None:
    endless = "SELECT sum(a.rating * b.rating * c.rating) FROM interactions AS a, interactions AS b, interactions AS c"
    with pytest.raises(PaddockError, match=r"took more than 0\.2 seconds"):
        library.tables.answer(endless, seconds=0.2)
    assert library.tables.answer("SELECT 1 AS one").rows == [(1,)]


def test_rows_and_cells_are_limited(library: Library) -> None:
    found = library.tables.answer("SELECT user_id FROM interactions", rows=7)
    assert (len(found.rows), found.cut) == (7, True)
    long = " || ".join(["title"] * 40)
    assert len(library.tables.answer(f"SELECT {long} AS t FROM items LIMIT 1").rows[0][0]) == 500
