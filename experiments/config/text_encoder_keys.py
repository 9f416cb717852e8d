"""What a text encoder's configuration may say."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from experiments.config.values import nearest, of_type
from experiments.errors import PaddockError

HASHED = "tiny"
"""The name of the encoder that needs no network and no weights."""

PACKAGE = "package:"
"""Begins the name of an installed package that carries a model in its folder `model`."""

POOLINGS = ("mean", "cls")


@dataclass(frozen=True, kw_only=True)
class TextEncoderKeys:
    """A sentence encoder.

    Attributes
    ----------
    name
        tiny (hashed words), package:NAME, a folder, or a model of Hugging Face's hub.
    pooling, normalise
        How token states become one vector, as the model's card says.
    tokens
        The most tokens of a text that are read.
    width
        Of the embedding; only tiny takes it, a model has its own.
    trained
        Whether its weights learn with the model that reads it, from this state on.
    """

    name: str = HASHED
    revision: str | None = None
    pooling: str = "mean"
    normalise: bool = True
    tokens: int = 256
    width: int = 256
    trained: bool = False


def text_encoder_keys(given: Any, *, path: str = "model.text_encoder") -> TextEncoderKeys:
    """The checked configuration.

    Raises
    ------
    PaddockError
        For an unknown key, a wrong type or an impossible value.
    """
    keys = TextEncoderKeys(**typed_keys(given, TextEncoderKeys, path=path))
    if keys.pooling not in POOLINGS:
        raise PaddockError(
            f"{path}.pooling={keys.pooling} is unknown: {nearest(keys.pooling, POOLINGS)}"
        )
    if keys.trained and keys.name == HASHED:
        raise PaddockError(
            f"{path}.trained=true: {HASHED} has no weights that could learn; choose another encoder, "
            "as in text_encoder=minilm"
        )
    for name in ("tokens", "width"):
        if getattr(keys, name) < 1:
            raise PaddockError(f"{path}.{name}={getattr(keys, name)} must be at least 1")
    return keys


def typed_keys(given: Any, schema: type, *, path: str) -> dict[str, Any]:
    """The given keys, each known to the schema and of its default's type."""
    if not isinstance(given, Mapping):
        raise PaddockError(f"{path}={given} must hold keys, as in {path}.name=tiny")
    usual = {field.name: field.default for field in fields(schema)}
    checked: dict[str, Any] = {}
    for key, value in given.items():
        if key not in usual:
            raise PaddockError(
                f"{path}.{key}: there is no such key; {nearest(str(key), usual, prefix=f'{path}.')}"
            )
        checked[str(key)] = of_type(f"{path}.{key}", value, usual[key])
    return checked
