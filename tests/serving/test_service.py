"""The service as a process of its own, asked over HTTP."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fastapi.testclient import TestClient

from experiments.serving import service
from experiments.serving.feedback import FeedbackStore
from experiments.serving.requests import Answer, Origin, Request
from experiments.serving.service import side_of
from tests import fork_server
from tests.commands.command_line import ROOT, CommandLine
from tests.tracking.mlflow_server import free_port

TINY = ("dataset=tiny", "device=cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    paddock = CommandLine(tmp_path_factory.mktemp("service"))
    paddock.trained(*TINY, "model=sasrec", "model.epochs=2", "model.hidden_size=16")
    paddock.trained(*TINY, "model=ease")
    return paddock


def start(paddock: CommandLine, *words: str, **variables: str) -> tuple[Any, int]:
    port = free_port()
    words = ("mode=serve", *TINY, f"serve.port={port}", "serve.text_encoder=null", *words)
    process = fork_server.start(
        [sys.executable, "run.py", *paddock.arguments(*words)],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=(paddock.folder / f"out-{port}").open("wb"),
        stderr=(paddock.folder / f"err-{port}").open("wb"),
    )
    return process, port


def ready(process: Any, port: int, paddock: CommandLine) -> httpx.Client:
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
    for _ in range(600):
        assert process.poll() is None, (paddock.folder / f"err-{port}").read_text()
        try:
            client.get("/healthz")
            return client
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the service does not answer")


@pytest.fixture(scope="module")
def feedback(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback") / "feedback.db"


@pytest.fixture(scope="module")
def client(trained: CommandLine, feedback: Path) -> Iterator[httpx.Client]:
    runs = {run.run["model_key"]: run.path for run in trained.runs}
    process, port = start(
        trained,
        *(f"+serve.runs.{name}={path}" for name, path in runs.items()),
        f"serve.feedback=sqlite:///{feedback}",
    )
    client = ready(process, port, trained)
    yield client
    client.close()
    process.send_signal(signal.SIGINT)
    assert process.wait() in (0, 130)


def test_it_says_what_it_serves(client: httpx.Client, trained: CommandLine) -> None:
    health = client.get("/healthz").json()
    assert health["status"] == "ok"
    assert set(health["sides"]) == {"sasrec", "ease"}
    paths = {str(run.path) for run in trained.runs}
    assert {each["folder"] for each in health["sides"].values()} == paths
    assert client.get("/openapi.json").json()["info"]["title"] == "Paddock"
    assert "/recommend" in client.get("/openapi.json").json()["paths"]


def test_a_user_is_always_answered_by_one_side(client: httpx.Client) -> None:
    sides = {}
    for user in (f"u{number}" for number in range(1, 21)):
        answers = [client.post("/recommend", json={"user": user, "k": 3}).json() for _ in range(2)]
        assert answers[0] == answers[1]
        assert answers[0]["side"] == side_of(user, ["ease", "sasrec"])
        assert answers[0]["origin"]["model"] == answers[0]["side"]
        sides[user] = answers[0]["side"]
    assert set(sides.values()) == {"sasrec", "ease"}


def test_half_of_the_users_are_on_either_side() -> None:
    sides = [side_of(f"user {number}", ["a", "b", "c"]) for number in range(3000)]
    assert all(900 < sides.count(side) < 1100 for side in "abc")


def test_answers_are_those_of_the_command(client: httpx.Client, trained: CommandLine) -> None:
    from experiments.serving.recommender import Recommender

    (sasrec,) = [run.path for run in trained.runs if run.run["model_key"] == "sasrec"]
    recommender = Recommender.load(sasrec, text_encoder=None)
    asked = {"history": ["i3", "i8"], "dislikes": ["i5"], "k": 7, "query": "the"}
    made = client.post("/recommend", json=asked, params={"side": "sasrec"}).json()
    expected = recommender.recommend(
        Request(history=("i3", "i8"), dislikes=("i5",), k=7, query="the")
    )
    assert [item["item"] for item in made["items"]] == [item.item for item in expected.items]
    assert made["items"][0]["reasons"][0]["text"] == expected.items[0].reasons[0].text
    near = client.get("/similar", params={"item": "i3", "k": 4, "side": "sasrec"}).json()
    assert [item["item"] for item in near["items"]] == [
        item.item for item in recommender.similar("i3", 4).items
    ]
    title = recommender.data.item_titles[4]
    found = client.get("/search", params={"q": title, "side": "sasrec"}).json()
    assert found["items"][0]["title"] == title


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"k": 0}, 422, "greater than or equal to 1"),
        ({"k": 10**6}, 422, "less than or equal to 1000"),
        ({"user": "nobody"}, 422, "user=nobody is not in tiny"),
        ({"history": ["qqqq wwww"]}, 422, "nearest titles"),
        ({"history": "i1"}, 422, "valid tuple"),
        ({"histroy": ["i1"]}, 422, "Extra inputs"),
        ({"query": "x" * 2001}, 422, "at most 2000"),
        ({"where": "1=1; drop table x"}, 422, "is not understood"),
        ({"where": "__import__('os').system('x')"}, 422, "is not understood"),
        ({"query": "x" * 100_000}, 413, "at most 65536"),
    ],
)
def test_mistakes_are_one_sentence(
    client: httpx.Client, body: dict[str, Any], status: int, said: str
) -> None:
    answer = client.post("/recommend", json=body)
    assert answer.status_code == status, answer.text
    assert said in answer.text
    assert "Traceback" not in answer.text


def test_what_is_no_json_is_refused(client: httpx.Client) -> None:
    answer = client.post("/recommend", content=b"{", headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert client.post("/recommend", content=iter([b"{}"])).status_code == 411
    assert client.get("/similar", params={"item": "i1", "side": "none"}).status_code == 404


def test_feedback_is_kept_once(client: httpx.Client, feedback: Path) -> None:
    record = {"key": "k1", "user": "u1", "item": "i3", "kind": "like"}
    rated = {"key": "k2", "session": "s", "item": "i4", "kind": "rating", "value": 4.5, "time": 7}
    assert client.post("/feedback", json=[record, rated]).json() == {"stored": 2, "sent": 2}
    assert client.post("/feedback", json=[rated]).json() == {"stored": 0, "sent": 1}
    kept = FeedbackStore(f"sqlite:///{feedback}").read()
    assert {(each.key, each.kind, each.value) for each in kept} == {
        ("k1", "like", None),
        ("k2", "rating", 4.5),
    }
    refused = client.post("/feedback", json=[{**record, "kind": "adore"}])
    assert refused.status_code == 422
    nobody = client.post("/feedback", json=[{"key": "k3", "item": "i3", "kind": "like"}])
    assert "neither user nor session" in nobody.text


def test_prometheus_reads_what_was_asked(client: httpx.Client) -> None:
    before = _counted(client.get("/metrics").text)
    for _ in range(3):
        client.post("/recommend", json={"k": 1}, params={"side": "ease"})
    after = _counted(client.get("/metrics").text)
    wanted = 'paddock_answers_total{rule="popular",side="ease"}'
    assert after[wanted] - before.get(wanted, 0) == 3
    seconds = 'paddock_request_seconds_count{path="/recommend",status="200"}'
    assert after[seconds] - before.get(seconds, 0) == 3


def _counted(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


class Slow:
    """A recommender that answers when it is let."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.asked: list[Request] = []

    def recommend(self, request: Request) -> Answer:
        self.asked.append(request)
        assert self.may.wait(30)
        return Answer((), "popular", Origin(None, "", "slow", "tiny", "loo", "0", ""))


def test_who_waits_too_long_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what had not begun by then is not done."""
    monkeypatch.setattr(service, "PATIENCE", 0.2)
    slow: Any = Slow()
    with TestClient(service.create_app({"slow": slow})) as client:
        for _ in range(2):
            answer = client.post("/recommend", json={"user": "u1"})
            assert answer.status_code == 503
            assert "no answer within" in answer.json()["detail"]
        slow.may.set()
        monkeypatch.setattr(service, "PATIENCE", 30)
        assert client.post("/recommend", json={"user": "u2"}).json()["origin"]["model"] == "slow"
        assert [each.user for each in slow.asked] == ["u1", "u2"]


def test_others_may_ask_with_a_token_alone(trained: CommandLine) -> None:
    refused = trained(*TINY, "mode=serve", "serve.host=0.0.0.0")
    assert refused.code == 2
    assert "PADDOCK_TOKEN" in refused.err
    process, port = start(
        trained, "model=ease", "serve.host=0.0.0.0", "serve.feedback=null", PADDOCK_TOKEN="s3cret"
    )
    client = ready(process, port, trained)
    try:
        assert client.post("/recommend", json={}).status_code == 401
        wrong = {"authorization": "Bearer other"}
        assert client.get("/metrics", headers=wrong).status_code == 401
        right = {"authorization": "Bearer s3cret"}
        answer = client.post("/recommend", json={"user": "u1"}, headers=right).json()
        assert answer["origin"]["model"] == "ease"
        told = {"key": "k", "user": "u1", "item": "i3", "kind": "like"}
        assert client.post("/feedback", json=[told], headers=right).status_code == 404
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    said = (trained.folder / f"out-{port}").read_text() + (
        trained.folder / f"err-{port}"
    ).read_text()
    assert "s3cret" not in said
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_one_sentence(trained: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = trained(*TINY, "mode=serve", "model=ease", f"serve.port={port}")
    assert answer.code == 2
    assert f"serve.port={port}: Address already in use" in answer.err
    assert answer.err.count("\n") == 1


def test_several_workers_answer_alike(trained: CommandLine) -> None:
    process, port = start(trained, "model=ease", "serve.workers=2", "serve.feedback=null")
    client = ready(process, port, trained)
    try:
        asked = {"user": "u1", "k": 3}
        first = client.post("/recommend", json=asked).json()
        assert all(client.post("/recommend", json=asked).json() == first for _ in range(5))
        connected = [
            each
            for child in psutil.Process(process.pid).children(recursive=True)
            for each in child.net_connections("tcp")
            if each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port
        ]
        assert connected
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("serve.workers=0",), "serve.workers"),
        (("serve.port=70000",), "serve.port=70000 is no port"),
        (("run_id=nowhere",), "run_id=nowhere is neither"),
        (("model=lightgcn",), "no finished run of model=lightgcn dataset=tiny"),
    ],
)
def test_what_cannot_be_served(trained: CommandLine, words: tuple[str, ...], said: str) -> None:
    answer = trained(*TINY, "mode=serve", *words)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
