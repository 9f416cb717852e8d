"""Feedback is stored once, and what was answered for survives a kill."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import PaddockError
from experiments.serving.feedback import MOST, Feedback, FeedbackStore, feedback_hash
from tests.tuning.postgres import Postgres


def answer(number: int, **changed: Any) -> Feedback:
    values = {"key": f"k{number}", "user": "7", "item": f"i{number}", "kind": "click"}
    return Feedback(**{**values, "time": 1000.0 + number, **changed})


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/feedback.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    yield server.url
    import psycopg

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS paddock_feedback")


def test_what_is_sent_again_is_stored_once(url: str) -> None:
    store = FeedbackStore(url)
    sent = [answer(2), answer(1, kind="rating", value=4), answer(3, user=None, session="s")]
    assert store.add(sent) == 3
    assert store.add([*sent, answer(4), answer(4)]) == 1
    # A retry may say the time of the retry.
    assert store.add([answer(4, time=5000.0)]) == 0
    again = FeedbackStore(url)
    assert again.read() == [sent[1], sent[0], sent[2], answer(4)]
    assert again.read(since=1003.0) == [sent[2], answer(4)]
    assert [each.who for each in again.read(since=1003.0)] == ["session:s", "7"]


def test_a_key_of_another_answer_stores_nothing_of_its_batch(url: str) -> None:
    store = FeedbackStore(url)
    store.add([answer(1)])
    with pytest.raises(PaddockError, match=r"key=k1 stands .*item='i1', not 'x'"):
        store.add([answer(5), answer(1, item="x")])
    assert store.read() == [answer(1)]


def test_threads_that_send_the_same_store_it_once(url: str) -> None:
    store = FeedbackStore(url)
    counted: list[int] = []

    def send() -> None:
        counted.extend(store.add([answer(n) for n in order]) for order in ((1, 2, 3), (3, 2, 1)))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counted) == 3
    assert len(counted) == 12
    assert store.read() == [answer(1), answer(2), answer(3)]


SENDER = """
import sys
from experiments.serving.feedback import Feedback, FeedbackStore
store = FeedbackStore(sys.argv[1])
for number in range(100_000):
    key = f"{sys.argv[2]}-{number}"
    batch = [
        Feedback(key=f"{key}-{part}", user="7", item="i", kind="click", time=number)
        for part in range(3)
    ]
    store.add(batch)
    print(key, flush=True)
"""


def test_what_was_answered_for_survives_kills(url: str) -> None:
    """Two processes send batches and are killed in the midst of them; both made the table."""
    senders = [
        subprocess.Popen(
            [sys.executable, "-c", SENDER, url, name], stdout=subprocess.PIPE, text=True
        )
        for name in ("a", "b")
    ]
    said: list[str] = []
    for sender in senders:
        assert sender.stdout is not None
        said += [sender.stdout.readline().strip() for _ in range(20)]
    for sender in senders:
        sender.send_signal(signal.SIGKILL)
        rest, _ = sender.communicate()
        said += rest.split()
        assert sender.returncode == -signal.SIGKILL
    stored = {each.key for each in FeedbackStore(url).read()}
    assert len(said) >= 40
    assert {f"{key}-{part}" for key in said for part in range(3)} <= stored
    # Of a batch that was cut short there is all or nothing.
    assert {f"{key.rpartition('-')[0]}-{part}" for key in stored for part in range(3)} == stored


def test_the_hash_is_of_the_answers_not_of_their_order() -> None:
    one, other = answer(1, kind="rating", value=4), answer(2)
    assert feedback_hash([one, other]) == feedback_hash(
        [other, answer(1, kind="rating", value=4.0)]
    )
    assert feedback_hash([one, other]) != feedback_hash([one])
    assert feedback_hash([one]) != feedback_hash([answer(1, kind="rating", value=5)])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"key": ""}, "key='' is no text"),
        ({"item": None}, "item=None is no text"),
        ({"item": 5}, "item=5 is no text"),
        ({"user": None}, "neither user nor session"),
        ({"user": "u" * 300}, "user has 300 characters: at most 256"),
        ({"item": "a\0b"}, "no database stores"),
        ({"session": "\ud800"}, "no database stores"),
        ({"kind": "love"}, "kind='love' is unknown: click, rating"),
        ({"kind": ["click"]}, r"kind=\['click'\] is unknown"),
        ({"kind": "rating"}, "value=None is no finite number"),
        ({"kind": "rating", "value": float("nan")}, "value=nan is no finite number"),
        ({"kind": "rating", "value": True}, "value=True is no finite number"),
        ({"value": 3.0}, "belongs to kind=rating, not to kind=click"),
        ({"time": float("inf")}, "time=inf is no finite number"),
        ({"time": -1.0}, "time=-1.0 lies outside"),
        ({"time": 1.7e12}, "time=1700000000000.0 lies outside"),
        ({"time": "now"}, "time='now' is no finite number"),
        ({"time": 10**400}, "lies outside"),
    ],
)
def test_an_impossible_value_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(PaddockError, match=said):
        answer(1, **changed)


def test_too_many_at_once_are_refused(tmp_path: Path) -> None:
    store = FeedbackStore(f"sqlite:///{tmp_path}/f.db")
    with pytest.raises(PaddockError, match=f"at most {MOST}"):
        store.add([answer(1)] * (MOST + 1))
    assert store.add([answer(number) for number in range(MOST)]) == MOST


def _of_another_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE experiments (experiment_id)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_of_another_program, "database of another program, with the tables experiments"),
        (lambda path: path.write_bytes(b"no database, " * 100), "file is not a database"),
        (lambda path: path.mkdir(), "unable to open database file"),
    ],
)
def test_a_file_that_is_none_of_its_own_is_left_alone(
    make: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "other.db"
    make(file)
    with pytest.raises(PaddockError, match=said):
        FeedbackStore(f"sqlite:///{file}")


@pytest.mark.parametrize("address", ["", "feedback.db", "mysql://h/f", "sqlite:///:memory:"])
def test_an_address_of_no_database_is_refused(address: str) -> None:
    with pytest.raises(PaddockError, match="the feedback store"):
        FeedbackStore(address)


def test_no_message_holds_the_password(postgres: Postgres) -> None:
    for address in (
        f"postgresql://nobody:S3cret-word@127.0.0.1:{postgres.port}/none",
        "postgresql://nobody:S3cret-word@127.0.0.1:1/none",
    ):
        with pytest.raises(PaddockError) as found:
            FeedbackStore(address)
        assert "S3cret" not in json.dumps(str(found.value))
        assert "postgresql://nobody@127.0.0.1" in str(found.value)
