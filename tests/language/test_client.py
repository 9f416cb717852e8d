"""The client of language models against a real server on a real port, and against a small local model."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.config.language_keys import ClientConfig
from experiments.errors import PaddockError
from experiments.language.client import LONGEST_WAIT, Client, Remote
from experiments.language.local import Local, client_of
from experiments.language.tiny import tokenizer_of
from models.allmrec.frozen_llm import FrozenLLM

SECRET = "sk-very-secret-0123456789"
SCHEMA = {"type": "object", "properties": {"film": {"type": "string"}}, "required": ["film"]}


class Server:
    """Answers by a script of (state, body, headers), the last again and again; notes what it was asked."""

    def __init__(self) -> None:
        self.script: list[tuple[int, Any, dict[str, str]]] = [(200, answered("Alien"), {})]
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.delay = threading.Event()
        self.slow = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, dict(self.headers), body))
                if outer.slow:
                    outer.delay.wait(30)
                turn = min(len(outer.asked), len(outer.script)) - 1
                state, told, headers = outer.script[turn]
                content = told if isinstance(told, bytes) else json.dumps(told).encode()
                self.send_response(state)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.delay.set()
        self._http.shutdown()
        self._http.server_close()


def answered(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PADDOCK_LLM_KEY", raising=False)


def remote(url: str, *, waits: list[float] | None = None, **values: Any) -> Remote:
    keys = ClientConfig.of({"name": "some-model", "base_url": url, "timeout": 5.0, **values})
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
    assert json.loads(client.complete("A film?", schema=SCHEMA)) == {"film": "Alien"}
    assert server.asked[0][2]["response_format"]["json_schema"]["schema"] == SCHEMA
    with pytest.raises(PaddockError, match="asked for JSON and wrote 'Alien!'"):
        client.complete("A film?", schema=SCHEMA)
    with pytest.raises(PaddockError, match="JSON lacks film"):
        client.complete("A film?", schema=SCHEMA)


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
        (404, b"no such model", "check llm.base_url and llm.name"),
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
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tokenizer_of(["A film? Alien, Heat and others."], size=300)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(3)
    network = LlamaForCausalLM(config)
    return FrozenLLM(
        network, tokenizer, name="small", revision=None, config_hash="0" * 64, context=64
    )


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
        client_of(ClientConfig.of({"llm": {}}), folder=tmp_path)
    with pytest.raises(PaddockError, match="name a server or a model"):
        client_of(ClientConfig.of({}), folder=tmp_path)
