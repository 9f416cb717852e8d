"""The client of language models against a real server on a real port, and against a small local model."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.config.language_keys import LLMConfig
from experiments.config.schema import LLMClientConfig
from experiments.errors import PaddockError
from experiments.language.client import Client, client_of
from experiments.language.local import Local
from experiments.language.remote import LONGEST_WAIT, Remote
from experiments.language.writer import NoAnswer, structured
from models.allmrec.frozen_llm import FrozenLLM
from tests.llm_server import Server, answered, serving
from tests.small_llm import small_llm

SECRET = "sk-very-secret-0123456789"
SCHEMA = {"type": "object", "properties": {"film": {"type": "string"}}, "required": ["film"]}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PADDOCK_LLM_KEY", raising=False)


def remote(url: str, *, waits: list[float] | None = None, **values: Any) -> Remote:
    keys = LLMClientConfig(**{"name": "some-model", "base_url": url, "timeout": 5.0, **values})
    return Remote(keys, sleep=[].append if waits is None else waits.append)


def test_a_question_and_its_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADDOCK_LLM_KEY", SECRET)
    client = Client(remote(server.url + "/"))
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A film?"}]
    assert client.complete(turns, max_tokens=7, temperature=0.5) == "Alien"
    ((path, headers, body),) = server.asked
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert body == {"model": "some-model", "messages": turns, "max_tokens": 7, "temperature": 0.5}
    assert SECRET not in client.identity


def test_a_schema_is_asked_for_and_held(server: Server) -> None:
    server.script = [(200, answered('{"film": "Alien"}'), {}), (200, answered("Alien!"), {}),
                     (200, answered("{}"), {})]  # fmt: skip
    client = Client(remote(server.url))
    assert client.structured("A film?", SCHEMA) == {"film": "Alien"}
    assert server.asked[0][2]["response_format"]["json_schema"]["schema"] == SCHEMA
    with pytest.raises(PaddockError, match="asked for JSON and wrote 'Alien!'"):
        client.structured("A film?", SCHEMA)
    with pytest.raises(
        PaddockError, match=r"does not follow the schema .*'film' is a required property"
    ):
        client.structured("A film?", SCHEMA)


def test_answers_are_kept_by_what_was_asked(server: Server, tmp_path: Path) -> None:
    server.script = [(200, answered(text), {}) for text in ("one", "two", "three", "four", "five")]
    client = Client(remote(server.url), cache=tmp_path)
    assert [client.complete("A"), client.complete("A"), client.complete("B")] == [
        "one",
        "one",
        "two",
    ]
    assert client.complete("A", max_tokens=3) == "three"
    assert client.complete("A", temperature=1.0) == "four"
    other = Client(remote(server.url, name="another"), cache=tmp_path)
    assert other.complete("A") == "five"
    server.close()
    assert Client(remote(server.url), cache=tmp_path).complete("A") == "one"


def test_a_damaged_answer_is_asked_for_again(server: Server, tmp_path: Path) -> None:
    client = Client(remote(server.url), cache=tmp_path)
    client.complete("A")
    (kept,) = tmp_path.glob("*.json")
    kept.write_text(kept.read_text()[:20])
    assert client.complete("A") == "Alien"
    assert len(server.asked) == 2
    assert json.loads(kept.read_text())["answer"] == "Alien"


def test_what_passes_is_tried_again(server: Server) -> None:
    server.script = [
        (503, b"busy", {}),
        (429, b"slowly", {"Retry-After": "7"}),
        (429, b"slowly", {"Retry-After": "86400"}),
        (200, answered("Alien"), {}),
    ]
    waits: list[float] = []
    assert Client(remote(server.url, waits=waits, retries=3)).complete("A film?") == "Alien"
    assert waits == [0.5, 7.0, LONGEST_WAIT]


def test_tries_come_to_an_end(server: Server) -> None:
    server.script = [(503, b"busy", {})]
    with pytest.raises(PaddockError, match=r"does not answer after 3 tries \(HTTP 503\)"):
        Client(remote(server.url, retries=2)).complete("A film?")
    assert len(server.asked) == 3


def test_a_server_that_is_too_slow_or_away(server: Server) -> None:
    server.slow = True
    with pytest.raises(PaddockError, match=r"1 tries \(no answer in time\)"):
        Client(remote(server.url, retries=0, timeout=0.2)).complete("A film?")
    server.close()
    with pytest.raises(PaddockError, match=r"\(no connection\)"):
        Client(remote(server.url, retries=0)).complete("A film?")


@pytest.mark.parametrize(
    ("state", "body", "told"),
    [
        (401, f"wrong key {SECRET}".encode(), "PADDOCK_LLM_KEY to a valid key"),
        (404, b"no such model", "check llm_client.base_url and llm_client.name"),
        (302, b"", "HTTP 302"),
        (200, b"<html>hello</html>", "something else than OpenAI's"),
        (200, {"choices": []}, "something else than OpenAI's"),
    ],
)
def test_refusals_are_one_sentence_without_the_key(
    server: Server, monkeypatch: pytest.MonkeyPatch, state: int, body: Any, told: str
) -> None:
    monkeypatch.setenv("PADDOCK_LLM_KEY", SECRET)
    server.script = [(state, body, {"Location": "http://127.0.0.1:1/elsewhere"})]
    with pytest.raises(PaddockError, match=told) as refused:
        Client(remote(server.url)).complete("A film?")
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://host/v1", "no address of a server"),
        ("nonsense", "no address of a server"),
        ("http://user:word@127.0.0.1/v1", "holds a name, a password"),
        ("http://models.example/v1", "in the clear"),
    ],
)
def test_addresses_that_are_refused(monkeypatch: pytest.MonkeyPatch, url: str, told: str) -> None:
    monkeypatch.setenv("PADDOCK_LLM_KEY", SECRET)
    with pytest.raises(PaddockError, match=told) as refused:
        remote(url)
    assert "word" not in str(refused.value).replace("password", "")


@pytest.fixture(scope="module")
def small() -> FrozenLLM:
    return small_llm(context=64)


def test_a_local_model_writes_the_likeliest_tokens(small: FrozenLLM) -> None:
    tokens = [*small.opening(), *small.tokens(["A film?"])[0]]
    before = len(tokens)
    while len(tokens) < before + 5 and tokens[-1] != small.eos:
        logits = small.model(torch.tensor([tokens])).logits[0, -1]
        tokens.append(int(logits.argmax()))
    assert len(tokens) > before + 1
    expected = small.tokenizer.decode(tokens[before:], skip_special_tokens=True).strip()
    assert Client(Local(small)).complete("A film?", max_tokens=5) == expected


def test_a_local_model_reads_turns_by_its_template(small: FrozenLLM) -> None:
    seen: list[str] = []
    template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    small.tokenizer.chat_template = template
    try:
        plain: Callable[[list[str]], list[list[int]]] = small.tokens
        vars(small)["tokens"] = lambda texts: [seen.extend(texts), plain(texts)][1]
        Client(Local(small)).complete([{"role": "user", "content": "A film?"}], max_tokens=1)
    finally:
        del vars(small)["tokens"]
        small.tokenizer.chat_template = None
    assert seen == ["[user]A film?[assistant]"]


def test_a_drawn_answer_is_the_same_again(small: FrozenLLM) -> None:
    client = Client(Local(small))
    drawn = [client.complete("A film?", max_tokens=8, temperature=2.0) for _ in range(2)]
    assert drawn[0] == drawn[1] != client.complete("Heat?", max_tokens=8, temperature=2.0)


def test_a_context_that_is_too_short(small: FrozenLLM) -> None:
    with pytest.raises(PaddockError, match="do not fit into the context of 64 tokens of small"):
        Client(Local(small)).complete("A film?", max_tokens=64)


def test_the_tiny_model_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(PaddockError, match="tiny language model"):
        Local.loaded(LLMConfig.of({}), folder=tmp_path)
    with pytest.raises(PaddockError, match="tiny language model"):
        client_of(LLMClientConfig(llm="tiny"), folder=tmp_path)


def test_no_model_is_no_client(tmp_path: Path) -> None:
    assert client_of(LLMClientConfig(), folder=tmp_path) is None
    with pytest.raises(
        PaddockError, match=r"llm_client\.llm=smolm is unknown: did you mean smollm2"
    ):
        client_of(LLMClientConfig(llm="smolm"), folder=tmp_path)


def test_a_configured_client_keeps_its_answers(server: Server, tmp_path: Path) -> None:
    keys = LLMClientConfig(base_url=server.url)
    for _ in range(2):
        client = client_of(keys, folder=tmp_path)
        assert client is not None
        assert client.complete("A film?") == "Alien"
    assert len(server.asked) == 1
    assert len(list((tmp_path / ".language-models" / "answers").glob("*.json"))) == 1


def test_an_answer_that_drips_is_too_slow(server: Server) -> None:
    """Every byte comes in time, and the whole does not."""
    server.drip = 0.05
    with pytest.raises(NoAnswer, match="no answer in time"):
        Client(remote(server.url, retries=0, timeout=0.3)).complete("A film?")


def test_who_does_not_answer_is_asked_no_more(server: Server) -> None:
    server.script = [(503, b"busy", {}), (200, answered("Alien"), {})]
    client = Client(remote(server.url, retries=0))
    turn = client.once()
    for _ in range(2):
        with pytest.raises(NoAnswer, match="HTTP 503"):
            turn.complete("A film?")
    assert len(server.asked) == 1
    assert client.once().complete("A film?") == "Alien"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"film": "Alien"}', None),
        ('```json\n{"film": "Alien"}\n```', None),
        ("Sure! It is Alien.", "asked for JSON and wrote"),
        ('{"film": "Alien"', "asked for JSON and wrote"),
        ("[" * 100_000, "asked for JSON and wrote"),
        ('["film"]', "its object: .* is not of type 'object'"),
        ('{"film": 3}', "film: 3 is not of type 'string'"),
        ("{}", "'film' is a required property"),
    ],
)
def test_what_follows_a_schema(answer: str, said: str | None) -> None:
    if said is None:
        assert structured(answer, SCHEMA) == {"film": "Alien"}
        return
    with pytest.raises(PaddockError, match=said) as refused:
        structured(answer, SCHEMA)
    assert len(str(refused.value)) < 400
