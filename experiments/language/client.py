"""One client for language models that write: one that is loaded here, or any OpenAI-compatible server.

Answers at temperature 0 are kept by the hash of what was asked, so that an evaluation can be repeated
without the model. What a language model writes is data and never a fact: whoever shows it says so.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from experiments import files
from experiments.config.language_keys import ClientConfig
from experiments.errors import PaddockError
from experiments.visible import visible

Messages = Sequence[Mapping[str, str]]
"""Turns of a conversation, each with `role` (system, user, assistant) and `content`."""

FORMAT = 1
"""Raise it when the same question is asked in another way, so that kept answers are not taken for equal."""

AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))
"""States of a server that may pass."""
LONGEST_WAIT = 30.0
"""Seconds between two tries, at most, whatever a server asks for."""
MOST_BYTES = 4 << 20
"""Of an answer; a longer one is no answer."""


class Writer(Protocol):
    """What writes an answer."""

    identity: str
    """Names the model and where it answers, without any secret."""

    def write(
        self,
        messages: Messages,
        *,
        schema: Mapping[str, Any] | None,
        max_tokens: int,
        temperature: float,
    ) -> str:
        """The answer to messages."""
        ...


class Client:
    """Asks a language model, and keeps its answers.

    Parameters
    ----------
    writer : Writer
        `Remote`, or `experiments.language.local.Local`.
    cache : Path or None
        Folder of the answers that are kept; None keeps none.
    """

    def __init__(self, writer: Writer, *, cache: Path | None = None) -> None:
        self._writer = writer
        self._cache = cache

    @property
    def identity(self) -> str:
        """The model and where it answers, for what is logged with a run."""
        return self._writer.identity

    def complete(
        self,
        prompt: str | Messages,
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
    ) -> str:
        """What the model writes.

        Parameters
        ----------
        prompt : str or sequence of mappings
            One message of the user, or all messages with `role` and `content`.
        schema : mapping or None
            A JSON schema of an object: the answer is then JSON with its required keys.
        max_tokens : int
            The most tokens of the answer.
        temperature : float
            0 takes the likeliest token, and the answer is kept.

        Raises
        ------
        PaddockError
            The model does not answer, or gives no JSON where a schema is given.
        """
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        asked = {
            "format": FORMAT,
            "model": self.identity,
            "messages": [dict(turn) for turn in turns],
            "schema": schema,
            "max_tokens": max_tokens,
        }
        path = None
        if self._cache is not None and temperature == 0:
            path = self._cache / f"{files.hash_of(asked)}.json"
            kept = _kept(path, asked)
            if kept is not None:
                return kept
        answer = self._writer.write(
            turns, schema=schema, max_tokens=max_tokens, temperature=temperature
        )
        if schema is not None:
            _check_json(answer, schema)
        if path is not None:
            files.write_json(path, {"asked": asked, "answer": answer})
        return answer


def _kept(path: Path, asked: Mapping[str, Any]) -> str | None:
    """The kept answer; none where the file is damaged or of another question."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        answer = told["answer"] if told["asked"] == asked else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return answer if isinstance(answer, str) else None


def _check_json(answer: str, schema: Mapping[str, Any]) -> None:
    try:
        told = json.loads(answer)
    except ValueError as error:
        raise PaddockError(
            f"the language model was asked for JSON and wrote {_shown(answer)!r}: ask again, or "
            "choose a larger model"
        ) from error
    missing = [
        name
        for name in schema.get("required", ())
        if not isinstance(told, dict) or name not in told
    ]
    if missing:
        raise PaddockError(
            f"the language model's JSON lacks {', '.join(missing)}: ask again, or choose a larger model"
        )


class Remote:
    """A server that speaks OpenAI's `chat/completions`.

    Parameters
    ----------
    keys : ClientConfig
        `base_url`, the model's name, the environment's variable with the key, seconds and tries.
    sleep : callable
        Waits for so many seconds between two tries.

    Raises
    ------
    PaddockError
        The address is none of http or https, or carries a password; a key would go over the network in
        the clear.
    """

    def __init__(self, keys: ClientConfig, *, sleep: Callable[[float], None] = time.sleep) -> None:
        assert keys.base_url is not None
        self._keys = keys
        self._sleep = sleep
        self._secret = os.environ.get(keys.key_variable, "")
        self._url = _checked(keys.base_url, secret=bool(self._secret), variable=keys.key_variable)
        self.identity = f"{keys.name} at {self._url}"

    def write(
        self,
        messages: Messages,
        *,
        schema: Mapping[str, Any] | None,
        max_tokens: int,
        temperature: float,
    ) -> str:
        """The answer of the server; what may pass is tried again, with longer waits.

        Raises
        ------
        PaddockError
            It does not answer in time, refuses, or answers something else.
        """
        body: dict[str, Any] = {
            "model": self._keys.name,
            "messages": [dict(each) for each in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        if schema is not None:
            named = {"name": "answer", "schema": dict(schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        why = ""
        for turn in range(self._keys.retries + 1):
            told, why, wait = self._asked(body, turn)
            if told is not None:
                return told
            if turn < self._keys.retries:
                self._sleep(min(wait, LONGEST_WAIT))
        raise PaddockError(
            f"llm.base_url={self._url} does not answer after {self._keys.retries + 1} tries ({why}): "
            "start the server, correct the address, or raise llm.timeout"
        )

    def _asked(self, body: Mapping[str, Any], turn: int) -> tuple[str | None, str, float]:
        """The answer, or why there is none yet and how long to wait."""
        import requests

        wait = 0.5 * 2**turn
        headers = {"Authorization": f"Bearer {self._secret}"} if self._secret else {}
        try:
            # Another address could be anyone's, and would be sent the key.
            with requests.post(
                f"{self._url}/chat/completions",
                json=body,
                headers=headers,
                timeout=self._keys.timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                state, asked_for = response.status_code, response.headers.get("Retry-After", "")
                content = response.raw.read(MOST_BYTES + 1, decode_content=True)
        except (requests.RequestException, OSError) as error:
            # Its text may hold headers; the kind says enough.
            return None, _reason(error), wait
        if state in AGAIN:
            return None, f"HTTP {state}", float(asked_for) if asked_for.isdigit() else wait
        if state != 200:
            raise PaddockError(self._refused(state, content))
        return self._text(content), "", 0.0

    def _refused(self, state: int, content: bytes) -> str:
        told = self._hidden(content[:200].decode("utf-8", "replace"))
        how = (
            f"set {self._keys.key_variable} to a valid key"
            if state in (401, 403)
            else ("check llm.base_url and llm.name")
        )
        return f"llm.base_url={self._url} refuses with HTTP {state} ({_shown(told)}): {how}"

    def _text(self, content: bytes) -> str:
        try:
            if len(content) > MOST_BYTES:
                raise ValueError("too long")
            told = json.loads(content)["choices"][0]["message"]["content"]
            if not isinstance(told, str):
                raise TypeError
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise PaddockError(
                f"llm.base_url={self._url} answers something else than OpenAI's chat/completions: "
                "check the address, which mostly ends in /v1"
            ) from error
        return told

    def _hidden(self, text: str) -> str:
        return text.replace(self._secret, "***") if self._secret else text


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__


def _checked(url: str, *, secret: bool, variable: str) -> str:
    """The address without a slash at its end."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise PaddockError(
            "llm.base_url is no address of a server: write it as http://127.0.0.1:8000/v1"
        )
    if parts.username or parts.password or parts.query:
        raise PaddockError(
            f"llm.base_url holds a name, a password or a query: a key goes into the environment, {variable}"
        )
    if secret and parts.scheme == "http" and host not in ("127.0.0.1", "localhost", "::1"):
        raise PaddockError(
            f"llm.base_url={url} is not encrypted, and {variable} would be sent in the clear: use "
            "https, or remove the key"
        )
    return url.rstrip("/")


def _shown(text: str) -> str:
    return visible(" ".join(text.split()))[:120]
