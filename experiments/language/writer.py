"""What writes an answer, and what an answer with a schema must be.

What a language model writes is data and never a fact: whoever shows it says so.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from experiments.errors import PaddockError
from experiments.visible import visible

Messages = Sequence[Mapping[str, str]]
"""Turns of a conversation, each with `role` (system, user, assistant) and `content`."""

SHOWN = 120
"""Characters of an answer that an error quotes."""

_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)


class NoAnswer(PaddockError):
    """Nobody answers: a server is away, busy or too slow. To ask again at once is of no use."""


@dataclass(frozen=True)
class Asked:
    """What is asked of a language model.

    Attributes
    ----------
    messages : sequence of mappings
    schema : mapping or None
        The JSON schema that the answer is asked to follow; it is held to it by `structured`.
    max_tokens : int
        The most tokens of the answer.
    temperature : float
        0 takes the likeliest token.
    """

    messages: Messages
    schema: Mapping[str, Any] | None
    max_tokens: int
    temperature: float


class Writer(Protocol):
    """A language model that writes."""

    identity: str
    """Names the model and where it answers, without any secret."""

    def write(self, asked: Asked) -> str:
        """The answer.

        Raises
        ------
        NoAnswer
            There is none, or not in time.
        PaddockError
            The model refuses, or the messages are too long for it.
        """
        ...


def structured(answer: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The object that an answer holds, where it follows its schema.

    Parameters
    ----------
    answer : str
        JSON, alone or as one block of Markdown.
    schema : mapping
        A JSON schema of an object.

    Raises
    ------
    PaddockError
        The answer is no JSON, or no object of the schema; the place is named.
    """
    import jsonschema

    fenced = _FENCE.match(answer)
    try:
        content = json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError):
        raise PaddockError(
            f"the language model was asked for JSON and wrote {quoted(answer)!r}: ask again, or "
            "choose a larger model"
        ) from None
    validator = jsonschema.Draft202012Validator(schema)
    wrong = jsonschema.exceptions.best_match(validator.iter_errors(content))
    if wrong is not None:
        where = ".".join(map(str, wrong.absolute_path)) or "its object"
        # A message begins with all that is wrong, which may be long.
        what = wrong.message if len(wrong.message) <= SHOWN else f"{wrong.validator} is not kept"
        raise PaddockError(
            f"the language model's JSON does not follow the schema ({where}: {quoted(what)}): "
            "ask again, or choose a larger model"
        )
    return dict(content)


def quoted(text: str) -> str:
    """The beginning of what a model or server wrote, in one line and without control characters."""
    return visible(" ".join(text.split()))[:SHOWN]
