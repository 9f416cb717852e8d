"""The items' texts by what they mean: embeddings that all models share, and which encoder makes them.

N items (padding included), W width of an embedding.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.config.groups import values_of
from experiments.config.language_keys import PACKAGE, TINY, TRANSFORMS, TextEncoderConfig
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError

AUTO = "auto"
"""Lets the run and what is installed choose the encoder."""

USUAL = "minilm"
"""The encoder of conf/text_encoder that AUTO takes where the run's model has none of its own."""

MOST_ENCODED = 5000
"""Texts that are encoded without being asked: on one thread some 20 seconds, once."""


class Chosen(NamedTuple):
    """An encoder with the name that answers call it by; None and why there is none."""

    keys: TextEncoderConfig | None
    name: str


class Meaning:
    """The cosine of a query and the items' texts, as an encoder embeds both.

    Parameters
    ----------
    keys : TextEncoderConfig
    data : Prepared
        Its embeddings are made where they are not kept beside it.
    name : str
        What answers call the encoder.
    """

    def __init__(self, keys: TextEncoderConfig, data: Prepared, *, name: str) -> None:
        self.name = name
        self._keys = keys
        self._data = data

    @cached_property
    def _unit_NW(self) -> NDArray[np.float32]:
        from experiments.language.embeddings import item_embeddings

        rows_NW = item_embeddings(self._keys, self._data).numpy()
        lengths_N1 = np.linalg.norm(rows_NW, axis=1, keepdims=True)
        made: NDArray[np.float32] = rows_NW / np.maximum(lengths_N1, 1e-9)
        return made

    @cached_property
    def _embed(self) -> Callable[[str], NDArray[np.float32]]:
        from experiments.language.embeddings import query_encoder

        return query_encoder(self._keys)

    def cosines(self, query: str) -> NDArray[np.float32]:
        """The cosine of a query with every text, (N,); that of the padding is 0.

        Parameters
        ----------
        query : str
        """
        made: NDArray[np.float32] = self._unit_NW @ self._embed(query)
        return made


def encoder_of(choice: str | None, model: Mapping[str, Any], data: Prepared) -> Chosen:
    """The sentence encoder by which queries are compared with texts.

    Parameters
    ----------
    choice : str or None
        A file of conf/text_encoder by name; "auto": that of the run's model, else MiniLM where it is installed,
        for catalogues that are encoded already or small; None: none.
    model : mapping of str to object
        The values of the run's model.
    data : Prepared

    Raises
    ------
    PaddockError
        There is no such file, or its encoder hashes words.
    """
    if choice is None:
        return Chosen(None, "serve.text_encoder is null")
    if choice != AUTO:
        values = values_of("text_encoder", choice, key="serve.text_encoder")
        if values["name"] == TINY:
            raise PaddockError(
                f"serve.text_encoder={choice} hashes words, which are searched by anyway: name a sentence "
                "encoder such as minilm, or null"
            )
        return Chosen(TextEncoderConfig.of(values), choice)
    found = _of_model(model) or _usual()
    if found.keys is None or data.n_items <= MOST_ENCODED:
        return found
    from experiments.language.embeddings import are_kept

    if are_kept(found.keys, data):
        return found
    return Chosen(
        None,
        f"{data.n_items} texts are encoded where serve.text_encoder={USUAL} asks for it",
    )


def _of_model(model: Mapping[str, Any]) -> Chosen | None:
    """The encoder that the run's model reads texts by, its transforms left out."""
    own = model.get("text_encoder")
    if not isinstance(own, Mapping) or own.get("name") in (None, TINY):
        return None
    name = str(own["name"])
    if not _is_here(name):
        return None
    left = {key: value for key, value in own.items() if key not in TRANSFORMS}
    return Chosen(TextEncoderConfig.of(left), name.removeprefix(PACKAGE))


def _is_here(name: str) -> bool:
    """Whether an encoder is an installed package or a folder, so that no hub is asked."""
    if name.startswith(PACKAGE):
        return find_spec(name.removeprefix(PACKAGE)) is not None
    return Path(name).is_dir()


def _usual() -> Chosen:
    values = values_of("text_encoder", USUAL, key="serve.text_encoder")
    if not _is_here(str(values["name"])):
        return Chosen(None, f"text_encoder={USUAL} is not installed")
    return Chosen(TextEncoderConfig.of(values), USUAL)
