"""A language model of a server that speaks OpenAI's `chat/completions`, as most do."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from experiments.config.schema import LLMClientConfig
from experiments.errors import PaddockError
from experiments.language.writer import Asked, NoAnswer, quoted

if TYPE_CHECKING:
    from requests import Response

AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))
"""States of a server that may pass."""
LONGEST_WAIT = 30.0
"""Seconds between two tries, at most, whatever a server asks for."""
MOST_BYTES = 4 << 20
"""Of an answer; a longer one is no answer."""
CHUNK = 1 << 16


class Remote:
    """A server that speaks OpenAI's `chat/completions`.

    Parameters
    ----------
    keys : LLMClientConfig
        `base_url`, the model's name, the environment's variable with the key, seconds and tries.
    sleep : callable
        Waits for so many seconds between two tries.

    Raises
    ------
    PaddockError
        The address is none of http or https, or carries a password; a key would go over the network in
        the clear.
    """

    def __init__(
        self, keys: LLMClientConfig, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        assert keys.base_url is not None
        self._keys = keys
        self._sleep = sleep
        self._secret = os.environ.get(keys.key_variable, "")
        self._url = _checked(keys.base_url, secret=bool(self._secret), variable=keys.key_variable)
        self.identity = f"{keys.name} at {self._url}"

    def write(self, asked: Asked) -> str:
        """The answer of the server; what may pass is tried again, with longer waits.

        Raises
        ------
        PaddockError
            It does not answer in time (NoAnswer), refuses, or answers something else.
        """
        body: dict[str, Any] = {
            "model": self._keys.name,
            "messages": [dict(each) for each in asked.messages],
            "max_tokens": asked.max_tokens,
            "temperature": asked.temperature,
        }
        if asked.schema is not None:
            named = {"name": "answer", "schema": dict(asked.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        why = ""
        for turn in range(self._keys.retries + 1):
            answer, why, wait = self._asked(body, turn)
            if answer is not None:
                return answer
            if turn < self._keys.retries:
                self._sleep(min(wait, LONGEST_WAIT))
        raise NoAnswer(
            f"llm_client.base_url={self._url} does not answer after {self._keys.retries + 1} tries ({why}): "
            "start the server, correct the address, or raise llm_client.timeout"
        )

    def _asked(self, body: Mapping[str, Any], turn: int) -> tuple[str | None, str, float]:
        """The answer, or why there is none yet and how long to wait."""
        import requests
        from urllib3.exceptions import HTTPError

        wait = 0.5 * 2**turn
        headers = {"Authorization": f"Bearer {self._secret}"} if self._secret else {}
        until = time.monotonic() + self._keys.timeout
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
                content = b"".join(_chunks(response, until))
        except (requests.RequestException, OSError, HTTPError) as error:
            # Its text may hold headers; the kind says enough.
            return None, _reason(error), wait
        if state in AGAIN:
            return None, f"HTTP {state}", float(asked_for) if asked_for.isdigit() else wait
        if state != 200:
            raise PaddockError(self._refused(state, content))
        return self._text(content), "", 0.0

    def _refused(self, state: int, content: bytes) -> str:
        said = self._hidden(content[:200].decode("utf-8", "replace"))
        how = (
            f"set {self._keys.key_variable} to a valid key"
            if state in (401, 403)
            else ("check llm_client.base_url and llm_client.name")
        )
        return f"llm_client.base_url={self._url} refuses with HTTP {state} ({quoted(said)}): {how}"

    def _text(self, content: bytes) -> str:
        try:
            if len(content) > MOST_BYTES:
                raise ValueError("too long")
            answer = json.loads(content)["choices"][0]["message"]["content"]
            if not isinstance(answer, str):
                raise TypeError
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise PaddockError(
                f"llm_client.base_url={self._url} answers something else than OpenAI's chat/completions: "
                "check the address, which mostly ends in /v1"
            ) from error
        return answer

    def _hidden(self, text: str) -> str:
        return text.replace(self._secret, "***") if self._secret else text


def _chunks(response: "Response", until: float) -> Iterator[bytes]:
    """What comes of an answer, up to a time: a server that sends a byte now and then is too slow, too."""
    left = MOST_BYTES + 1
    while left > 0 and (chunk := response.raw.read1(min(CHUNK, left), decode_content=True)):
        yield chunk
        left -= len(chunk)
        if time.monotonic() > until:
            raise TimeoutError


def _reason(error: Exception) -> str:
    import requests
    from urllib3.exceptions import ReadTimeoutError

    if isinstance(error, requests.Timeout | TimeoutError | ReadTimeoutError):
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
            "llm_client.base_url is no address of a server: write it as http://127.0.0.1:8000/v1"
        )
    if parts.username or parts.password or parts.query:
        raise PaddockError(
            f"llm_client.base_url holds a name, a password or a query: a key goes into the environment, {variable}"
        )
    if secret and parts.scheme == "http" and host not in ("127.0.0.1", "localhost", "::1"):
        raise PaddockError(
            f"llm_client.base_url={url} is not encrypted, and {variable} would be sent in the clear: use "
            "https, or remove the key"
        )
    return url.rstrip("/")
