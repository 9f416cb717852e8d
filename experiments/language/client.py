"""One client for language models that write: one that is loaded here, or any OpenAI-compatible server.

Answers at temperature 0 are kept by the hash of what was asked, so that an evaluation can be repeated
without the model.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import files
from experiments.config.groups import values_of
from experiments.config.language_keys import LLMConfig
from experiments.config.schema import LLMClientConfig
from experiments.language.writer import Asked, Messages, NoAnswer, Writer, structured

FORMAT = 1
"""Raise it when the same question is asked in another way, so that kept answers are not taken for equal."""

KEPT = Path(".language-models", "answers")
"""Where answers are kept, below the folder of the prepared data sets."""


class Client:
    """Asks a language model, and keeps its answers.

    Parameters
    ----------
    writer : Writer
        `experiments.language.remote.Remote`, or `experiments.language.local.Local`.
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

    def once(self) -> "Client":
        """A client of the same model that asks no more once nobody answered: what comes next need not wait again."""
        return Client(_Once(self._writer), cache=self._cache)

    def complete(
        self, prompt: str | Messages, *, max_tokens: int = 256, temperature: float = 0.0
    ) -> str:
        """What the model writes.

        Parameters
        ----------
        prompt : str or sequence of mappings
            One message of the user, or all messages with `role` and `content`.
        max_tokens : int
            The most tokens of the answer.
        temperature : float
            0 takes the likeliest token, and the answer is kept.

        Raises
        ------
        PaddockError
            The model does not answer; `NoAnswer` where to ask again at once is of no use.
        """
        return self._answer(Asked(_turns(prompt), None, max_tokens, temperature))

    def structured(
        self,
        prompt: str | Messages,
        schema: Mapping[str, Any],
        *,
        max_tokens: int = 512,
        temperature: float = 0.0,
    ) -> dict[str, Any]:
        """The object that the model writes.

        Parameters
        ----------
        prompt, max_tokens, temperature
            As of `complete`.
        schema : mapping
            A JSON schema of an object, to which the answer is held.

        Raises
        ------
        PaddockError
            The model does not answer, or not with an object of the schema.
        """
        asked = Asked(_turns(prompt), schema, max_tokens, temperature)
        return structured(self._answer(asked), schema)

    def _answer(self, asked: Asked) -> str:
        key = {
            "format": FORMAT,
            "model": self.identity,
            "messages": [dict(turn) for turn in asked.messages],
            "schema": asked.schema,
            "max_tokens": asked.max_tokens,
        }
        path = None
        if self._cache is not None and asked.temperature == 0:
            path = self._cache / f"{files.hash_of(key)}.json"
            kept = _kept(path, key)
            if kept is not None:
                return kept
        answer = self._writer.write(asked)
        if asked.schema is not None:
            # What does not follow its schema is not kept.
            structured(answer, asked.schema)
        if path is not None:
            files.write_json(path, {"asked": key, "answer": answer})
        return answer


class _Once:
    """A writer that remembers that nobody answered."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._gone: NoAnswer | None = None
        self.identity = writer.identity

    def write(self, asked: Asked) -> str:
        """The answer.

        Raises
        ------
        NoAnswer
            There is none, or there was none before.
        """
        if self._gone is not None:
            raise self._gone
        try:
            return self._writer.write(asked)
        except NoAnswer as error:
            self._gone = error
            raise


def client_of(keys: LLMClientConfig, *, folder: Path, device: str = "cpu") -> Client | None:
    """The client that a configuration asks for.

    Parameters
    ----------
    keys : LLMClientConfig
        With `base_url` a server, with `llm` a file of conf/llm by name.
    folder : Path
        Of the prepared data sets; copies of GGUF files and kept answers lie below it.
    device : str
        Where a local model computes.

    Returns
    -------
    Client or None
        None where no language model is named.

    Raises
    ------
    PaddockError
        The address is wrong, or the model is unknown or cannot be loaded.
    """
    if keys.base_url is None and keys.llm is None:
        return None
    cache = folder / KEPT if keys.cache else None
    if keys.base_url is not None:
        from experiments.language.remote import Remote

        return Client(Remote(keys), cache=cache)
    from experiments.language.local import Local

    llm = LLMConfig.of(values_of("llm", str(keys.llm), key="llm_client.llm"))
    return Client(Local.loaded(llm, folder=folder, device=device), cache=cache)


def _turns(prompt: str | Messages) -> Messages:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)


def _kept(path: Path, asked: Mapping[str, Any]) -> str | None:
    """The kept answer; none where the file is damaged or of another question."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        answer = content["answer"] if content["asked"] == asked else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return answer if isinstance(answer, str) else None
