"""The embeddings of a data set's texts: made once, kept by a hash, shared by all that read them.

N items (padding included) or texts, W width of an embedding.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments import checkpoint, files
from experiments.config.language_keys import E5, TINY, TRANSFORMS, TextEncoderConfig
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.language.e5 import e5_passages, e5_query
from experiments.language.encoder import encode, load_encoder, model_folder, pool, texts_to_encode
from experiments.language.hashed import hashed_embeddings
from experiments.locks import lock

FORMAT = 1
"""Raise it when the arithmetic changes, so that kept embeddings are not taken for equal."""

LEAST = 1e-6
"""Principal components below this share of the largest are rounding."""


def item_embeddings(
    keys: TextEncoderConfig, data: Prepared, *, device: torch.device | None = None
) -> Tensor:
    """The embedding of every item's text.

    What the encoder gives is kept beside the prepared data, and so is what whitening, truncation or
    a control makes of it. Files are mapped into memory, not copied.

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
        The encoder cannot be loaded, or gives fewer dimensions than are to be kept.
    """
    return text_embeddings(keys, texts_to_encode(data), beside=data.path, device=device)


def text_embeddings(
    keys: TextEncoderConfig,
    texts: Sequence[str],
    *,
    beside: Path,
    named: str | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """The embedding of every text, kept as those of the items are.

    Parameters
    ----------
    keys : TextEncoderConfig
    texts : sequence of str
        N of them.
    beside : Path
        The folder of the prepared data.
    named : str, optional
        The hash of the texts, where there are too many to be hashed at every opening.
    device : torch.device or None
        Where a transformer computes; None: the CPU.

    Returns
    -------
    Tensor
        (1 + N, W), float32, on the CPU; row 0 is padding and all zeros.

    Raises
    ------
    PaddockError
        As `item_embeddings`.
    """
    folder = model_folder(keys.name)
    encoded = _encoded(keys, folder, texts if named is None else named)

    def encode_texts() -> Tensor:
        return _embed(keys, folder, texts, device or torch.device("cpu"))

    transforms = {name: getattr(keys, name) for name in TRANSFORMS}
    if transforms == {name: TextEncoderConfig.keys[name].default for name in TRANSFORMS}:
        return _kept(beside, encoded, encode_texts, keys)
    return _kept(
        beside,
        {**encoded, "transforms": transforms},
        lambda: transformed(_kept(beside, encoded, encode_texts, keys)[1:], keys),
        keys,
    )


def are_kept(keys: TextEncoderConfig, data: Prepared) -> bool:
    """Whether what an encoder gives of the items' texts lies beside the prepared data already.

    Parameters
    ----------
    keys : TextEncoderConfig
        Its transforms count for nothing.
    data : Prepared
    """
    content = _encoded(keys, model_folder(keys.name), texts_to_encode(data))
    return _path(data.path, content).exists()


def query_encoder(keys: TextEncoderConfig) -> Callable[[str], NDArray[np.float32]]:
    """What gives the unit vector of a query, (W,), to be compared with the embeddings of texts.

    Parameters
    ----------
    keys : TextEncoderConfig

    Raises
    ------
    PaddockError
        The encoder cannot be loaded.
    """
    if keys.name == TINY:
        return lambda query: hashed_embeddings([query], width=keys.width)[0]
    folder = model_folder(keys.name)
    if keys.name == E5:
        return e5_query
    tokenizer, model = load_encoder(keys, folder)

    @torch.no_grad()
    def encoded(query: str) -> NDArray[np.float32]:
        read = tokenizer(query, truncation=True, max_length=keys.tokens, return_tensors="pt")
        states_1LW = model(**read).last_hidden_state
        vector = pool(keys, states_1LW, read["attention_mask"])[0].numpy()
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), dtype=np.float32)

    return encoded


def _encoded(keys: TextEncoderConfig, folder: str, texts: Sequence[str] | str) -> dict[str, Any]:
    """All that decides what an encoder gives."""
    encoding = {name: value for name, value in vars(keys).items() if name not in TRANSFORMS}
    del encoding["trained"]
    weights = Path(folder) / "model.safetensors"
    return {
        "format": FORMAT,
        "encoder": encoding,
        # A folder's content can change under its name; the hub's is pinned by the revision.
        "weights": files.sha256_of_file(weights) if weights.is_file() else None,
        "texts": texts,
    }


def _path(beside: Path, content: Mapping[str, Any]) -> Path:
    return beside / "embeddings" / f"{files.hash_of(content)}.safetensors"


def _kept(
    beside: Path, content: Mapping[str, Any], make: Callable[[], Tensor], keys: TextEncoderConfig
) -> Tensor:
    """The table of a content's hash, which is made where it is not there."""
    path = _path(beside, content)
    if not path.exists():
        with lock(path.with_suffix(".lock")):
            if not path.exists():
                made_NW = make()
                padded_NW = torch.cat([torch.zeros(1, made_NW.shape[1]), made_NW])
                notes = {"encoder": keys.name, "revision": keys.revision, "texts": len(made_NW)}
                checkpoint.save(path, {"items": ({"texts": padded_NW}, None)}, notes=notes)
    sections, _ = checkpoint.load(path)
    return sections["items"][0]["texts"]


def _embed(
    keys: TextEncoderConfig, folder: str, texts: Sequence[str], device: torch.device
) -> Tensor:
    if keys.name == TINY:
        return torch.from_numpy(hashed_embeddings(texts, width=keys.width))
    if keys.name == E5:
        return torch.from_numpy(e5_passages(texts))
    return encode(keys, folder, texts, device)


def transformed(rows_NW: Tensor, keys: TextEncoderConfig) -> Tensor:
    """Embeddings after the control, truncation and whitening that their keys ask for.

    Parameters
    ----------
    rows_NW : Tensor
        Embeddings without the padding item's.
    keys : TextEncoderConfig

    Returns
    -------
    Tensor
        (N, `dimensions`), float32. With whitening w, a principal component of variance v has variance
        v^(1 - w): unit variance at 1. Components that texts do not have are 0.

    Raises
    ------
    PaddockError
        If fewer than `dimensions` come from the encoder.
    """
    width = rows_NW.shape[1]
    if keys.dimensions is not None and keys.dimensions > width:
        raise PaddockError(
            f"model.text_encoder.dimensions={keys.dimensions}: the embeddings of {keys.name} have "
            f"{width}; ask for at most so many"
        )
    made_NW = _controlled(rows_NW.double(), keys)
    if keys.whitening or keys.dimensions is not None:
        left_NW, sizes_W, _ = _components(made_NW - made_NW.mean(0))
        count = len(made_NW)
        variances_W = sizes_W.square() / count
        made_NW = torch.zeros(count, keys.dimensions or width, dtype=torch.double)
        kept = min(made_NW.shape[1], len(sizes_W))
        scales_W = count**0.5 * variances_W[:kept].pow((1 - keys.whitening) / 2)
        made_NW[:, :kept] = left_NW[:, :kept] * scales_W
    return made_NW.float()


def _controlled(rows_NW: Tensor, keys: TextEncoderConfig) -> Tensor:
    generator = torch.Generator().manual_seed(keys.control_seed)
    if keys.control == "shuffled":
        return rows_NW[torch.randperm(len(rows_NW), generator=generator)]
    if keys.control == "random":
        mean_W = rows_NW.mean(0)
        _, sizes_W, right_WW = _components(rows_NW - mean_W)
        drawn_NW = torch.randn(len(rows_NW), len(sizes_W), generator=generator, dtype=torch.double)
        orthonormal_NW, _ = torch.linalg.qr(drawn_NW - drawn_NW.mean(0))
        return mean_W + (orthonormal_NW * sizes_W) @ right_WW
    return rows_NW


def _components(centred_NW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The singular value decomposition, with signs that do not depend on the library."""
    from sklearn.utils.extmath import svd_flip

    left_NW, sizes_W, right_WW = torch.linalg.svd(centred_NW, full_matrices=False)
    kept = max(1, int((sizes_W > LEAST * sizes_W[0]).sum()))
    signed = svd_flip(left_NW[:, :kept].numpy(), right_WW[:kept].numpy(), u_based_decision=False)
    return torch.from_numpy(signed[0]), sizes_W[:kept], torch.from_numpy(signed[1])
